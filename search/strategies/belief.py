"""What a surrogate believes of candidates nobody has measured, and which of them are worth measuring."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bitfront.predictors.surrogate import Outlook, Surrogate
from bitfront.search.archive import Rows, non_dominated
from bitfront.search.constraints import Floats
from bitfront.search.hypervolume import hypervolume
from bitfront.search.problem import Evaluation, Problem
from bitfront.supernet.genes import Genomes


class Belief:
    """Exact costs and, for accuracy, the upper end of what it may be.

    Args:
        problem: objectives, constraints and costs.
        surrogate: of accuracy, or of `as_fraction` of what ``prior`` lacks; None where accuracy does not matter.
        exploration: half widths between mean and upper end.
        prior: accuracies (n,) that were expected before.
    """

    def __init__(
        self,
        problem: Problem,
        surrogate: Surrogate | None,
        exploration: float,
        prior: Callable[[Genomes], Floats] | None,
    ) -> None:
        self.surrogate = surrogate
        self.exploration = exploration
        self.prior = prior
        self.problem = Problem(problem.space, problem.objectives, self._upper, problem.cost, problem.constraints)

    def _upper(self, genomes: Genomes) -> Floats:
        assert self.surrogate is not None
        return self.upper(genomes, self.surrogate.outlook(genomes))

    def upper(self, genomes: Genomes, outlook: Outlook) -> Floats:
        """The upper end (n,) for genomes of which that much is known."""
        return self._accuracy(genomes, outlook.mean + self.exploration * outlook.half_width)

    def mean(self, genomes: Genomes, outlook: Outlook) -> Floats:
        """What is expected, (n,)."""
        return self._accuracy(genomes, outlook.mean)

    def _accuracy(self, genomes: Genomes, said: Floats) -> Floats:
        accuracy = said if self.prior is None else self.prior(genomes) + from_fraction(said)
        return np.clip(accuracy, 0.0, 1.0)


def as_fraction(differences: Floats) -> Floats:
    """Differences of accuracies, -1..1, as the fractions, 0..1, of which pairs for surrogates are made."""
    return (1.0 + differences) / 2.0


def from_fraction(fractions: Floats) -> Floats:
    """Undo `as_fraction`."""
    return 2.0 * fractions - 1.0


def worthwhile(belief: Belief, candidates: Genomes, front: Floats, reference: Floats, n: int) -> Rows:
    """Up to ``n`` places among ``candidates`` (k, n_genes) whose upper ends add most hypervolume, one by one.

    What is chosen is then supposed to measure as expected. Feasible candidates come before the others.

    Args:
        belief: what is expected.
        candidates: different canonical genomes, none of them measured.
        front: objectives (f, m) of what is measured and feasible.
        reference: reference point (m,) of the hypervolume.
        n: how many are wanted.
    """
    if not len(candidates):
        return np.empty(0, dtype=np.intp)
    choice = _Choice(belief, candidates, front, reference)
    rows = [choice.take() for _ in range(min(n, len(candidates)))]
    return np.array(rows, dtype=np.intp)


class _Choice:
    """A greedy choice in progress.

    Choosing one makes the gain of every other one smaller at most, so that only the gains that look best are
    worked out again (lazy greedy, Minoux 1978).
    """

    def __init__(self, belief: Belief, candidates: Genomes, front: Floats, reference: Floats) -> None:
        self._belief = belief
        self._candidates = candidates
        self._outlook = None if belief.surrogate is None else belief.surrogate.outlook(candidates)
        self._costs = dict(belief.problem.cost(candidates))
        self._front = front[non_dominated(front)] if len(front) else front
        self._reference = reference
        self._upper = self._judged(Belief.upper)
        self._gains = np.full(len(candidates), np.inf)
        self._known_at = np.full(len(candidates), -1)
        self._round = 0
        self._volume = hypervolume(self._front, reference) if len(front) else 0.0

    def take(self) -> int:
        """The next place."""
        while True:
            row = int(np.argmax(self._gains))
            if self._known_at[row] == self._round:
                break
            self._gains[row], self._known_at[row] = self._gain(row), self._round
        self._choose(row)
        return row

    def _gain(self, row: int) -> float:
        if not self._upper.feasible[row]:
            return -float(self._upper.violation[row])
        return hypervolume(np.vstack([self._front, self._upper.F[row]]), self._reference) - self._volume

    def _choose(self, row: int) -> None:
        expected = self._judged(Belief.mean)
        if expected.feasible[row]:  # the upper end may be, though
            self._front = np.vstack([self._front, expected.F[row]])
            self._front = self._front[non_dominated(self._front)]
            self._volume = hypervolume(self._front, self._reference)
        self._gains[row] = -np.inf
        self._round += 1
        if self._outlook is not None:
            self._outlook.measure(row)
            self._upper = self._judged(Belief.upper)

    def _judged(self, end: Callable[[Belief, Genomes, Outlook], Floats]) -> Evaluation:
        metrics = dict(self._costs)
        if self._outlook is not None:
            metrics["top1"] = end(self._belief, self._candidates, self._outlook)
        return self._belief.problem.judge(metrics)
