"""Bit-widths by an integer linear program: one number format per layer, on anybody's tables.

HAWQ-V3 (Yao et al. 2021, equations 6 to 10) minimises the sum of per-layer perturbations under limits on model
size, bit operations and latency, each a sum over layers too. So does this, with any number of limits and formats,
and with layers that must share a format, such as those that a residual addition joins. HiGHS solves it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from bitfront.search.constraints import Floats
from bitfront.search.quiet import stdout_closed
from bitfront.supernet.errors import BitfrontError

_STRETCHED = 1e4
"""HiGHS takes 1e-6 for nothing, also in objectives: they are stretched to this range."""
_SLACK = 1e-9
_MOST_CUTS = 50
_OPTIMAL, _INFEASIBLE = 0, 2


class InvalidBitTableError(BitfrontError):
    """Sensitivities, costs, limits or groups do not fit together."""


class TimeLimitError(BitfrontError):
    """Not one allocation was found in time."""


@dataclass(frozen=True)
class Allocation:
    """One number format per layer.

    Attributes:
        formats: columns of the tables, (n_layers,).
        sensitivity: its sum over the layers.
        totals: each cost's sum over the layers, in the cost's unit.
        optimal: no allocation within the limits has a lower sum of sensitivities.
        gap: by how much one could be lower at most, in units of sensitivity; 0 of an optimal one.
    """

    formats: NDArray[np.intp]
    sensitivity: float
    totals: dict[str, float]
    optimal: bool = True
    gap: float = 0.0


class InfeasibleLimitsError(BitfrontError):
    """No allocation stays within the limits.

    Attributes:
        smallest: of each limited cost the smallest total that can be reached, whatever the others.
        nearest: the allocation that reaches the smallest total of the first limit that can not be met, or, where
            each can be met alone, the one whose largest excess, relative to the limit, is smallest.
    """

    def __init__(self, message: str, smallest: dict[str, float], nearest: Allocation) -> None:
        super().__init__(message)
        self.smallest = smallest
        self.nearest = nearest


def allocate_bits(
    sensitivity: ArrayLike,
    costs: Mapping[str, ArrayLike],
    limits: Mapping[str, float],
    groups: Sequence[Hashable] | None = None,
    time_limit_s: float = 60.0,
) -> Allocation:
    """The formats with the smallest summed sensitivity whose summed costs stay within every limit.

    Args:
        sensitivity: what each format costs each layer in accuracy, shape (n_layers, n_formats), in any unit; NaN
            where the layer can not have the format.
        costs: name to costs of the same shape, such as ``size_bytes``.
        limits: name of a cost to the largest total. Costs without a limit are only summed.
        groups: one value per layer; layers with equal ones get the same format. None: each is by itself.
        time_limit_s: seconds after which the best allocation so far is returned, with its `Allocation.gap`.

    Raises:
        InvalidBitTableError: shapes differ, a value is infinite, a cost is missing where a sensitivity is given, a
            limit names no cost or is no finite number, or layers of a group have no format in common.
        InfeasibleLimitsError: the limits can not be met.
        TimeLimitError: time was up before there was any allocation.
    """
    program = _Program.of(sensitivity, costs, limits, groups)
    program.refuse_unreachable()
    return program.solve(time_limit_s)


@dataclass(frozen=True)
class _Program:
    """Tables by group of layers: (n_groups, n_formats), NaN where a group can not have a format."""

    group_of: NDArray[np.intp]
    sensitivity: Floats
    costs: dict[str, Floats]
    limits: dict[str, float]

    @classmethod
    def of(
        cls,
        sensitivity: ArrayLike,
        costs: Mapping[str, ArrayLike],
        limits: Mapping[str, float],
        groups: Sequence[Hashable] | None,
    ) -> _Program:
        table = _table("sensitivity", sensitivity, None)
        others = {name: _table(name, values, table) for name, values in costs.items()}
        for name, limit in limits.items():
            if name not in others:
                known = ", ".join(others) or "there is none"
                raise InvalidBitTableError(f"the limit on {name!r} names no cost: costs are {known}")
            if not np.isfinite(limit):
                raise InvalidBitTableError(f"the limit on {name} is {limit}: it must be a finite number")
        group_of = _numbered(groups, len(table))
        n = int(group_of.max()) + 1
        summed = {name: _summed(values, group_of, n) for name, values in others.items()}
        program = cls(group_of, _summed(table, group_of, n), summed, {k: float(v) for k, v in limits.items()})
        program._refuse_empty()
        return program

    def _refuse_empty(self) -> None:
        empty = np.flatnonzero(np.isnan(self.sensitivity).all(axis=1))
        if len(empty):
            layers = np.flatnonzero(self.group_of == empty[0]).tolist()
            raise InvalidBitTableError(
                f"layers {layers} have no format in common: give each a sensitivity for one, or split their group"
                if len(layers) > 1
                else f"layer {layers[0]} has no format: give it a sensitivity for at least one"
            )

    def allocation(self, choice: NDArray[np.intp], gap: float = 0.0) -> Allocation:
        """What groups' formats (n_groups,) come to."""
        rows = np.arange(len(choice))
        totals = {name: float(values[rows, choice].sum()) for name, values in self.costs.items()}
        total = float(self.sensitivity[rows, choice].sum())
        return Allocation(choice[self.group_of], total, totals, gap <= 0, max(gap, 0.0))

    def meets(self, allocation: Allocation) -> bool:
        """Whether every limit holds; what rounding adds to a sum is let pass."""
        return all(allocation.totals[k] <= v + _slack(v) for k, v in self.limits.items())

    def cheapest(self, name: str) -> Allocation:
        """The allocation with the smallest total of a cost."""
        return self.allocation(np.nanargmin(self.costs[name], axis=1))

    def refuse_unreachable(self) -> None:
        """Raise InfeasibleLimitsError where a limit can not be met even alone."""
        smallest = self._smallest()
        for name, limit in self.limits.items():
            if smallest[name] > limit + _slack(limit):
                raise InfeasibleLimitsError(
                    f"{name} <= {limit:g} can not be met: the smallest total is {smallest[name]:.10g}. "
                    "Raise the limit, or give layers cheaper formats",
                    smallest,
                    self.cheapest(name),
                )

    def solve(self, time_limit_s: float) -> Allocation:
        """The best allocation within the limits, each of which can be met alone."""
        variables = _Variables.of(self, _Rows.within(self))
        aim, unit = _stretched(self.sensitivity)
        cuts: list[NDArray[np.intp]] = []
        while len(cuts) < _MOST_CUTS:
            found = variables.solved(aim[variables.group, variables.column], time_limit_s, cuts)
            if found.status == _INFEASIBLE:
                raise self._infeasible_together(time_limit_s)
            if found.x is None:
                break
            gap = 0.0 if found.status == _OPTIMAL else max(found.fun - (found.mip_dual_bound or 0.0), 0.0) * unit
            allocation = self.allocation(variables.choice(found.x), gap)
            if self.meets(allocation):
                return allocation
            # HiGHS lets limits be passed by a millionth: what it took for feasible is cut off.
            cuts.append(variables.choice(found.x))
        raise TimeLimitError(
            f"no allocation was found in {time_limit_s:g} seconds: raise time_limit_s, or loosen a limit"
        )

    def _infeasible_together(self, time_limit_s: float) -> InfeasibleLimitsError:
        variables = _Variables.of(self, _Rows.beyond(self))
        found = variables.solved(np.eye(1, variables.n, variables.n - 1)[0], time_limit_s, [])
        any_of_them = self.cheapest(next(iter(self.limits)))
        nearest = any_of_them if found.x is None else self.allocation(variables.choice(found.x))
        reached = ", ".join(f"{k} {nearest.totals[k]:.10g} (limit {v:g})" for k, v in self.limits.items())
        alone = ", ".join(f"{k} {v:.10g}" for k, v in self._smallest().items())
        return InfeasibleLimitsError(
            f"the limits can not all be met at once, though each can: the nearest allocation reaches {reached}; "
            f"the smallest totals alone are {alone}. Raise a limit, or give layers cheaper formats",
            self._smallest(),
            nearest,
        )

    def _smallest(self) -> dict[str, float]:
        return {name: self.cheapest(name).totals[name] for name in self.limits}


@dataclass(frozen=True)
class _Rows:
    """Limits for HiGHS: what formats use above the cheapest one, (n_limits, n_groups, n_formats), and the room."""

    uses: Floats
    room: Floats
    excess: bool
    """Whether there is a last variable by which all limits may be passed, relative to them."""

    @classmethod
    def within(cls, program: _Program) -> _Rows:
        """The room that is left above the cheapest formats is the unit of each limit."""
        units = [
            max(room, _slack(limit)) for room, limit in zip(_room(program), program.limits.values(), strict=True)
        ]
        uses = np.minimum(_uses(program, np.array(units)), _STRETCHED)  # beyond 1 it is out anyway
        return cls(uses, np.ones(len(units)), False)

    @classmethod
    def beyond(cls, program: _Program) -> _Rows:
        """The limit is the unit of each limit."""
        units = np.array([abs(limit) or 1.0 for limit in program.limits.values()])
        return cls(_uses(program, units), _room(program) / units, True)


def _room(program: _Program) -> Floats:
    return np.array([limit - program.cheapest(name).totals[name] for name, limit in program.limits.items()])


def _uses(program: _Program, units: Floats) -> Floats:
    tables = [
        program.costs[name] - np.nanmin(program.costs[name], axis=1, keepdims=True) for name in program.limits
    ]
    shape = (len(tables), *program.sensitivity.shape)
    return np.array(tables).reshape(shape) / units[:, None, None]


@dataclass(frozen=True)
class _Variables:
    """One variable per (group, format) that can be, of 0 or 1, and perhaps one of excess after them."""

    group: NDArray[np.intp]
    column: NDArray[np.intp]
    rows: _Rows
    n: int

    @classmethod
    def of(cls, program: _Program, rows: _Rows) -> _Variables:
        group, column = np.nonzero(~np.isnan(program.sensitivity))
        return cls(group, column, rows, len(group) + rows.excess)

    def choice(self, x: Floats) -> NDArray[np.intp]:
        """The format of each group (n_groups,) in a solution."""
        result = np.zeros(self._groups, dtype=np.intp)
        taken = x[: len(self.group)] > 0.5
        result[self.group[taken]] = self.column[taken]
        return result

    def solved(self, aim: Floats, time_limit_s: float, cuts: Sequence[NDArray[np.intp]]) -> Any:
        """HiGHS's answer, without ``cuts``, which are choices (n_groups,)."""
        integrality, upper = np.ones(self.n), np.ones(self.n)
        if self.rows.excess:
            integrality[-1], upper[-1] = 0, np.inf
        options = {"disp": False, "mip_rel_gap": 0.0, "time_limit": time_limit_s}
        constraints = [self._one_each(), *self._limits(), *map(self._without, cuts)]
        with stdout_closed():
            return milp(
                aim, integrality=integrality, bounds=Bounds(0.0, upper), constraints=constraints, options=options
            )

    @property
    def _groups(self) -> int:
        return int(self.group.max()) + 1

    def _one_each(self) -> LinearConstraint:
        ones = np.zeros((self._groups, self.n))
        ones[self.group, np.arange(len(self.group))] = 1.0
        return LinearConstraint(ones, 1.0, 1.0)

    def _limits(self) -> list[LinearConstraint]:
        if not len(self.rows.room):
            return []
        uses = np.full((len(self.rows.room), self.n), -1.0)
        uses[:, : len(self.group)] = self.rows.uses[:, self.group, self.column]
        return [LinearConstraint(uses, -np.inf, self.rows.room)]

    def _without(self, choice: NDArray[np.intp]) -> LinearConstraint:
        same = np.zeros(self.n)
        same[: len(self.group)] = choice[self.group] == self.column
        return LinearConstraint(same, -np.inf, self._groups - 1.0)


def _slack(limit: float) -> float:
    """What rounding may add to a sum that just meets a limit."""
    return _SLACK * max(abs(limit), 1e-300)


def _stretched(sensitivity: Floats) -> tuple[Floats, float]:
    """Sensitivities above each group's smallest, in a range that HiGHS tells apart, and the unit of that range."""
    above = sensitivity - np.nanmin(sensitivity, axis=1, keepdims=True)
    unit = float(np.nanmax(above)) / _STRETCHED or 1.0
    return above / unit, unit


def _table(name: str, values: ArrayLike, like: Floats | None) -> Floats:
    try:
        table = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidBitTableError(f"{name} is no table of numbers, a row per layer: {error}") from error
    if table.ndim != 2 or not table.size or (like is not None and table.shape != like.shape):
        wanted = "(layers, formats), at least one of each" if like is None else f"{like.shape} as sensitivity has"
        raise InvalidBitTableError(f"{name} has shape {table.shape}: it must be {wanted}")
    wrong = np.isinf(table) if like is None else np.isinf(table) | (np.isnan(table) & ~np.isnan(like))
    if wrong.any():
        layer, column = (int(i) for i in np.argwhere(wrong)[0])
        raise InvalidBitTableError(
            f"{name} of layer {layer} in format {column} is {table[layer, column]}: give a finite number, or make "
            "its sensitivity NaN if the layer can not have the format"
        )
    return table if like is None else np.where(np.isnan(like), np.nan, table)


def _numbered(groups: Sequence[Hashable] | None, n_layers: int) -> NDArray[np.intp]:
    if groups is None:
        return np.arange(n_layers)
    if len(groups) != n_layers:
        raise InvalidBitTableError(
            f"there are {len(groups)} groups for {n_layers} layers: give one value per layer"
        )
    numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups], dtype=np.intp)


def _summed(table: Floats, group_of: NDArray[np.intp], n_groups: int) -> Floats:
    """Sums over the layers of each group; NaN where one of them can not have the format."""
    result = np.zeros((n_groups, table.shape[1]))
    np.add.at(result, group_of, table)
    return result
