"""NSGA-II as pymoo ships it, on one of our problems: what its users would run.

Simulated binary crossover and polynomial mutation, rounding, and its own removal of duplicates. Repair also makes
genomes canonical and valid, or it could not be scored. Operators have their defaults, which suit real numbers, or
wider steps, of which fewer are lost when they are rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem as PymooProblem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

_INTEGER_ETA = 3.0
Score = Callable[[Genomes], NDArray[np.float64]]
"""Objectives (n, m), minimised, of canonical genomes (n, n_genes)."""


def stock_nsga2(
    space: SearchSpace,
    score: Score,
    objectives: int,
    population: int,
    evaluations: int,
    seed: int,
    integers: bool = False,
) -> None:
    """Let it score so many candidates; ``score`` sees every batch. ``integers``: operators take wider steps."""
    wider = {"prob": 1.0, "eta": _INTEGER_ETA, "vtype": float} if integers else {}
    algorithm = NSGA2(
        pop_size=population,
        sampling=IntegerRandomSampling(),
        crossover=SBX(**wider),
        mutation=PM(**wider),
        repair=_Repair(space),
    )
    minimize(_Scored(space, score, objectives), algorithm, ("n_eval", evaluations), seed=seed)


class _Repair(RoundingRepair):  # type: ignore[misc]
    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self._space = space

    def _do(self, problem: Any, X: NDArray[np.float64], **kwargs: Any) -> NDArray[np.int64]:
        rounded = super()._do(problem, X, **kwargs)
        return self._space.repair(rounded.astype(np.uint8)).astype(np.int64)


class _Scored(PymooProblem):  # type: ignore[misc]
    def __init__(self, space: SearchSpace, score: Score, objectives: int) -> None:
        upper = space.cardinalities - 1
        super().__init__(n_var=space.n_genes, n_obj=objectives, xl=np.zeros_like(upper), xu=upper, vtype=int)
        self._score = score

    def _evaluate(self, X: NDArray[np.int64], out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        out["F"] = self._score(X.astype(np.uint8))
