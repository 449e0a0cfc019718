"""The smallest or largest cost that any network of a space has, exactly, and a network that has it.

Costs are sums over slots (peak memory: a maximum), and a slot's share depends on its own genes, on its depth gene
and on what its successor demands. So a dynamic program goes from the output to the input. Its state is the demand,
with the choices of those groups of genes that slots further up share with slots already passed: the resolution
everywhere, a depth gene within its stage. All other genes are decided where their slot is passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.cost_model import CostModel
from bitfront.supernet.errors import UnknownNameError, UnsupportedError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

_LARGEST_STEP = 1 << 25

Floats = NDArray[np.float64]


def smallest(model: CostModel, space: SearchSpace, name: str) -> tuple[float, NDArray[np.uint8]]:
    """The smallest value of a cost and a canonical genome (n_genes,) that has it.

    ``space``: the space that the model was compiled for, or a restriction of it.

    Raises:
        UnknownNameError: the model gives no such cost.
        UnsupportedError: slots share so many genes that this can not be worked out, or no network is compiled.
    """
    return _extreme(model, space, name, False)


def largest(model: CostModel, space: SearchSpace, name: str) -> tuple[float, NDArray[np.uint8]]:
    """The largest value of a cost and a canonical genome (n_genes,) that has it; otherwise as `smallest`."""
    return _extreme(model, space, name, True)


def smallest_sum(model: CostModel, space: SearchSpace, weights: Mapping[str, float]) -> NDArray[np.uint8]:
    """A canonical genome (n_genes,) with the smallest weighted sum of costs, exactly; weights may be negative.

    Raises:
        UnknownNameError: the model gives no such cost, or it is peak memory, which is no sum over slots.
        UnsupportedError: as `smallest`.
    """
    shares = np.zeros(len(model.names))
    for name, weight in weights.items():
        if name not in model.names[:-1]:
            raise UnknownNameError(f"summed cost of device {model.device!r}", name, model.names[:-1])
        shares[model.names.index(name)] += weight * _scale(model, name)
    return _Program(model, space, shares, False).genome()


def _extreme(model: CostModel, space: SearchSpace, name: str, most: bool) -> tuple[float, NDArray[np.uint8]]:
    if name not in model.names:
        raise UnknownNameError(f"cost of device {model.device!r}", name, model.names)
    if _scale(model, name) < 0:
        most = not most
    shares = np.zeros(len(model.names))
    shares[model.names.index(name)] = 1.0
    genome = _Program(model, space, shares, most).genome()
    return float(model.cost(genome[None])[name][0]), genome


def _scale(model: CostModel, name: str) -> float:
    correction = model.correction.get(name)
    return 1.0 if correction is None else correction.scale


@dataclass(frozen=True)
class _Passed:
    """A slot that was passed: axes (groups) and sizes of its combinations, and each state's best one."""

    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    open_before: tuple[int, ...]
    best: NDArray[np.intp]


class _Program:
    """Finds the best sum of ``shares`` (n_costs,) times the costs of each slot, or the best peak memory."""

    def __init__(self, model: CostModel, space: SearchSpace, shares: Floats, most: bool) -> None:
        self.model, self.space = model, space
        self.is_peak = bool(shares[-1])
        self.shares = [slot.costs @ shares for slot in model.tables.slots]
        self.worst = -np.inf if most else np.inf
        self.better = np.maximum if most else np.minimum
        self.radix = model.tables.radix.toarray().astype(np.int64)
        self.group_of = {int(i): g for g, group in enumerate(space.groups) for i in group.members}
        self.touched = [self._groups_of(s) for s in range(len(model.tables.slots))]

    def genome(self) -> NDArray[np.uint8]:
        """The best genome, by going back through the states that led to it."""
        values = np.full(self.model.tables.demands, self.worst)
        values[0] = 0.0  # nothing follows the output
        steps: list[_Passed] = []
        still_open: tuple[int, ...] = ()
        for s in range(len(self.touched) - 1, -1, -1):
            values, still_open, step = self._pass(s, values, still_open)
            steps.append(step)
        state = int(np.argmax(values) if self.worst < 0 else np.argmin(values))
        if not np.isfinite(values[state]):
            raise UnsupportedError(f"no network of {self.space.name!r} is compiled for {self.model.device!r}")
        return self._traced(steps, state)

    def _groups_of(self, s: int) -> frozenset[int]:
        genes = set(np.flatnonzero(self.radix[s]).tolist())
        owner = self.model.tables.slots[s].owner
        return frozenset(self.group_of[i] for i in genes | ({owner} if owner is not None else set()))

    def _pass(
        self, s: int, values: Floats, still_open: tuple[int, ...]
    ) -> tuple[Floats, tuple[int, ...], _Passed]:
        axes = tuple(sorted(self.touched[s] | set(still_open)))
        sizes = tuple(len(self.space.groups[g].rows) for g in axes)
        shape = (self.model.tables.demands, *sizes)
        if math.prod(shape) > _LARGEST_STEP:
            raise UnsupportedError(f"{math.prod(shape)} combinations meet in slot {s}, too many to go through")
        total, demand = self._totals(s, values, still_open, axes, shape)
        earlier = frozenset().union(*self.touched[:s])
        kept = tuple(g for g in axes if g in earlier)
        state = self._states(demand, axes, kept, shape)
        n_states = shape[0] * math.prod(size for g, size in zip(axes, sizes, strict=True) if g in kept)
        found = np.full(n_states, self.worst)
        self.better.at(found, state, total)
        best = np.zeros(n_states, dtype=np.intp)
        won = np.flatnonzero(total == found[state])[::-1]
        best[state[won]] = won
        return found, kept, _Passed(axes, sizes, still_open, best)

    def _totals(
        self, s: int, values: Floats, still_open: Sequence[int], axes: Sequence[int], shape: tuple[int, ...]
    ) -> tuple[Floats, NDArray[np.intp]]:
        """Of every combination, flat: the value so far with this slot's share, and what it demands."""
        rows = self._rows(s, axes, shape).ravel()
        known = [True, *(g in still_open for g in axes)]
        before = values.reshape([size if is_known else 1 for is_known, size in zip(known, shape, strict=True)])
        so_far = np.broadcast_to(before, shape).ravel()
        share = self.shares[s][rows]
        total = np.maximum(so_far, share) if self.is_peak else so_far + share
        demand = self.model.tables.slots[s].demand[rows].astype(np.intp)
        return np.where(np.isnan(share) | np.isinf(so_far), self.worst, total), demand

    def _rows(self, s: int, axes: Sequence[int], shape: tuple[int, ...]) -> NDArray[np.int64]:
        slot, demands = self.model.tables.slots[s], self.model.tables.demands
        number, active = np.array(demands, dtype=np.int64), np.array(True)
        for g, axis in self._axis(axes):
            group = self.space.groups[g]
            number = number + (group.rows.astype(np.int64) @ self.radix[s, group.members]).reshape(axis)
            if slot.owner in group.members:
                owner = group.rows[:, group.members.tolist().index(slot.owner)]
                active = (owner >= slot.threshold).reshape(axis)
        successor = np.arange(demands).reshape(-1, *[1] * len(axes))
        return np.broadcast_to(number * active + successor, shape)

    def _axis(self, axes: Sequence[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Each group with the shape that lays its rows along its own axis; the first axis is the demand."""
        for k, g in enumerate(axes):
            yield g, tuple(-1 if i == k + 1 else 1 for i in range(len(axes) + 1))

    def _states(
        self, demand: NDArray[np.intp], axes: Sequence[int], kept: Sequence[int], shape: tuple[int, ...]
    ) -> NDArray[np.intp]:
        place = np.zeros((1,) * len(shape), dtype=np.intp)
        for g, axis in self._axis(axes):
            if g in kept:
                size = len(self.space.groups[g].rows)
                place = place * size + np.arange(size).reshape(axis)
        rest = math.prod(len(self.space.groups[g].rows) for g in kept)
        return demand * rest + np.broadcast_to(place, shape).ravel()

    def _traced(self, steps: Sequence[_Passed], state: int) -> NDArray[np.uint8]:
        genome: Genomes = np.zeros((1, self.space.n_genes), dtype=np.uint8)
        for group in self.space.groups:
            genome[0, group.members] = group.rows[0]
        for step in reversed(steps):
            demand, *picks = np.unravel_index(step.best[state], (self.model.tables.demands, *step.sizes))
            state = int(demand)
            for g, size, pick in zip(step.axes, step.sizes, picks, strict=True):
                group = self.space.groups[g]
                genome[0, group.members] = group.rows[pick]
                if g in step.open_before:
                    state = state * size + int(pick)
        first: NDArray[np.uint8] = self.space.canonical(genome)[0]
        return first
