"""Several devices in one problem: each one's costs by name, and the space that all of them execute.

What depends on the device is named METRIC@DEVICE; what follows from shapes and formats alone (`SAME_ON_ALL`) has
one value for all devices and keeps its plain name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.smallest import largest, smallest, smallest_sum
from bitfront.search.constraints import Floats, Sense, base_metric, qualified
from bitfront.supernet.errors import BitfrontError, UnsupportedError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

if TYPE_CHECKING:
    from bitfront.latency_lut.cost_model import CostModel
    from bitfront.latency_lut.device import Device

Cost = Callable[[Genomes], Mapping[str, Floats]]
Space = TypeVar("Space", bound=SearchSpace)

SAME_ON_ALL = frozenset({"size_bytes", "peak_memory_bytes", "macs", "bitops"})
"""Costs of a genome that no device has a say in."""


class NoDeviceError(BitfrontError):
    """A problem of several devices was given none."""


def combined_cost(costs: Mapping[str, Cost]) -> Cost:
    """The costs of one genome on several devices, as one function for a `Problem`.

    ``costs`` maps a device's name to its costs, such as `CostModel.cost`. With one device the names of its costs
    stay plain. With several, those that depend on the device become METRIC@DEVICE.

    Raises:
        NoDeviceError: there is no device.
        InvalidConstraintError: a device's name can not stand in METRIC@DEVICE.
    """
    if not costs:
        raise NoDeviceError("a problem needs the costs of at least one device: name one")
    for device in costs:
        qualified("latency_ms", device)
    if len(costs) == 1:
        return next(iter(costs.values()))
    return lambda genomes: dict(_named(costs, genomes))


def _named(costs: Mapping[str, Cost], genomes: Genomes) -> Iterator[tuple[str, Floats]]:
    for device, cost in costs.items():
        for metric, values in cost(genomes).items():
            yield (metric if metric in SAME_ON_ALL else qualified(metric, device)), values


class ExactExtreme:
    """What `Problem` may ask of compiled costs, named as `combined_cost` names them, over ``space``."""

    def __init__(self, models: Mapping[str, CostModel], space: SearchSpace) -> None:
        self._models = dict(models)
        self._space = space

    def over(self, space: SearchSpace) -> ExactExtreme:
        """The same over ``space``, which restricts this one's further."""
        return ExactExtreme(self._models, space)

    def __call__(self, metric: str, sense: Sense) -> tuple[float, NDArray[np.uint8]] | None:
        """See `Extreme`."""
        device = metric.partition("@")[2] or next(iter(self._models), "")
        base = self._known(device, metric)
        if base is None:
            return None
        find = smallest if sense == "<=" else largest
        try:
            return find(self._models[device], self._space, base)
        except UnsupportedError:  # too large to work out: the search itself must tell
            return None

    def summable(self, metrics: Iterable[str]) -> list[tuple[str, ...]]:
        """Of each device, the metrics that `least_sum` can weigh against each other; two or more."""
        wanted = list(dict.fromkeys(metrics))
        found = [tuple(one for one in wanted if self._is_summed(device, one)) for device in self._models]
        return list(dict.fromkeys(group for group in found if len(group) > 1))

    def least_sum(self, weights: Mapping[str, float]) -> NDArray[np.uint8] | None:
        """A genome (n_genes,) with the smallest weighted sum of metrics of one group of `summable`, exactly.

        None where that is too large to work out.
        """
        device = next(name for name in self._models if all(self._is_summed(name, one) for one in weights))
        plain = {base_metric(metric): weight for metric, weight in weights.items()}
        try:
            return smallest_sum(self._models[device], self._space, plain)
        except UnsupportedError:
            return None

    def _is_summed(self, device: str, metric: str) -> bool:
        base = self._known(device, metric)
        return base is not None and base != self._models[device].names[-1]

    def _known(self, device: str, metric: str) -> str | None:
        """The name that a device's costs have for a metric; None where they do not tell it."""
        base, _, of = metric.partition("@")
        model = self._models.get(device)
        several = len(self._models) > 1
        if model is None or base not in model.names or of not in ("", device) or (of and not several):
            return None
        return None if several and not of and base not in SAME_ON_ALL else base


def restrict_to_all(space: Space, devices: Mapping[str, Device]) -> Space:
    """The space without what any of the devices can not execute or has no costs for.

    Raises:
        UnsupportedError: nothing is left of some gene; the message names the device at which that happened.
    """
    before: list[str] = []
    for name, device in devices.items():
        try:
            space = device.restrict(space)
        except UnsupportedError as error:
            others = f" after {', '.join(before)}" if before else ""
            raise UnsupportedError(f"device {name!r}{others}: {error}") from error
        before.append(name)
    return space
