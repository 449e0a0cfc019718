"""True accuracy of many candidates on an executor: the same work for samples and for the front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.run import Run
from bitfront.experiments.store.records import Split, TrialKind, Trials
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


def make_worker(shared: Shared) -> Callable[[_Item], Measured]:
    """A worker that measures one genome on one split at a time."""
    import torch

    supernet = Supernet(SPACES.get(shared.space)())
    # A copy, as arrays that come through an object store are read-only and torch warns of them.
    supernet.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in shared.weights.items()})
    evaluator = Evaluator(supernet, DATASETS.get(shared.data)(), shared.calibration_images)

    def work(item: _Item) -> Measured:
        return evaluator.evaluate_one(np.frombuffer(item.genome, dtype=np.uint8), item.split)

    return work


@dataclass(frozen=True)
class Wanted:
    """Genomes (n, n_genes) whose accuracy on a split is wanted, and how they are filed."""

    genomes: Genomes
    split: Split
    kind: TrialKind


@dataclass(frozen=True)
class _Item:
    genome: bytes
    split: Split
    kind: TrialKind


def measured_accuracy(
    run: Run, supernet_id: str, supernet: Supernet, wanted: Sequence[Wanted], label: str
) -> list[NDArray[np.float64]]:
    """Accuracies (n,) per entry of ``wanted``; what was measured before is looked up, the rest is also stored.

    Raises:
        MeasurementError: a candidate failed every attempt; all others are stored.
    """
    known: dict[str, dict[bytes, float]] = {
        split: run.store.trials(supernet_id, split).lookup() for split in {entry.split for entry in wanted}
    }
    missing = {
        (genome.tobytes(), entry.split): _Item(genome.tobytes(), entry.split, entry.kind)
        for entry in wanted
        for genome in entry.genomes
        if genome.tobytes() not in known[entry.split]
    }
    if missing:
        for item, top1 in _measure(run, supernet_id, supernet, list(missing.values()), label).items():
            known[item.split][item.genome] = top1
    return [np.array([known[entry.split][genome.tobytes()] for genome in entry.genomes]) for entry in wanted]


def _measure(run: Run, supernet_id: str, supernet: Supernet, items: list[_Item], label: str) -> dict[_Item, float]:
    progress = run.progress(label)
    found: dict[_Item, float] = {}
    waiting: list[tuple[_Item, Measured]] = []
    failures: list[str] = []

    def on_result(position: int, result: Measured | Failure) -> None:
        if isinstance(result, Failure):
            failures.append(result.error)
        else:
            found[items[position]] = result.top1
            waiting.append((items[position], result))
        if len(waiting) >= _FLUSH_EVERY:
            _store(run, supernet_id, waiting)
        progress(len(found) + len(failures), len(items))

    try:
        run.executor().map(make_worker, _shared(run, supernet_id, supernet), items, on_result)
    finally:
        _store(run, supernet_id, waiting)
    if failures:
        raise MeasurementError(
            f"{len(failures)} of {len(items)} candidates could not be measured, the first with {failures[0]}"
        )
    return found


def _store(run: Run, supernet_id: str, waiting: list[tuple[_Item, Measured]]) -> None:
    """File what waits, and empty the list."""
    for split, kind in dict.fromkeys((item.split, item.kind) for item, _ in waiting):
        rows = [(item, measured) for item, measured in waiting if (item.split, item.kind) == (split, kind)]
        trials = Trials(
            np.stack([np.frombuffer(item.genome, dtype=np.uint8) for item, _ in rows]),
            np.array([measured.top1 for _, measured in rows]),
            np.array([measured.seconds for _, measured in rows]),
        )
        run.store.add_trials(supernet_id, split, kind, trials)
    waiting.clear()


def _shared(run: Run, supernet_id: str, supernet: Supernet) -> Shared:
    """One object per run, so that an executor sends the weights once."""
    if run.shared is None or run.shared[0] != supernet_id:
        weights = {name: tensor.detach().numpy() for name, tensor in supernet.state_dict().items()}
        shared = Shared(run.spec.space, run.spec.data, weights, run.spec.supernet.calibration_images)
        run.shared = (supernet_id, shared)
    return cast(Shared, run.shared[1])
