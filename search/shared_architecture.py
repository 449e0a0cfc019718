"""One architecture for several devices, with a bit-width policy of its own for each of them.

One set of weights is trained and maintained, and every device runs it in the formats that suit it. A genome is the
architecture followed by one policy per device; `SharedArchitecture.split` turns it into one genome of the base
space per device, which predictors and cost models of the base space understand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitfront.search.constraints import Constraint, Floats, Sense, qualified
from bitfront.search.devices import Cost, ExactExtreme, NoDeviceError
from bitfront.search.problem import Extreme, Metrics, Problem
from bitfront.supernet.errors import InvalidGenomeError
from bitfront.supernet.genes import FormatPair, Gene, Genomes, Rule
from bitfront.supernet.space import SearchSpace, Slot

if TYPE_CHECKING:
    from bitfront.latency_lut.cost_model import CostModel

_ARCHITECTURE_COSTS = frozenset({"macs"})


class SharedArchitecture(SearchSpace):
    """The architecture genes of a base space, and its policy genes once per device as GENE@DEVICE.

    Args:
        spaces: by device the base space as far as that device executes it (`Device.restrict`), with what is fixed.
            An architecture must suit all devices, a policy its own one.

    Raises:
        NoDeviceError: there are fewer than two devices.
        InvalidGenomeError: the spaces are not restrictions of one space.
        UnsupportedError: the devices leave nothing of some gene together, or their rules tie so many genes (each
            device's the architecture to its own policy) that these can not be listed.
    """

    def __init__(self, spaces: Mapping[str, SearchSpace]) -> None:
        if len(spaces) < 2:
            raise NoDeviceError(
                "an architecture is shared by two devices or more: search the space itself for one"
            )
        for device in spaces:
            qualified("latency_ms", device)
        self.base = next(iter(spaces.values()))
        if len({space.hash() for space in spaces.values()}) > 1:
            raise InvalidGenomeError("the spaces of the devices differ in their genes: restrict one and the same")
        self.devices = tuple(spaces)
        self._spaces = dict(spaces)
        shared = [gene for gene in self.base.genes if not gene.is_policy]
        own = [self._own(gene, device) for device in spaces for gene in self.base.genes if gene.is_policy]
        rules = [self._rule(rule, device) for device, space in spaces.items() for rule in space.rules]
        super().__init__(
            f"{self.base.name}@{'+'.join(spaces)}",
            [*shared, *own],
            list(self._pairs()),
            list(dict.fromkeys(rules)),
        )
        self._places = {device: self._columns_of(device) for device in spaces}
        self._allow(spaces)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Each device's network in turn."""
        return self._slots

    @property
    def config(self) -> Any:
        """That of the base space, and who shares it."""
        return {"base": self.base.config, "devices": list(self.devices)}

    def split(self, genomes: Genomes) -> dict[str, Genomes]:
        """By device the canonical genomes (n, base genes) of its networks, out of canonical ones (n, n_genes)."""
        return {device: np.ascontiguousarray(genomes[:, places]) for device, places in self._places.items()}

    def join(self, parts: Mapping[str, Genomes]) -> Genomes:
        """The reverse of `split`.

        Raises:
            InvalidGenomeError: a device has no part, or the parts of a row differ in their architecture.
        """
        if parts.keys() != self._places.keys():
            raise InvalidGenomeError(f"there are genomes of {sorted(parts)}: give them for {sorted(self.devices)}")
        genomes = np.empty((len(parts[self.devices[0]]), self.n_genes), dtype=np.uint8)
        for device, places in self._places.items():
            genomes[:, places] = parts[device]
        for device, part in self.split(genomes).items():
            if (differ := (part != parts[device]).any(axis=1)).any():
                raise InvalidGenomeError(
                    f"row {int(np.argmax(differ))}: the architecture of {device!r} is another one than that of "
                    f"{self.devices[-1]!r}: give the same architecture to all devices"
                )
        return genomes

    def part(self, device: str) -> SearchSpace:
        """The base space as far as the device executes it, less the choices that do not suit the others."""
        names = {gene.name: self._name(gene.name, device) for gene in self.base.genes}
        return self._spaces[device].restrict({base: self.allowed_choices(own) for base, own in names.items()})

    def with_part(self, device: str, part: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """A genome (n_genes,) whose network on a device is ``part`` (base genes,); None if no repair gives one."""
        genome = self.extremes()[:1].copy()
        genome[:, self._places[device]] = part
        genome = self.repair(genome)
        same = bool((self.split(genome)[device] == part).all()) and bool(self.valid(genome)[0])
        return genome[0] if same else None

    # -- inside -------------------------------------------------------------------------------------------

    @cached_property
    def _slots(self) -> tuple[Slot, ...]:
        return tuple(
            replace(
                slot, name=f"{slot.name}@{device}", genes=tuple(self._name(name, device) for name in slot.genes)
            )
            for device in self.devices
            for slot in self.base.slots
        )

    def _name(self, name: str, device: str) -> str:
        return f"{name}@{device}" if self.base.genes[self.base.position[name]].is_policy else name

    def _own(self, gene: Gene, device: str) -> Gene:
        return replace(gene, name=self._name(gene.name, device))

    def _rule(self, rule: Rule, device: str) -> Rule:
        return replace(rule, genes=tuple(self._name(name, device) for name in rule.genes))

    def _pairs(self) -> Iterator[FormatPair]:
        for device in self.devices:
            for pair in self.base.format_pairs:
                names = self._name(pair.weight_gene, device), self._name(pair.activation_gene, device)
                yield FormatPair(pair.op, *names)

    def _columns_of(self, device: str) -> NDArray[np.intp]:
        names = (self._name(gene.name, device) for gene in self.base.genes)
        return np.array([self.position[name] for name in names], dtype=np.intp)

    def _allow(self, spaces: Mapping[str, SearchSpace]) -> None:
        for device, space in spaces.items():
            for gene in self.base.genes:
                own = self._name(gene.name, device)
                kept = {gene.choices.index(value) for value in space.allowed_choices(gene.name)}
                self._allowed[own] = tuple(i for i in self._allowed[own] if i in kept)
        self._rebuild()


class SharedExtreme:
    """What a `SharedProblem` may ask of compiled costs: `Extreme` over a shared architecture, by METRIC@DEVICE.

    A cost of one device is decided by its own network alone, so its extreme is that of the device's part, unless
    that architecture does not suit the others: nothing is known then.
    """

    def __init__(self, models: Mapping[str, CostModel], space: SharedArchitecture) -> None:
        self._space = space
        self._of = {name: ExactExtreme({name: model}, space.part(name)) for name, model in models.items()}

    def __call__(self, metric: str, sense: Sense) -> tuple[float, NDArray[np.uint8]] | None:
        """See `Extreme`."""
        base, _, named = metric.partition("@")
        device = self._space.devices[0] if base in _ARCHITECTURE_COSTS and not named else named
        known = self._of[device](base, sense) if device in self._of else None
        genome = None if known is None else self._space.with_part(device, known[1])
        return None if known is None or genome is None else (known[0], genome)


class SharedProblem(Problem):
    """Objectives and constraints over a `SharedArchitecture`, in terms of METRIC@DEVICE.

    ``top1@DEVICE`` is the accuracy in that device's policy; every cost is that of the device's network on it, but
    ``macs``, which the architecture decides alone.

    Args:
        space: the shared architecture.
        objectives: as for `Problem`.
        predict: genomes of the base space to top1 (n,); one predictor serves all devices.
        costs: by device, genomes of the base space to its costs, each (n,), such as `CostModel.cost`.
        constraints: as for `Problem`.
        extreme: as for `Problem`, such as `SharedExtreme`.

    Raises:
        UnknownNameError, InvalidObjectivesError: as `Problem`.
        NoDeviceError: the costs are those of other devices than the space's.
    """

    def __init__(
        self,
        space: SharedArchitecture,
        objectives: Sequence[str],
        predict: Callable[[Genomes], Floats],
        costs: Mapping[str, Cost],
        constraints: Sequence[Constraint] = (),
        extreme: Extreme | None = None,
    ) -> None:
        if costs.keys() != set(space.devices):
            raise NoDeviceError(f"there are costs of {sorted(costs)}: give them for {sorted(space.devices)}")
        self.costs = dict(costs)
        self.shared = space
        super().__init__(space, objectives, predict, self._cost, constraints, extreme)

    def _cost(self, genomes: Genomes) -> Metrics:
        found: Metrics = {}
        for device, part in self.shared.split(genomes).items():
            for metric, values in self.costs[device](part).items():
                found[metric if metric in _ARCHITECTURE_COSTS else qualified(metric, device)] = values
        return found

    def _accuracy(self, genomes: Genomes) -> Metrics:
        parts = self.shared.split(genomes)
        asked = {name: parts[device] for device in parts if (name := f"top1@{device}") in self._needed}
        if not asked:
            return {}
        # One call: a predictor is fast on large batches.
        predicted = np.asarray(self.predict(np.concatenate(list(asked.values()))), np.float64)
        return dict(zip(asked, np.split(predicted, len(asked)), strict=True))
