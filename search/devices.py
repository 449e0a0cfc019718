"""Several devices in one problem: each one's costs by name, and the space that all of them execute.

What depends on the device is named METRIC@DEVICE; what follows from shapes and formats alone (`SAME_ON_ALL`) has
one value for all devices and keeps its plain name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.smallest import largest, smallest
from bitfront.search.constraints import Floats, Sense, qualified
from bitfront.search.problem import Extreme
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


def exact_extreme(models: Mapping[str, CostModel], space: SearchSpace) -> Extreme:
    """What `Problem` may ask of compiled costs, named as `combined_cost` names them, over ``space``."""

    def extreme(metric: str, sense: Sense) -> tuple[float, NDArray[np.uint8]] | None:
        base, _, device = metric.partition("@")
        model = models.get(device) if device else next(iter(models.values()), None)
        if (
            model is None
            or base not in model.names
            or (not device and len(models) > 1 and base not in SAME_ON_ALL)
        ):
            return None
        try:
            return smallest(model, space, base) if sense == "<=" else largest(model, space, base)
        except UnsupportedError:  # too large to work out: the search itself must tell
            return None

    return extreme


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
