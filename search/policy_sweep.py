"""Many policies of one architecture, from cheapest to dearest, each the best by an integer linear program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from bitfront.search.constraints import Constraint, Floats
from bitfront.search.ilp import Allocation, InfeasibleLimitsError, TimeLimitError, allocate_bits
from bitfront.search.policy_choices import Choices, PolicyChoices, in_first_formats
from bitfront.search.problem import Problem
from bitfront.supernet.genes import Genomes

_SEED_LEVELS = 4
_SEEDS_OF_ONE = 6


def swept(problem: Problem, choices: PolicyChoices, sensitivity: Floats, levels: int) -> Genomes:
    """Networks of an architecture, (n, n_genes), each different: the least sensitive ones within swept limits.

    Every cost that is an objective is limited at ``levels`` totals, evenly from the smallest of the architecture's
    policies to short of the largest; each cost alone, and all at once. The problem's own limits on costs hold as
    well: what can not be met beside them is left out, and if they can not be met, the nearest policy is taken.

    Costs are summed up from single changes of the base. Borders between formats make true costs differ a little,
    so what comes out must be scored: it may lie beyond a limit.

    Args:
        problem: its costs are asked for, its accuracies are not.
        choices: the architecture's policies.
        sensitivity: as in `PolicyChoices.table`.
        levels: steps per cost, at least 1.
    """
    if not choices.options:
        return choices.base[None]
    of_base, tables = _costs(problem, choices)
    costs, own = _bounded(problem.constraints, of_base, tables)
    aims = {name: tables[name] for name in problem.objectives if name in tables}
    found: list[Choices] = []
    for limits in _limits(aims, sensitivity, levels):
        one = _allocated(sensitivity, costs | aims, own | limits)
        if one is not None and (not found or all(one.totals[name] <= own[name] for name in own)):
            found.append(one.formats)
    return choices.genomes(np.unique(np.array(found), axis=0)) if found else choices.base[None]


def policy_seeds(problem: Problem, rng: np.random.Generator, n: int) -> Genomes:
    """At most ``n`` different canonical, valid candidates to begin a search with, without scoring any.

    Architectures are drawn from the smallest to the largest; the policies of each are `swept`, with
    `PolicyChoices.noise` for sensitivity. Only `Problem.cost` is asked.
    """
    space, most = problem.space, -(-n // _SEEDS_OF_ONE)
    drawn = np.concatenate([space.extremes(), space.sample(most, rng, "sizes")])
    found = [np.empty((0, space.n_genes), dtype=np.uint8)]
    for base in in_first_formats(space, drawn)[:most]:
        choices = PolicyChoices.of(space, base)
        found.append(swept(problem, choices, choices.noise(), _SEED_LEVELS))
    seeds = np.unique(np.concatenate(found), axis=0)
    return rng.permutation(seeds)[:n]


def _costs(problem: Problem, choices: PolicyChoices) -> tuple[dict[str, float], dict[str, Floats]]:
    """Of every cost that of the base, and what options add to it."""
    values = {k: np.asarray(v, dtype=np.float64) for k, v in problem.cost(choices.one_changed()).items()}
    return {k: float(v[0]) for k, v in values.items()}, {k: choices.table(v) for k, v in values.items()}


def _bounded(
    constraints: tuple[Constraint, ...], of_base: Mapping[str, float], tables: Mapping[str, Floats]
) -> tuple[dict[str, Floats], dict[str, float]]:
    """The problem's constraints on costs, as tables and limits of their own."""
    costs: dict[str, Floats] = {}
    limits: dict[str, float] = {}
    for constraint in constraints:
        if constraint.metric in tables:
            sign, room = 1.0 if constraint.sense == "<=" else -1.0, constraint.bound - of_base[constraint.metric]
            costs[str(constraint)], limits[str(constraint)] = sign * tables[constraint.metric], sign * room
    return costs, limits


def _limits(aims: Mapping[str, Floats], sensitivity: Floats, levels: int) -> Iterator[dict[str, float]]:
    """No limit, then each cost alone from its smallest total up, then all at once where they can be met."""
    known = ~np.isnan(sensitivity)
    least = {name: float(np.where(known, cost, np.inf).min(axis=1).sum()) for name, cost in aims.items()}
    most = {name: float(np.where(known, cost, -np.inf).max(axis=1).sum()) for name, cost in aims.items()}
    steps = np.linspace(0.0, 1.0, levels, endpoint=False)
    yield {}
    for name in aims:
        for step in steps:
            yield {name: least[name] + step * (most[name] - least[name])}
    for step in steps[1:] if len(aims) > 1 else ():
        yield {name: least[name] + step * (most[name] - least[name]) for name in aims}


def _allocated(sensitivity: Floats, costs: Mapping[str, Floats], limits: Mapping[str, float]) -> Allocation | None:
    try:
        return allocate_bits(sensitivity, costs, limits)
    except InfeasibleLimitsError as error:
        return error.nearest
    except TimeLimitError:
        return None
