"""Bits by an integer linear program (HAWQ-V3, Yao et al. 2021), one architecture after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.search.archive import Rows, genome_keys
from bitfront.search.constraints import Floats
from bitfront.search.policy_choices import PolicyChoices, in_first_formats
from bitfront.search.policy_sweep import swept
from bitfront.search.problem import Problem
from bitfront.search.strategies.base import InvalidOptionError, Strategy
from bitfront.supernet.genes import Genomes

_MOST_OPENED = 64
_MIXED = 0.5
_DRAWN = 16  # architectures of which the one is taken that misses limits on costs by least


class IlpBits(Strategy):
    """Finds the sensitivities of an architecture's layers, and then its policies by an integer linear program.

    An architecture is scored in its first formats, and with each layer's formats changed alone: these are
    evaluations like any others. What error each change adds is the layer's sensitivity; where accuracy is neither
    an objective nor a constraint, the first objective is taken in its place. Policies are then solved for under
    limits that are swept over the range of each cost (see `policy_sweep.swept`) and scored in turn. Costs are
    table look-ups, and asked of `Problem.cost` without being counted.

    The first architectures are random; then every other one is mixed from two of the front, and changed a little.
    Of several the one is taken whose costs, in the narrowest formats, miss limits by least.

    Args:
        problem: what is searched for.
        rng: the only source of randomness.
        population: candidates per `ask`, at least 1.
        levels: limits per cost, from an architecture's smallest total to short of its largest, at least 1.

    Raises:
        InvalidOptionError: an option is out of its range.
    """

    def __init__(
        self, problem: Problem, rng: np.random.Generator, *, population: int = 100, levels: int = 5
    ) -> None:
        super().__init__(problem, rng, population=population)
        if levels < 1:
            raise InvalidOptionError(f"levels is {levels}: it must be at least 1")
        self.levels = levels
        self._open = self._nothing()  # architectures whose changes or policies have not all been scored
        self._has_new = True  # whether there may be an architecture that was not opened yet
        self._row_of: dict[bytes, int] = {}
        self._solved: dict[bytes, Genomes] = {}  # follows from the archive: no part of the memory

    def _propose(self, n: int) -> Genomes:
        found = self._of_open(n)
        for _ in range(_MOST_OPENED):
            if len(found) >= n or not self._opened():
                break
            found = self._joined(found, self._of_open(n))
        missing = n - len(found)
        rest = self._unseen(n, self._random) if missing > 0 else self._nothing()
        return self._joined(found, rest)[:n]

    def _of_open(self, n: int) -> Genomes:
        """What open architectures still need, at most ``n``; those that need no more are closed."""
        found, kept = self._nothing(), []
        for base in self._open:
            if len(found) < n:
                wanted, is_last = self._wanted(base)
                joined = self._joined(found, wanted)
                found = joined[:n]
                if is_last and len(joined) <= n:
                    self._solved.pop(base.tobytes(), None)
                    continue
            kept.append(base)
        self._open = np.array(kept, dtype=np.uint8).reshape(-1, self.problem.space.n_genes)
        return found

    def _wanted(self, base: NDArray[np.uint8]) -> tuple[Genomes, bool]:
        """Candidates that are not scored yet, and whether the architecture needs no more after them."""
        choices = PolicyChoices.of(self.problem.space, base)
        changed = choices.one_changed()
        missing = self.archive.fresh(changed)
        if len(missing):
            return changed[missing], not choices.options
        errors = self._errors(changed)
        if not np.isfinite(errors[0]):
            return self._nothing(), True
        key = base.tobytes()
        if key not in self._solved:
            self._solved[key] = swept(self.problem, choices, choices.table(errors), self.levels)
        policies = self._solved[key]
        return policies[self.archive.fresh(policies)], True

    def _errors(self, genomes: Genomes) -> Floats:
        """What is minimised of scored candidates, (n,): the top-1 error, or the first objective."""
        scores = self.archive.evaluation.take(
            np.array([self._row_of[row] for row in genome_keys(genomes)], dtype=np.intp)
        )
        return 1.0 - scores.metrics["top1"] if "top1" in scores.metrics else scores.F[:, 0]

    def _opened(self) -> bool:
        """Open one more architecture; false where no new one turns up, which is not tried again."""
        if not self._has_new:
            return False
        found = self._unseen(1 + len(self._open), self._architectures)
        opened = set(genome_keys(self._open))
        fresh = [i for i, key in enumerate(genome_keys(found)) if key not in opened]
        self._open = np.concatenate([self._open, found[fresh[:1]]])
        self._has_new = bool(fresh)
        return self._has_new

    def _architectures(self, wanted: int, number: int) -> Genomes:
        drawn = self._drawn(_DRAWN * wanted)
        return drawn[np.argsort(self._excess(drawn), kind="stable")[:wanted]]

    def _excess(self, architectures: Genomes) -> Floats:
        """By how much limits on costs are missed even in the last formats, relative to them and summed, (n,)."""
        space = self.problem.space
        last = {g.kind: g.choices[-1] for g in space.genes if g.is_policy}
        costs = self.problem.cost(space.repair(space.assign(architectures, last)))
        limits = [one for one in self.problem.constraints if one.metric in costs]
        over = [np.maximum(one.excess(costs[one.metric]), 0.0) for one in limits]
        return np.sum(over, axis=0) if over else np.zeros(len(architectures))

    def _drawn(self, wanted: int) -> Genomes:
        space, front = self.problem.space, self.archive.genomes[self.archive.front]
        drawn = space.sample(wanted, self.rng)
        if len(front):
            mothers, fathers = front[self.rng.integers(len(front), size=(2, wanted))]
            is_mixed = self.rng.random(wanted) < _MIXED
            for group in space.groups:
                from_mother = self.rng.random((wanted, 1)) < 0.5
                inherited = np.where(from_mother, mothers[:, group.members], fathers[:, group.members])
                kept = is_mixed & (self.rng.random(wanted) > 1.0 / len(space.groups))
                drawn[:, group.members] = np.where(kept[:, None], inherited, drawn[:, group.members])
        return in_first_formats(space, drawn)

    def _random(self, wanted: int, number: int) -> Genomes:
        return self.problem.space.sample(wanted, self.rng)

    def _joined(self, first: Genomes, second: Genomes) -> Genomes:
        both = np.concatenate([first, second])
        return both[self.archive.fresh(both)]

    def _learn(self, rows: Rows) -> None:
        self._row_of.update(zip(genome_keys(self.archive.genomes[rows]), rows.tolist(), strict=True))

    def _memory(self) -> dict[str, Any]:
        return {"open": self._open, "has_new": self._has_new}

    def _recall(self, memory: dict[str, Any]) -> None:
        self._open = np.asarray(memory["open"], dtype=np.uint8).reshape(-1, self.problem.space.n_genes)
        self._has_new = bool(memory.get("has_new", True))  # searches of before did not keep it
        self._row_of, self._solved = {}, {}
        self._learn(np.arange(len(self.archive), dtype=np.intp))
