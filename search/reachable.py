"""A constraint that no candidate can meet is answered before a search spends its budget on it."""

from __future__ import annotations

from bitfront.search.constraints import Constraint
from bitfront.search.problem import InfeasibleError, Problem
from bitfront.supernet.genes import Choice

# Sums in another order differ in their last bits; a bound that is just reachable must not be refused for that.
_ROUNDING = 1e-9


def refuse_unreachable(problem: Problem) -> None:
    """Accept constraints each of which some candidate may meet.

    Only what ``problem.extreme`` knows exactly is judged, so a problem that has a solution is never refused. One
    that is accepted may still have none: accuracy is known only once it is predicted, and constraints may be at
    odds.

    Raises:
        InfeasibleError: a constraint is out of reach of every candidate; the message has, for each such one, the
            nearest reachable value and the candidate that reaches it.
    """
    missed = [text for constraint in problem.constraints if (text := _out_of_reach(problem, constraint))]
    if missed:
        raise InfeasibleError(f"no candidate meets the constraints: {'; '.join(missed)}. Loosen the bound.")


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
