"""What a search strategy is: it proposes candidates that nobody has scored yet, and learns from their scores."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self, final

import numpy as np

from bitfront.search.archive import Archive, Rows
from bitfront.search.problem import Evaluation, Problem
from bitfront.search.strategies.generator_state import generator_state, set_generator_state
from bitfront.supernet.errors import BitfrontError, CorruptFileError
from bitfront.supernet.genes import Genomes

_MOST_ROUNDS = 40
_LARGEST_ROUND = 4096


class InvalidOptionError(BitfrontError):
    """An option of a strategy has a value that makes no sense."""


class Strategy(ABC):
    """Ask, score, tell, and again.

    What all strategies share is done here: no candidate is proposed twice, everything told is archived, the
    front is kept exactly, and the state can be taken out and put back at any moment. A subclass says how
    candidates are made (`_propose`), what is learnt from scores (`_learn`), and what it must remember beside
    the archive and the generator (`_memory`, `_recall`).

    Args:
        problem: what is searched for.
        rng: the only source of randomness.
        population: candidates per `ask`, at least 1.

    Raises:
        InvalidOptionError: ``population`` is below 1.
    """

    options: dict[str, Any]
    """What it was made with, defaults included, as plain JSON values: part of `state`, compared by `restore`."""

    def __new__(cls, *_: object, **options: Any) -> Self:
        """Note the options here, so that no subclass can forget one."""
        made = super().__new__(cls)
        known = inspect.signature(cls.__init__).parameters.values()
        defaults = {one.name: one.default for one in known if one.kind is one.KEYWORD_ONLY}
        made.options = {name: _plain(options.get(name, default)) for name, default in defaults.items()}
        return made

    def __init__(self, problem: Problem, rng: np.random.Generator, *, population: int = 100) -> None:
        if population < 1:
            raise InvalidOptionError(f"population is {population}: it must be at least 1")
        self.problem = problem
        self.rng = rng
        self.population = population
        self.archive = Archive(problem.space.n_genes)
        self._size = problem.space.size()
        self._pending: Genomes | None = None

    # -- what a subclass says ---------------------------------------------------------------------------

    @abstractmethod
    def _propose(self, n: int) -> Genomes:
        """At most ``n`` different canonical, valid genomes that `archive` does not hold."""

    @abstractmethod
    def _learn(self, rows: Rows) -> None:
        """Take in what has just been told: ``rows`` of `archive`."""

    @abstractmethod
    def _memory(self) -> dict[str, Any]:
        """What is to be remembered beside archive and generator, as plain JSON values and arrays."""

    @abstractmethod
    def _recall(self, memory: dict[str, Any]) -> None:
        """Take `_memory` back; `archive` is filled already."""

    def plan(self, evaluations: int | None) -> None:  # noqa: B027
        """Be told once, before the first `ask`, how many candidates will be scored in all; None: nobody knows.

        Most strategies do not care. What is done with it is part of `_memory`, so that a resumed search keeps to
        the plan that it began with.
        """

    # -- ask and tell -----------------------------------------------------------------------------------

    @final
    def ask(self, most: int | None = None) -> Genomes:
        """Candidates to score next, shape (n, n_genes), canonical, valid, never seen before.

        ``n`` is the population, or ``most`` where that is less. It is smaller near the end of a small space,
        and 0 once everything has been scored or nothing new turns up in many draws. Asking again before telling
        gives the same candidates again.
        """
        if self._pending is None:
            n = self.population if most is None else min(self.population, most)
            left = self._size - len(self.archive)
            self._pending = self._propose(min(n, left)) if left > 0 else self._nothing()
        return self._pending.copy()

    @final
    def tell(self, genomes: Genomes, evaluation: Evaluation) -> Rows:
        """Scores of candidates, asked for or not; those already known are passed over.

        Returns where the new ones stand in `archive`.
        """
        if len(genomes) != len(evaluation):
            raise ValueError(f"{len(genomes)} genomes came with {len(evaluation)} scores")
        self._pending = None
        rows = self.archive.add(genomes, evaluation)
        self._learn(rows)
        return rows

    @final
    def best(self) -> tuple[Genomes, Evaluation]:
        """The exact front of everything told: feasible candidates that no other one dominates."""
        rows = self.archive.front
        return self.archive.genomes[rows], self.archive.evaluation.take(rows)

    # -- memory -----------------------------------------------------------------------------------------

    @final
    def state(self) -> dict[str, Any]:
        """All that `restore` needs beside the archive, as plain JSON values and arrays of numbers."""
        return {
            "population": self.population,
            "options": self.options,
            "generator": generator_state(self.rng),
            "pending": self._pending,
            "memory": self._memory(),
        }

    @final
    def restore(self, state: dict[str, Any], genomes: Genomes, evaluation: Evaluation) -> None:
        """Go on exactly from ``state``; ``genomes`` and ``evaluation`` are all that had been told, in order.

        Raises:
            CorruptFileError: the state is that of a strategy with other options.
        """
        self._refuse_other_options(state["options"])
        self.population = int(state["population"])
        set_generator_state(self.rng, state["generator"])
        pending = state["pending"]
        self._pending = (
            None if pending is None else np.asarray(pending, dtype=np.uint8).reshape(-1, genomes.shape[1])
        )
        self.archive = Archive(self.problem.space.n_genes)
        if len(genomes):
            self.archive.add(genomes, evaluation)
        self._recall(state["memory"])

    def _refuse_other_options(self, stored: dict[str, Any]) -> None:
        for name, value in stored.items():
            if name not in self.options or self.options[name] != value:
                raise CorruptFileError(
                    f"the stored search was made with {name} = {value!r}, and this one with "
                    f"{self.options.get(name)!r}: resume it with the options that it was launched with, or launch "
                    "it anew"
                )

    # -- for subclasses ---------------------------------------------------------------------------------

    def _unseen(self, n: int, draw: Callable[[int, int], Genomes]) -> Genomes:
        """Call ``draw(how many, round)`` until ``n`` different unseen candidates came, or many rounds passed."""
        found = self._nothing()
        for number in range(_MOST_ROUNDS):
            missing = n - len(found)
            if missing <= 0:
                break
            wanted = missing if number == 0 else min(missing * 2**number, _LARGEST_ROUND)
            found = np.concatenate([found, draw(wanted, number)])
            found = found[self.archive.fresh(found)[:n]]
        return found

    def _nothing(self) -> Genomes:
        return np.empty((0, self.problem.space.n_genes), dtype=np.uint8)


def _plain(value: Any) -> Any:
    """An option as it looks when it comes back from JSON; of a function only that there is one is known."""
    if callable(value):
        return "given"
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
