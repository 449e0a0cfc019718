"""A part of a problem: the same candidates and metrics, with fewer of them or other wishes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from bitfront.search.constraints import Constraint
from bitfront.search.devices import ExactExtreme
from bitfront.search.problem import Evaluation, Extreme, Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace


@final
class NarrowedProblem(Problem):
    """Another problem's candidates, with all metrics that it gives them, judged otherwise.

    What meets these constraints meets those of ``whole`` too, so that what is found here is found there.

    Args:
        whole: who scores; of its metrics all are known here.
        objectives: in place of those of ``whole``, if given.
        constraints: beside those of ``whole``.
        space: its space, restricted further, if given. Of the extremes of costs only an `ExactExtreme` can be
            asked about it, others are not.

    Raises:
        UnknownNameError, InvalidObjectivesError: as `Problem`.
    """

    def __init__(
        self,
        whole: Problem,
        objectives: Sequence[str] | None = None,
        constraints: Sequence[Constraint] = (),
        space: SearchSpace | None = None,
    ) -> None:
        super().__init__(
            space or whole.space,
            objectives or whole.objectives,
            whole.predict,
            whole.cost,
            (*whole.constraints, *constraints),
            _extreme(whole, space),
        )
        self.whole = whole

    def evaluate(self, genomes: Genomes) -> Evaluation:
        """See `Problem.evaluate`."""
        scores = self.whole.evaluate(genomes)
        return self.judge(scores.metrics, scores.errors)


def _extreme(whole: Problem, space: SearchSpace | None) -> Extreme | None:
    if space is None:
        return whole.extreme
    return whole.extreme.over(space) if isinstance(whole.extreme, ExactExtreme) else None
