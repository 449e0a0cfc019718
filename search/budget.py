"""When a search ends, and how far it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from bitfront.supernet.errors import BitfrontError

GROWTH = 1e-4
"""Relative growth of the hypervolume below which it counts as stalled."""

_LIMITS = ("evaluations", "generations", "seconds", "stalled")


class InvalidBudgetError(BitfrontError):
    """A search has no budget, or one that makes no sense."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a search has used so far, over all resumes.

    ``still`` counts the generations since the hypervolume grew last, by more than the share `GROWTH` of what it
    was then; until something is feasible, since the smallest violation fell by as much.
    """

    evaluations: int = 0
    generations: int = 0
    seconds: float = 0.0
    still: int = 0


@dataclass(frozen=True, slots=True)
class Growth:
    """What the front was worth when it last became better.

    ``violation`` is the smallest one seen, and decides while there is nothing feasible and ``hypervolume`` is 0.
    """

    hypervolume: float = 0.0
    violation: float = math.inf
    generation: int = 0

    def after(self, generation: int, hypervolume: float, violation: float) -> Self:
        """The same, or a new one where ``generation`` (counted from 1) made the front better."""
        grew = hypervolume > self.hypervolume * (1 + GROWTH)
        if grew or (hypervolume == 0 and violation < self.violation * (1 - GROWTH)):
            return type(self)(hypervolume, violation, generation)
        return self

    def to_json(self) -> list[Any]:
        """Plain values; no infinity, which JSON lacks."""
        return [self.hypervolume, self.violation if math.isfinite(self.violation) else None, self.generation]

    @classmethod
    def from_json(cls, values: list[Any]) -> Self:
        """Take `to_json` back."""
        hypervolume, violation, generation = values
        return cls(float(hypervolume), math.inf if violation is None else float(violation), int(generation))


@dataclass(frozen=True, slots=True)
class Budget:
    """When a search ends: whichever limit is reached first.

    All count from the search's beginning, over resumes. ``seconds`` is the only one that does not give the same
    front again for the same seed, and is looked at between generations.

    Args:
        evaluations: scored candidates.
        generations: turns of the loop.
        seconds: time on the clock, spent in scoring and storing too.
        stalled: generations in a row in which the front did not become better (see `Spent`).

    Raises:
        InvalidBudgetError: no limit is given, or one is below 1 (seconds: not above 0).
    """

    evaluations: int | None = None
    generations: int | None = None
    seconds: float | None = None
    stalled: int | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in _LIMITS if getattr(self, name) is not None}
        if not given:
            raise InvalidBudgetError(f"a search needs a budget: give one or more of {', '.join(_LIMITS)}")
        for name, limit in given.items():
            if name == "seconds" and not 0 < limit < math.inf:
                raise InvalidBudgetError(f"the budget of seconds is {limit}: it must be a number above 0")
            if name != "seconds" and limit < 1:
                raise InvalidBudgetError(f"the budget of {name} is {limit}: it must be at least 1")

    def left(self, evaluations: int) -> int | None:
        """Candidates that may still be scored; None is no limit."""
        return None if self.evaluations is None else max(self.evaluations - evaluations, 0)

    def most(self, population: int) -> int | None:
        """Candidates that will be scored in all, ``population`` a generation; None where nobody can know."""
        limits = [self.evaluations, None if self.generations is None else self.generations * population]
        return min((limit for limit in limits if limit is not None), default=None)

    def reached(self, spent: Spent) -> str | None:
        """Which limit is reached, in words; None while there is something left."""
        if self.evaluations is not None and spent.evaluations >= self.evaluations:
            return f"{spent.evaluations:,} candidates are scored, as many as the budget has"
        if self.generations is not None and spent.generations >= self.generations:
            return f"{spent.generations:,} generations are done, as many as the budget has"
        if self.seconds is not None and spent.seconds >= self.seconds:
            return f"{spent.seconds:.1f} seconds have passed, and the budget has {self.seconds:g}"
        if self.stalled is not None and spent.still >= self.stalled:
            return f"the front has not grown by {GROWTH:.2%} in {spent.still:,} generations: it has stalled"
        return None

    def expected(self, spent: Spent) -> int:
        """How many generations there will be, as far as can be told after at least one; never less than done."""
        done = spent.generations
        ends = [done + self.stalled - spent.still] if self.stalled is not None else []
        shares = (
            (self.evaluations, spent.evaluations),
            (self.generations, spent.generations),
            (self.seconds, spent.seconds),
        )
        ends += [math.ceil(done * limit / used) for limit, used in shares if limit is not None and used > 0]
        return max(done, min(ends, default=done + 1))
