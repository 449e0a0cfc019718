"""What islands are, and what is told of them while they search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from bitfront.search.archive import Rows
from bitfront.search.front import Front
from bitfront.search.problem import Evaluation, Metrics, Problem
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.genes import Genomes

Topology = Literal["ring", "random"]


class InvalidIslandsError(BitfrontError):
    """The islands, or how they exchange candidates, make no sense."""


class IslandError(BitfrontError):
    """An island's search failed."""


@dataclass(frozen=True, eq=False)
class Island:
    """One search: what for, how, and with which options of its own (``population`` and others)."""

    problem: Problem
    strategy: str = "nsga2"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Migration:
    """Who sends what when.

    Every ``every`` generations an island sends ``migrants`` members of its front, spread over it, to the next one:
    in a ``ring``, or in a ring that is drawn anew each time (``random``).

    Raises:
        InvalidIslandsError: a number is out of range, or the topology is unknown.
    """

    every: int = 5
    migrants: int = 5
    topology: Topology = "ring"

    def __post_init__(self) -> None:
        for name, value, least in (("every", self.every, 1), ("migrants", self.migrants, 0)):
            if value < least:
                raise InvalidIslandsError(f"migration: {name} is {value}, it must be at least {least}")
        if self.topology not in get_args(Topology):
            raise InvalidIslandsError(
                f"migration: topology is {self.topology!r}, choose one of {', '.join(get_args(Topology))}"
            )


@dataclass(frozen=True, eq=False)
class Common:
    """What the islands of one problem found together: each candidate once, in the order of epochs and islands.

    ``hypervolume`` is the share of the box up to the fixed reference point that their front dominates.
    """

    genomes: Genomes
    evaluation: Evaluation
    front: Rows
    hypervolume: float


@dataclass(frozen=True, eq=False)
class Epoch:
    """One epoch of all islands. ``common`` has an entry per different problem, in the order of the islands.

    ``first_rows`` says how many candidates each entry had before. ``rows``: per island, which candidates of its
    problem's entry it has scored. ``evaluations`` counts those scored by all islands from the beginning, migrants
    included, and ``generations`` those of each island. ``expected_epochs`` says how many there will be, as far as
    can be told now, and is ``index + 1`` when this was the last. ``state`` with the ``common`` candidates is what
    an `IslandsCheckpoint` needs: plain JSON values and arrays of numbers.
    """

    index: int
    common: tuple[Common, ...]
    first_rows: tuple[int, ...]
    evaluations: int
    rows: tuple[Rows, ...]
    generations: int
    expected_epochs: int
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class IslandsCheckpoint:
    """Where islands go on: the last stored `Epoch.state`, and per problem all its candidates in order."""

    state: Mapping[str, Any]
    common: Sequence[tuple[Genomes, Metrics]]


@dataclass(frozen=True, eq=False)
class Archipelago:
    """What was found: a front per island, and one per different problem (the joint front of its islands).

    Where nothing feasible was found the front is empty.
    """

    fronts: tuple[Front, ...]
    joint: tuple[Front, ...]


def check_islands(islands: Sequence[Island]) -> None:
    """Accept islands that can exchange candidates.

    Raises:
        InvalidIslandsError: there is none, or spaces have different genes.
    """
    if not islands:
        raise InvalidIslandsError("there is no island: give at least one")
    first = islands[0].problem.space
    for number, island in enumerate(islands, 1):
        if island.problem.space.genes != first.genes:
            raise InvalidIslandsError(
                f"island {number} searches {island.problem.space.name!r}, whose genes are not those of "
                f"{first.name!r}: candidates can not be exchanged; restrict one space for all of them"
            )
