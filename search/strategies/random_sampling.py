"""Uniform random sampling: what every other strategy must beat at equal evaluations."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from bitfront.search.archive import Rows
from bitfront.search.problem import Problem
from bitfront.search.strategies.base import InvalidOptionError, Strategy
from bitfront.supernet.genes import Genomes


class RandomSampling(Strategy):
    """Draws candidates alike, without replacement.

    ``uniform_over`` is that of `SearchSpace.sample`: ``"genes"`` sees shallow networks as often as deep ones,
    with ``"points"`` every network is equally likely.
    """

    def __init__(
        self,
        problem: Problem,
        rng: np.random.Generator,
        *,
        population: int = 100,
        uniform_over: Literal["genes", "points"] = "genes",
    ) -> None:
        super().__init__(problem, rng, population=population)
        if uniform_over not in ("genes", "points"):
            raise InvalidOptionError(f"uniform_over is {uniform_over!r}: choose 'genes' or 'points'")
        self.uniform_over: Literal["genes", "points"] = uniform_over

    def _propose(self, n: int) -> Genomes:
        return self._unseen(n, lambda wanted, _: self.problem.space.sample(wanted, self.rng, self.uniform_over))

    def _learn(self, rows: Rows) -> None:
        pass

    def _memory(self) -> dict[str, Any]:
        return {}

    def _recall(self, memory: dict[str, Any]) -> None:
        pass
