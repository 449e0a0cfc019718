"""True accuracy of many candidates: recalibrate, then count right answers; common work is done once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.calibration import Statistics, calibrate
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.evaluation_group import Group
from bitfront.supernet.evaluation_images import Images, Rows, even_rows
from bitfront.supernet.evaluation_plan import sharing_order
from bitfront.supernet.forward import ParamsOf
from bitfront.supernet.genes import Genomes
from bitfront.supernet.inference import ReadyParams
from bitfront.supernet.layers import Block
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.recalibrated_scales import recalibrated_scales
from bitfront.supernet.subnet import Subnet

_LEAST_IMAGES = 32
_LEAST_CALIBRATION_BATCH = 64
_CANDIDATES_AT_ONCE = 16
_GROUP_BYTES = 256 << 20
_FIRST_PART = 0.25
_SCALE_IMAGES = 256
_ONE_PASS = 2.5


@dataclass(frozen=True, slots=True)
class Measured:
    """One truly measured candidate: accuracy in 0..1 and the seconds it took."""

    top1: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """A candidate that was given up after ``images`` images: it has no accuracy of the split.

    Its accuracy is not above ``bound``, as far as `rejection.upper_bound` can tell.
    """

    images: int
    bound: float
    seconds: float


Outcome = Measured | Rejected | NumericalError


class Evaluator:
    """Measures candidates with the supernet's weights, the same way for every split.

    Batch norm is recalibrated for each candidate, in its own policy, on the first ``calibration_images`` of a
    fixed shuffle of the training split; the split that is measured is never looked at before. What a candidate
    measures depends neither on the others nor on their order.

    Args:
        supernet: trained weights, on the CPU, where all is measured; they may not change while an evaluator uses
            them.
        dataset: its normalisation and splits.
        calibration_images: how many training images set the batch-norm statistics.
        batch_size: most images per forward.
        activation_bytes: images per forward are also limited so that no map of the largest network takes more (but
            32 always run at once). Maps that stay in the processor's cache are far faster.
        image_bytes: what resized splits may take; larger ones are resized batch by batch.
        recalibrate_scales: activation scales are set for each candidate as well, on the images of batch norm, and
            candidates have no work in common. On ``digits`` the scales that were learned in training did as well
            for 8 and 6 bits, and better for 4.
    """

    def __init__(
        self,
        supernet: Supernet,
        dataset: Dataset,
        calibration_images: int = 512,
        batch_size: int = 512,
        activation_bytes: int = 16 << 20,
        image_bytes: int = 512 << 20,
        recalibrate_scales: bool = False,
    ) -> None:
        self.supernet = supernet
        self.dataset = dataset
        self.batch_size = batch_size
        self._activation_bytes = activation_bytes
        self._calibration_rows = np.random.default_rng(0).permutation(len(dataset.train))[:calibration_images]
        self._calibration: dict[int, Tensor] = {}
        self._images = Images(dataset, image_bytes)
        self._params = ReadyParams(supernet.params)
        self._recalibrate_scales = recalibrate_scales

    def evaluate(self, genomes: Genomes, split: str = "validation", progress: Progress = silent) -> list[Measured]:
        """Measured accuracy of each genome on ``validation`` or ``test``.

        Raises:
            NumericalError: a network's answers are NaN or infinite; the message holds its genome.
            UnknownNameError: there is no such split.
        """
        results = []
        for outcome in self.outcomes(genomes, split, progress=progress):
            if isinstance(outcome, NumericalError):
                raise outcome
            assert isinstance(outcome, Measured)  # nothing was to be rejected
            results.append(outcome)
        return results

    def evaluate_one(self, genome: NDArray[np.uint8], split: str) -> Measured:
        """`evaluate` for one genome, shape (n_genes,)."""
        return self.evaluate(genome[None], split)[0]

    def outcomes(
        self,
        genomes: Genomes,
        split: str = "validation",
        reject_below: float | None = None,
        progress: Progress = silent,
    ) -> list[Outcome]:
        """As `evaluate`, but a candidate that can not be measured has its error in its place.

        Args:
            genomes: (n, n_genes).
            split: ``validation`` or ``test``.
            reject_below: candidates whose accuracy is below this with 99 % confidence, by a random quarter of the
                split, are given up and have a `Rejected` in their place; by default none is.
            progress: told of each candidate.

        Raises:
            UnknownNameError: there is no such split.
        """
        self.dataset.split(split)
        found: dict[int, Outcome] = {}
        for group in self._groups(genomes):
            start = time.perf_counter()
            counted = self._counted(list(group.values()), split, reject_below)
            seconds = (time.perf_counter() - start) / len(group)
            for candidate, place in enumerate(group):
                found[place] = _outcome(counted, candidate, genomes[place], seconds)
                progress(len(found), len(genomes))
        return [found[place] for place in range(len(genomes))]

    def params_of(self, blocks: Sequence[Block]) -> ParamsOf:
        """Where a network's tensors come from: the supernet, with scales of the network's own if asked for."""
        if not self._recalibrate_scales:
            return self.supernet.params
        images = self.calibration_images(resolution_of(blocks))[:_SCALE_IMAGES]
        return recalibrated_scales(self.supernet.params, blocks, images)

    def subnet(self, blocks: Sequence[Block]) -> Subnet:
        """The network by itself, as it is measured here."""
        return Subnet(self.supernet, blocks, self.statistics(blocks), self.params_of(blocks))

    def statistics(self, blocks: Sequence[Block]) -> Statistics:
        """Recalibrated batch-norm statistics of a network."""
        resolution = resolution_of(blocks)
        images, most = self.calibration_images(resolution), self._calibration_batch(resolution)
        return calibrate(self.supernet, blocks, images, most, self.params_of(blocks))

    def calibration_images(self, resolution: int) -> Tensor:
        """What batch norm is calibrated on, normalised, at a resolution."""
        if resolution not in self._calibration:
            self._calibration[resolution] = self._images.rows("train", resolution, self._calibration_rows)
        return self._calibration[resolution]

    def labelled_calibration_images(self, resolution: int, n: int) -> tuple[Tensor, NDArray[np.int64]]:
        """The first ``n`` of the calibration images, or all, and their class numbers."""
        labels = self.dataset.train.labels[self._calibration_rows[:n]].astype(np.int64)
        return self.calibration_images(resolution)[:n], labels

    def images(self, split: str, resolution: int, rows: Rows = slice(None)) -> Tensor:
        """Images of a split, normalised, at a resolution: all of them, or ``rows``."""
        return self._images.rows(split, resolution, rows)

    def classes(
        self, subnet: Subnet, split: str, resolution: int, progress: Progress = silent
    ) -> NDArray[np.int64]:
        """What a network by itself names for each image of a split, (n_images,); told of batches: ``progress``."""
        batches = even_rows(0, len(self.dataset.split(split)), self.images_at_once(resolution))
        found = []
        for number, rows in enumerate(batches, start=1):
            with torch.no_grad():
                found.append(subnet(self.images(split, resolution, rows)).argmax(1).cpu().numpy())
            progress(number, len(batches))
        return np.concatenate(found)

    def images_at_once(self, resolution: int) -> int:
        """Images per forward: they depend on the space and the resolution alone."""
        space = self.supernet.space
        largest = space.assign(space.extremes()[1:], {"resolution": resolution})[0]
        values = max(layer.out_channels * layer.out_size**2 for layer in space.layers(largest))
        return min(self.batch_size, max(_LEAST_IMAGES, self._activation_bytes // (4 * values)))

    def _groups(self, genomes: Genomes) -> Iterator[Mapping[int, tuple[Block, ...]]]:
        """Networks by place, few at a time: neighbours that share much, all of one resolution."""
        group: dict[int, tuple[Block, ...]] = {}
        weights = 0
        for place in sharing_order(self.supernet.space, genomes):
            blocks = self.supernet.space.blocks(genomes[place])
            own = 4 * sum(layer.weights for block in blocks for layer in block.layers)
            weights += own
            full = len(group) == (1 if self._recalibrate_scales else _CANDIDATES_AT_ONCE) or weights > _GROUP_BYTES
            if group and (full or resolution_of(blocks) != resolution_of(next(iter(group.values())))):
                yield group
                group, weights = {}, own
            group[int(place)] = blocks
        if group:
            yield group

    def _counted(self, networks: Sequence[tuple[Block, ...]], split: str, reject_below: float | None) -> Group:
        resolution, n = resolution_of(networks[0]), len(self.dataset.split(split))
        most, calibration = self.images_at_once(resolution), self.calibration_images(resolution)
        params = ReadyParams(self.params_of(networks[0])) if self._recalibrate_scales else self._params
        with torch.inference_mode():
            group = Group(networks, params)
            if reject_below is None and len(calibration) <= most and len(calibration) + n <= _ONE_PASS * most:
                group.calibrate_and_count(calibration, *self._part(split, resolution, slice(None)))
                return group
            parts = even_rows(0, len(calibration), self._calibration_batch(resolution))
            group.calibrate([calibration[rows] for rows in parts])
            self._count(group, split, resolution, reject_below)
        return group

    def _count(self, group: Group, split: str, resolution: int, reject_below: float | None) -> None:
        n, most = len(self.dataset.split(split)), self.images_at_once(resolution)
        if reject_below is None:
            for rows in even_rows(0, n, most):
                group.count(*self._part(split, resolution, rows))
            return
        order, first = np.random.default_rng(0).permutation(n), math.ceil(_FIRST_PART * n)
        for start, stop in ((0, first), (first, n)):
            for rows in even_rows(start, stop, most):
                group.count(*self._part(split, resolution, order[rows]))
            if start == 0:
                group.reject(reject_below)
                if len(group.rejected) == len(group.right):
                    return

    def _part(self, split: str, resolution: int, rows: Rows) -> tuple[Tensor, NDArray[np.int64]]:
        return self._images.rows(split, resolution, rows), self.dataset.split(split).labels[rows]

    def _calibration_batch(self, resolution: int) -> int:
        return max(_LEAST_CALIBRATION_BATCH, self.images_at_once(resolution))


def resolution_of(blocks: Sequence[Block]) -> int:
    """Side of the images that a network takes, in pixels."""
    return blocks[0].layers[0].in_size


def _outcome(group: Group, candidate: int, genome: NDArray[np.uint8], seconds: float) -> Outcome:
    if not group.finite[candidate]:
        return NumericalError(
            f"the network of genome {genome.tolist()} answers with NaN or infinity: "
            "the supernet's weights are damaged or its training diverged; train it again with a lower rate"
        )
    if candidate in group.rejected:
        return Rejected(int(group.seen[candidate]), group.rejected[candidate], seconds)
    return Measured(float(group.right[candidate] / group.seen[candidate]), seconds)
