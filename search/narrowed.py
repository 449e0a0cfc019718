"""A part of a problem: the same candidates and metrics, with fewer of them or other wishes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from bitfront.search.constraints import Constraint
from bitfront.search.problem import Evaluation, Problem
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
        space: its space, restricted further, if given. What is known exactly of costs over the whole space is then
            not asked.

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
            None if space else whole.extreme,
        )
        self.whole = whole

    def evaluate(self, genomes: Genomes) -> Evaluation:
        """See `Problem.evaluate`."""
        scores = self.whole.evaluate(genomes)
        return self.judge(scores.metrics, scores.errors)
