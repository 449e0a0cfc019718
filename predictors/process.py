"""A Gaussian process beside the networks: what it predicts, in closed form.

Where few pairs are known it is the better learner; where many are, it errs otherwise than networks do, so that the
mean of both is better than either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor

from bitfront.predictors import relevance
from bitfront.predictors.distance import Distance
from bitfront.predictors.features import Floats32
from bitfront.predictors.kernels import Kernel, likeliest, scale_of

MOST_PAIRS = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Process:
    """Posterior means under a kernel of `kernels` (Rasmussen and Williams 2006, equation 2.25).

    Attributes:
        learned: columns of what was learned, (n, r).
        distance: of columns, over the length of the kernel.
        solved: weights of what was learned, (n,).
        offset: its mean.
    """

    learned: Floats32
    distance: Distance
    solved: Floats
    offset: float

    def outputs(self, columns: Floats32) -> Floats:
        """Expected values (m,) of columns (m, r)."""
        with torch.inference_mode():
            x = torch.from_numpy(columns)
            squared = torch.addmm(self._squares(x)[:, None], x, self._across)
            scaled = squared.add_(self._own).clamp_(min=0.0).mul_(3.0).sqrt_()
            said = torch.exp(-scaled).mul_(scaled.add_(1.0)) @ self._weights
        return np.asarray(self.offset + said.double().numpy(), dtype=np.float64)

    def _squares(self, x: Tensor) -> Tensor:
        """Squared distances (n,) of columns (n, r) from 0."""
        distance = self.distance
        diagonal, sums = torch.from_numpy(distance.diagonal), torch.from_numpy(distance.sums)
        squares: Tensor = x.square() @ diagonal.square() + (x @ sums).square().sum(1)
        return squares

    @cached_property
    def _across(self) -> Tensor:
        """-2 <x, learned> as a product with x, (r, n)."""
        learned, distance = torch.from_numpy(self.learned), self.distance
        sums = torch.from_numpy(distance.sums)
        both = learned * torch.from_numpy(distance.diagonal).square() + (learned @ sums) @ sums.T
        return both.T.contiguous() * -2.0

    @cached_property
    def _own(self) -> Tensor:
        return self._squares(torch.from_numpy(self.learned))

    @cached_property
    def _weights(self) -> Tensor:
        return torch.from_numpy(self.solved.astype(np.float32))

    def shrunk(self, factor: float) -> Self:
        """The same with all differences from the mean made smaller by ``factor``."""
        return replace(self, solved=self.solved * factor)

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """For a file."""
        return {
            f"{prefix}.learned": torch.from_numpy(np.ascontiguousarray(self.learned)),
            f"{prefix}.diagonal": torch.from_numpy(self.distance.diagonal),
            f"{prefix}.sums": torch.from_numpy(self.distance.sums),
            f"{prefix}.solved": torch.from_numpy(self.solved),
            f"{prefix}.offset": torch.tensor(self.offset, dtype=torch.float64),
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], prefix: str) -> Self:
        """Back from `tensors`.

        Raises:
            KeyError: one is missing.
        """
        learned, diagonal, sums, solved = (
            tensors[f"{prefix}.{name}"].numpy() for name in ("learned", "diagonal", "sums", "solved")
        )
        return cls(learned, Distance(diagonal, sums), solved, float(tensors[f"{prefix}.offset"]))


@dataclass(frozen=True)
class LearnedProcess:
    """A process with what it needs to say of its own pairs without having seen them.

    Attributes:
        process: that was fitted.
        rows: which of the pairs it learned, (n,).
        points: where these are, (n, d).
        residuals: what they are above the mean, (n,).
        kernel: under which.
        left_out: what is expected of each of them from all others, (n,), around the mean of all.
    """

    process: Process
    rows: NDArray[np.intp]
    points: Floats
    residuals: Floats
    kernel: Kernel
    left_out: Floats

    def unseen(self, columns: Floats32, fold: NDArray[np.intp] | None = None) -> Floats:
        """What is expected of each of all N pairs, columns (N, r), without it; shape (N,).

        Args:
            columns: the pairs.
            fold: which are left out together, (N,); else each alone.
        """
        expected = self.process.outputs(columns)
        expected[self.rows] = self.left_out if fold is None else self._by_folds(fold[self.rows])
        return expected

    def _by_folds(self, fold: NDArray[np.intp]) -> Floats:
        expected = np.full(len(fold), self.process.offset)
        for one in np.unique(fold):
            away, kept = fold == one, fold != one
            if kept.any():
                mean = self.residuals[kept].mean()
                solved = _solved(self.kernel, self.points[kept], self.residuals[kept] - mean)
                expected[away] += mean + self.kernel.between(self.points[away], self.points[kept]) @ solved
        return expected


def learned_process(
    columns: Floats32,
    values: Floats,
    distance: Distance,
    generator: torch.Generator,
    kinds: NDArray[np.intp] | None = None,
) -> LearnedProcess:
    """Fit to columns (N, r) and values (N,): to `MOST_PAIRS` of them, drawn, where there are more.

    Args:
        columns: of the pairs.
        values: of the pairs.
        distance: between columns.
        generator: of what is drawn.
        kinds: of columns (r,) whose `relevance` is learned first, from some of the pairs.
    """
    rows, drawn = np.arange(len(values)), torch.randperm(len(values), generator=generator).numpy()
    if len(values) > MOST_PAIRS:
        rows = np.sort(drawn[:MOST_PAIRS])
    if kinds is not None:
        some = drawn[: relevance.MOST_PAIRS]
        relevant = relevance.relevance(columns[some] * distance.diagonal, values[some], kinds)
        distance = distance.scaled(relevant[kinds])
    known, offset = columns[rows], float(values[rows].mean())
    points, residuals = distance.points(known), values[rows] - offset
    scale = scale_of(points)
    points = points * scale
    found = likeliest(points, residuals)
    process = Process(
        known, distance.scaled(scale / found.kernel.length), _solved(found.kernel, points, residuals), offset
    )
    return LearnedProcess(process, rows, points, residuals, found.kernel, values[rows] - found.errors)


def _solved(kernel: Kernel, points: Floats, residuals: Floats) -> Floats:
    return np.asarray(cho_solve(cho_factor(kernel.of(points), lower=True), residuals), dtype=np.float64)
