"""Constraints that no candidate can meet, alone or together, are answered before a search spends its budget."""

from __future__ import annotations

import numpy as np

from bitfront.search.constraints import Constraint, base_metric
from bitfront.search.problem import InfeasibleError, Problem
from bitfront.search.together import Nearest, nearest_together
from bitfront.supernet.genes import Choice

# Sums in another order differ in their last bits; a bound that is just reachable must not be refused for that.
_ROUNDING = 1e-9


def refuse_unreachable(problem: Problem) -> None:
    """Accept constraints each of which some candidate may meet.

    Only what ``problem.extreme`` knows exactly is judged, so a problem that has a solution is never refused. One
    that is accepted may still have none: accuracy is known only once it is predicted, and constraints may be at
    odds (`refuse_together`).

    Raises:
        InfeasibleError: a constraint is out of reach of every candidate; the message has, for each such one, the
            nearest reachable value and the candidate that reaches it.
    """
    missed = [text for constraint in problem.constraints if (text := _out_of_reach(problem, constraint))]
    if missed:
        raise InfeasibleError(f"no candidate meets the constraints: {'; '.join(missed)}. Loosen the bound.")


def refuse_together(problem: Problem) -> None:
    """Accept limits on costs that some candidate meets together; see module `together` for how one is looked for.

    Only asked where costs are tables, as a problem says by knowing their extremes, and where several limits are on
    costs, or one whose extreme is not known.

    Raises:
        InfeasibleError: none was found; the message says whether there is none, and has the candidate that comes
            nearest, its values and the limits.
    """
    if problem.extreme is None:
        return
    limits = [one for one in problem.constraints if base_metric(one.metric) != "top1"]
    if len(limits) < 2 and all(problem.extreme(one.metric, one.sense) for one in limits):
        return
    # A generator of its own: the numbers that the search draws stay those of its seed.
    nearest = nearest_together(problem, np.random.default_rng(0))
    if nearest is not None:
        raise InfeasibleError(_none_together(problem, nearest))


def _none_together(problem: Problem, nearest: Nearest) -> str:
    candidate = _shortly(problem.space.decode(nearest.genome))
    limits = " and ".join(map(str, nearest.constraints)) + (" together" if len(nearest.constraints) > 1 else "")
    if nearest.proven:
        return f"no candidate meets {limits}; the nearest found has {nearest}: {candidate}. Loosen a bound."
    return (
        f"no candidate was found that meets {limits}, which does not prove that there is none: of "
        f"{nearest.costed:,} whose costs were computed, the nearest has {nearest}: {candidate}. "
        "Loosen a bound, or insist on the search."
    )


def _out_of_reach(problem: Problem, constraint: Constraint) -> str | None:
    known = None if problem.extreme is None else problem.extreme(constraint.metric, constraint.sense)
    if known is None:
        return None
    value, genome = known
    beyond = value - constraint.bound if constraint.sense == "<=" else constraint.bound - value
    if beyond <= _ROUNDING * max(abs(value), constraint.bound):
        return None
    word = "smallest" if constraint.sense == "<=" else "largest"
    candidate = _shortly(problem.space.decode(genome))
    return f"{constraint} is out of reach, the {word} {constraint.metric} is {value:.6g}, that of {candidate}"


def _shortly(choices: dict[str, Choice]) -> str:
    """Architecture gene by gene; of the formats, how often each one occurs."""
    formats: dict[str, int] = {}
    for name, choice in choices.items():
        if name.partition("@")[0].endswith("_format"):
            formats[str(choice)] = formats.get(str(choice), 0) + 1
    shown = [f"{name} {choice}" for name, choice in choices.items() if "_format" not in name]
    return ", ".join([*shown, *(f"{count} formats {name}" for name, count in formats.items())])
