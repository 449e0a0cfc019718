"""True accuracy of many candidates on an executor: the same work for samples and for the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.run import Run
from bitfront.experiments.store.records import Split, TrialKind, Trials
from bitfront.search.executors.base import Failure, describe
from bitfront.search.measured import Measure, Outcome, chunk_size
from bitfront.supernet.data import load_dataset
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.errors import BitfrontError, NumericalError
from bitfront.supernet.evaluation import Evaluator, Measured, Rejected
from bitfront.supernet.evaluation_plan import sharing_order
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.settings import SpaceSettings, load_space

_FLUSH_EVERY = 16


class MeasurementError(BitfrontError):
    """A candidate could not be measured."""


@dataclass(frozen=True)
class Shared:
    """What a worker needs once: names and documents that it resolves by itself, and the weights as arrays."""

    space: SpaceSettings
    data: str | DataSettings
    weights: dict[str, NDArray[Any]]
    calibration_images: int


def make_worker(shared: Shared) -> Callable[[Items], list[Measured | str]]:
    """A worker that measures a few genomes on one split at a time; what fails has its error in its place."""
    import torch

    supernet = Supernet(load_space(shared.space))
    # A copy, as arrays that come through an object store are read-only and torch warns of them.
    supernet.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in shared.weights.items()})
    evaluator = Evaluator(supernet, load_dataset(shared.data), shared.calibration_images)

    def work(items: Items) -> list[Measured | str]:
        try:
            return _results(evaluator, items)
        except Exception:
            if len(items) == 1:
                raise
            return [_alone(evaluator, item) for item in items]

    return work


def _results(evaluator: Evaluator, items: Items) -> list[Measured | str]:
    genomes = np.stack([np.frombuffer(item.genome, dtype=np.uint8) for item in items])
    outcomes = evaluator.outcomes(genomes, items[0].split)
    return [
        describe(outcome) if isinstance(outcome, NumericalError) else _measured(outcome) for outcome in outcomes
    ]


def _measured(outcome: Measured | Rejected) -> Measured:
    assert isinstance(outcome, Measured)  # nothing was to be rejected
    return outcome


def _alone(evaluator: Evaluator, item: Item) -> Measured | str:
    """One of several that failed together: the others are not to suffer from it."""
    try:
        return _results(evaluator, (item,))[0]
    except Exception as error:
        return describe(error)


@dataclass(frozen=True)
class Wanted:
    """Genomes (n, n_genes) whose accuracy on a split is wanted, and how they are filed."""

    genomes: Genomes
    split: Split
    kind: TrialKind


@dataclass(frozen=True)
class Item:
    """A genome (as bytes) to measure on a split, and how it is filed."""

    genome: bytes
    split: Split
    kind: TrialKind


Items = tuple[Item, ...]


def measured_accuracy(
    run: Run, supernet_id: str, supernet: Supernet, wanted: Sequence[Wanted], label: str, may_fail: float = 0.0
) -> list[NDArray[np.float64]]:
    """Accuracies (n,) per entry of ``wanted``; what was measured before is looked up, the rest is also stored.

    Args:
        run: where it is stored, and on what it is measured.
        supernet_id: in the store.
        supernet: whose candidates they are.
        wanted: what to measure.
        label: for whoever waits.
        may_fail: the share, 0 to 1, that may fail every attempt, or one of several; these are told, and are NaN.

    Raises:
        MeasurementError: more failed every attempt; all others are stored.
    """
    known: dict[str, dict[bytes, float]] = {
        split: run.store.trials(supernet_id, split).lookup() for split in {entry.split for entry in wanted}
    }
    missing = {
        (genome.tobytes(), entry.split): Item(genome.tobytes(), entry.split, entry.kind)
        for entry in wanted
        for genome in entry.genomes
        if genome.tobytes() not in known[entry.split]
    }
    if missing:
        outcomes = _measure(run, supernet_id, supernet, list(missing.values()), label)
        _pardoned(run, list(outcomes.values()), len(np.concatenate([entry.genomes for entry in wanted])), may_fail)
        for item, top1 in outcomes.items():
            known[item.split][item.genome] = math.nan if isinstance(top1, str) else float(top1)
    return [np.array([known[entry.split][genome.tobytes()] for genome in entry.genomes]) for entry in wanted]


def _pardoned(run: Run, outcomes: Sequence[Outcome], wanted: int, may_fail: float) -> None:
    """Refuse failures that are too many of those wanted, or tell them."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if not failures:
        return
    told = f"{len(failures)} of {wanted} candidates could not be measured, the first with {failures[0]}"
    most = max(1, int(may_fail * wanted)) if may_fail > 0 else 0
    if len(failures) > most or len(failures) == wanted:
        raise MeasurementError(told)
    run.reporter.say(f"{told}; left out")


def measure_in_search(run: Run, supernet_id: str, supernet: Supernet) -> Measure:
    """Measures on the validation split for a search, and stores what it measures at once.

    What can not be measured has its error in its place. What was measured before is for the caller to look up.
    """

    def measure(genomes: Genomes) -> list[Outcome]:
        items = [Item(genome.tobytes(), "validation", "quantized") for genome in genomes]
        outcomes = _measure(run, supernet_id, supernet, items, "measuring candidates")
        return [outcomes[item] for item in items]

    return measure


def _measure(run: Run, supernet_id: str, supernet: Supernet, items: list[Item], label: str) -> dict[Item, Outcome]:
    progress = run.progress(label)
    found: dict[Item, Outcome] = {}
    waiting: list[tuple[Item, Measured]] = []

    def take(item: Item, result: Measured | str) -> None:
        if isinstance(result, str):
            found[item] = result
        else:
            found[item] = result.top1
            waiting.append((item, result))
        if len(waiting) >= _FLUSH_EVERY:
            _store(run, supernet_id, waiting)
        progress(len(found), len(items))

    try:
        _map(run, _shared(run, supernet_id, supernet), _chunks(supernet, items, run.executor().workers), take)
    finally:
        _store(run, supernet_id, waiting)
    return found


def _map(run: Run, shared: Shared, chunks: Sequence[Items], take: Callable[[Item, Measured | str], None]) -> None:
    """Measure chunks on the run's executor; what is given up whole, as when a worker dies, goes singly."""
    single: list[Items] = []

    def on_result(position: int, result: list[Measured | str] | Failure) -> None:
        items = chunks[position]
        if isinstance(result, Failure):
            if len(items) > 1:
                single.extend((item,) for item in items)
            else:
                take(items[0], result.error)
            return
        for item, one in zip(items, result, strict=True):
            take(item, one)

    run.executor().map(make_worker, shared, chunks, on_result)
    if single:
        _map(run, shared, single, take)


def _chunks(supernet: Supernet, items: Sequence[Item], workers: int) -> list[Items]:
    """Items of one split with much in common, so few that every worker gets some and a kill loses little."""
    most = chunk_size(len(items), workers)
    chunks: list[Items] = []
    for split in dict.fromkeys(item.split for item in items):
        alike = [item for item in items if item.split == split]
        order = sharing_order(supernet.space, np.stack([np.frombuffer(i.genome, dtype=np.uint8) for i in alike]))
        ordered = [alike[place] for place in order]
        chunks.extend(tuple(ordered[start : start + most]) for start in range(0, len(ordered), most))
    return chunks


def _store(run: Run, supernet_id: str, waiting: list[tuple[Item, Measured]]) -> None:
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
        names = (run.space_settings(), run.spec.data.source())
        shared = Shared(*names, weights, run.spec.supernet.calibration_images)
        run.shared = (supernet_id, shared)
    return cast(Shared, run.shared[1])
