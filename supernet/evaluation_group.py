"""A few candidates of one resolution on their way through calibration and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.evaluation_plan import Node, OnLogits, Plan
from bitfront.supernet.forward import Normalise
from bitfront.supernet.inference import ReadyParams, normalise_in_place
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.moments import PooledMoments
from bitfront.supernet.rejection import upper_bound


def _unwatched(candidate: int, logits: Tensor) -> None:
    """Nobody looks."""


class Group:
    """Counts right answers of several networks at once; `calibrate` comes first.

    Args:
        networks: the blocks of each; all take images of one resolution.
        params_of: parameters, quantized already.
    """

    def __init__(self, networks: Sequence[Sequence[Block]], params_of: ReadyParams) -> None:
        self._plan = Plan(networks, params_of)
        self.right = np.zeros(len(networks), dtype=np.int64)
        self.seen = np.zeros(len(networks), dtype=np.int64)
        self.finite = np.ones(len(networks), dtype=bool)
        self.rejected: dict[int, float] = {}

    def calibrate(self, batches: Sequence[Tensor]) -> None:
        """Set batch-norm statistics as `calibration.calibrate` does with the same batches."""
        for images in batches:
            self._plan.walk(images, _recording, _unwatched)
        for node in self._plan.nodes():
            node.moments = {name: pooled.moments() for name, pooled in node.pooled.items()}

    def calibrate_and_count(
        self, calibration: Tensor, images: Tensor, labels: NDArray[np.int64], watch: OnLogits = _unwatched
    ) -> None:
        """`calibrate` with one batch and `count` with one, in one forward; to the bit what both do."""
        n = len(calibration)

        def normalise(layer: Layer, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
            mean, variance = PooledMoments().add(x[:n])
            return normalise_in_place(x, mean, variance, gain, bias)

        self._walk_and_judge(torch.cat([calibration, images]), labels, lambda node: normalise, n, watch)

    def count(self, images: Tensor, labels: NDArray[np.int64], watch: OnLogits = _unwatched) -> None:
        """Classify images (n, channels, size, size) in channels-last, and compare with their labels (n,).

        ``watch`` is shown the logits (n, classes) of each candidate.
        """
        self._walk_and_judge(images, labels, _by_moments, 0, watch)

    def reject(self, below: float) -> None:
        """Give up candidates whose accuracy is below this all but surely, by what they did so far."""
        for candidate, (right, seen) in enumerate(zip(self.right, self.seen, strict=True)):
            bound = upper_bound(int(right), int(seen))
            if self.finite[candidate] and bound < below:
                self.rejected[candidate] = bound
        self._plan.drop(frozenset(self.rejected))

    def _walk_and_judge(
        self,
        images: Tensor,
        labels: NDArray[np.int64],
        normalise_of: Callable[[Node], Normalise],
        skip: int,
        watch: OnLogits,
    ) -> None:
        wanted = torch.from_numpy(labels).to(images.device)

        def judge(candidate: int, logits: Tensor) -> None:
            answers = logits[skip:]
            self.right[candidate] += int((answers.argmax(1) == wanted).sum())
            self.seen[candidate] += len(wanted)
            self.finite[candidate] &= bool(torch.isfinite(answers).all())
            watch(candidate, answers)

        self._plan.walk(images, normalise_of, judge)


def _recording(node: Node) -> Normalise:
    def normalise(layer: Layer, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        mean, variance = node.pooled.setdefault(layer.name, PooledMoments()).add(x)
        return normalise_in_place(x, mean, variance, gain, bias)

    return normalise


def _by_moments(node: Node) -> Normalise:
    def normalise(layer: Layer, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        mean, variance = node.moments[layer.name]
        return normalise_in_place(x, mean, variance, gain, bias)

    return normalise
