"""True accuracy of many candidates on an executor: the same work for samples and for the front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.run import Run
from bitfront.experiments.store.records import Split, TrialKind, Trials
from bitfront.search.executors import EXECUTORS
from bitfront.search.executors.base import Failure
from bitfront.supernet.data import DATASETS
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.evaluation import Evaluator, Measured
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces import SPACES

_FLUSH_EVERY = 16


class MeasurementError(BitfrontError):
    """A candidate could not be measured."""


@dataclass(frozen=True)
class Shared:
    """What a worker needs once: names that it resolves by itself, and the weights as arrays."""

    space: str
    data: str
    weights: dict[str, NDArray[Any]]
    calibration_images: int


def make_worker(shared: Shared) -> Callable[[tuple[bytes, str]], Measured]:
    """A worker that measures one (genome, split) at a time."""
    import torch

    supernet = Supernet(SPACES.get(shared.space)())
    # A copy, as arrays that come through an object store are read-only and torch warns of them.
    supernet.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in shared.weights.items()})
    evaluator = Evaluator(supernet, DATASETS.get(shared.data)(), shared.calibration_images)

    def work(item: tuple[bytes, str]) -> Measured:
        return evaluator.evaluate_one(np.frombuffer(item[0], dtype=np.uint8), item[1])

    return work


@dataclass(frozen=True)
class Job:
    """Which supernet is measured on which split, and how the numbers are filed."""

    supernet_id: str
    supernet: Supernet
    split: Split
    kind: TrialKind
    label: str


def measured_accuracy(run: Run, job: Job, genomes: Genomes) -> NDArray[np.float64]:
    """Accuracy (n,) of each genome; what was measured before is looked up, the rest is measured and stored.

    Raises:
        MeasurementError: a candidate failed every attempt; all others are stored.
    """
    known = run.store.trials(job.supernet_id, job.split).lookup()
    missing = [genome.tobytes() for genome in genomes if genome.tobytes() not in known]
    missing = list(dict.fromkeys(missing))
    if missing:
        known.update(_measure(run, job, missing))
    return np.array([known[genome.tobytes()] for genome in genomes])


def _measure(run: Run, job: Job, genomes: list[bytes]) -> dict[bytes, float]:
    progress = run.progress(job.label)
    found: dict[bytes, float] = {}
    waiting: list[tuple[bytes, Measured]] = []
    failures: list[str] = []

    def flush() -> None:
        if waiting:
            run.store.add_trials(job.supernet_id, job.split, job.kind, _trials(waiting))
            waiting.clear()

    def on_result(position: int, result: Measured | Failure) -> None:
        if isinstance(result, Failure):
            failures.append(result.error)
        else:
            found[genomes[position]] = result.top1
            waiting.append((genomes[position], result))
        if len(waiting) >= _FLUSH_EVERY:
            flush()
        progress(len(found) + len(failures), len(genomes))

    items = [(genome, job.split) for genome in genomes]
    executor = run.spec.executor
    with EXECUTORS.get(executor.kind)(workers=executor.workers, address=executor.address) as workers:
        try:
            workers.map(make_worker, _shared(run, job.supernet), items, on_result)
        finally:
            flush()
    if failures:
        raise MeasurementError(
            f"{len(failures)} of {len(genomes)} candidates could not be measured, the first with {failures[0]}"
        )
    return found


def _trials(results: list[tuple[bytes, Measured]]) -> Trials:
    return Trials(
        np.stack([np.frombuffer(genome, dtype=np.uint8) for genome, _ in results]),
        np.array([measured.top1 for _, measured in results]),
        np.array([measured.seconds for _, measured in results]),
    )


def _shared(run: Run, supernet: Supernet) -> Shared:
    weights = {name: tensor.detach().numpy() for name, tensor in supernet.state_dict().items()}
    return Shared(run.spec.space, run.spec.data, weights, run.spec.supernet.calibration_images)
