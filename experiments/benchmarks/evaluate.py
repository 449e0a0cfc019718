"""Trials per second of the evaluator against evaluating each extracted subnet by itself.

By itself means: calibrate batch norm, build the `Subnet`, run the split in batches. Both get the images resized
already and take batches of the size that suits the processor's cache; accuracies must be identical. The networks
are untrained, with step sizes set from what their layers show: times do not depend on weights. On `digits`
images are its own, on `fashion` a thousand of Fashion-MNIST where it is at hand (``images_are_noise_fashion`` is
0), else noise. Both ways are warmed up on other candidates. Times are processor time of the whole process, and the
evaluator's stands between two halves of the others'.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.reporter import Reporter
from bitfront.search.executors.local import one_thread
from bitfront.supernet.calibration import initialise_scales
from bitfront.supernet.data import load_dataset
from bitfront.supernet.data.dataset import DataError, Dataset, Split
from bitfront.supernet.data.digits import digits
from bitfront.supernet.evaluation import Evaluator, resolution_of
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.subnet import Subnet

_CANDIDATES = {"digits": 200, "fashion": 200}
_QUICK_CANDIDATES = {"digits": 40, "fashion": 8}
_GOALS = ("times_one_by_one_digits >= 2", "times_one_by_one_fashion >= 2", "accuracies_that_differ <= 0")
_SPLIT = "validation"
_NOISE = "noise"
_TRAIN_IMAGES, _VALIDATION_IMAGES = 1024, 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Speeds:
    """Processor seconds per trial of both ways, and how many accuracies are not the same."""

    evaluator: float
    one_by_one: float
    differ: int


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Random mixed-precision candidates of two spaces; seeds draw the candidates and the weights."""
    figures: dict[str, float] = {}
    differ = 0
    for name, n in (_QUICK_CANDIDATES if quick else _CANDIDATES).items():
        space, dataset = SPACES.get(name)(), _images(name, reporter)
        progress = reporter.progress(f"evaluating {n} candidates of {name}")
        found = []
        for seed in range(seeds):
            with one_thread():
                found.append(_speeds(space, dataset, n, seed))
            progress(seed + 1, seeds)
        ratios = [speeds.one_by_one / speeds.evaluator for speeds in found]
        differ += sum(speeds.differ for speeds in found)
        figures |= {
            f"times_one_by_one_{name}": float(np.median(ratios)),
            f"times_one_by_one_{name}_least": min(ratios),
            f"trials_per_second_{name}": 1 / float(np.median([speeds.evaluator for speeds in found])),
            f"trials_per_second_one_by_one_{name}": 1 / float(np.median([speeds.one_by_one for speeds in found])),
            f"candidates_{name}": float(n),
            f"images_are_noise_{name}": float(dataset.name == _NOISE),
        }
    return BenchResult.of("evaluate", seeds, figures | {"accuracies_that_differ": float(differ)}, _GOALS)


def _images(name: str, reporter: Reporter) -> Dataset:
    if name == "digits":
        return digits()
    try:
        whole = load_dataset("fashion_mnist", reporter.progress("decoding images"))
    except DataError as error:
        reporter.say(f"fashion is measured on noise: {error}")
        return noise(28)
    train, validation = _first(whole.train, _TRAIN_IMAGES), _first(whole.validation, _VALIDATION_IMAGES)
    return replace(whole, train=train, validation=validation)


def _first(split: Split, n: int) -> Split:
    return Split(split.images[:n], split.labels[:n])


def noise(size: int, validation: int = _VALIDATION_IMAGES) -> Dataset:
    """Grey images without meaning: what is timed does not ask."""
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        return Split(rng.integers(0, 256, (n, 1, size, size), dtype=np.uint8), rng.integers(0, 10, n))

    names = tuple(str(label) for label in range(10))
    return Dataset(_NOISE, names, split(_TRAIN_IMAGES), split(validation), split(16), (0.5,), (0.3,))


def prepared_supernet(space: SearchSpace, dataset: Dataset, seed: int) -> Supernet:
    """An untrained supernet whose step sizes fit what its layers show."""
    supernet = Supernet(space, seed)
    evaluator = Evaluator(supernet, dataset)
    sampled = np.concatenate([space.extremes(), space.sample(1, np.random.default_rng(seed))])
    real = space.assign(sampled, {"weight_format": "fp32", "activation_format": "fp32"})
    networks = [space.blocks(genome) for genome in real]
    images = [evaluator.calibration_images(blocks[0].layers[0].in_size)[:64] for blocks in networks]
    initialise_scales(supernet, networks, images)
    return supernet


def _speeds(space: SearchSpace, dataset: Dataset, n: int, seed: int) -> _Speeds:
    supernet = prepared_supernet(space, dataset, seed)
    genomes = space.sample(n, np.random.default_rng([seed, n]), "sizes")
    others = space.sample(2, np.random.default_rng([seed, n, 1]), "sizes")
    warming = Evaluator(supernet, dataset)
    warming.evaluate(others, _SPLIT)
    _accuracy(warming, others[0])
    evaluator, alone = Evaluator(supernet, dataset), Evaluator(supernet, dataset)
    for genome in genomes:  # so that all images are resized before time counts
        for one in (evaluator, alone):
            resolution = resolution_of(space.blocks(genome))
            one.calibration_images(resolution)
            one.images(_SPLIT, resolution)
    first, before = _timed(lambda: [_accuracy(alone, genome) for genome in genomes[: n // 2]])
    measured, together = _timed(lambda: evaluator.evaluate(genomes, _SPLIT))
    second, after = _timed(lambda: [_accuracy(alone, genome) for genome in genomes[n // 2 :]])
    differ = sum(one != other.top1 for one, other in zip(first + second, measured, strict=True))
    return _Speeds(together / n, (before + after) / n, differ)


def _accuracy(evaluator: Evaluator, genome: NDArray[np.uint8]) -> float:
    """What one would do without the evaluator's common work; of it, only images and statistics are taken."""
    blocks = evaluator.supernet.space.blocks(genome)
    subnet = Subnet(evaluator.supernet, blocks, evaluator.statistics(blocks))
    resolution = resolution_of(blocks)
    images, labels = evaluator.images(_SPLIT, resolution), evaluator.dataset.split(_SPLIT).labels
    with torch.no_grad():
        logits = torch.cat([subnet(batch) for batch in torch.split(images, evaluator.images_at_once(resolution))])
    return float(np.mean(logits.argmax(1).numpy() == labels))


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.process_time_ns()
    result = work()
    return result, (time.process_time_ns() - start) / 1e9
