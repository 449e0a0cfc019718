"""What is stored, as the service tells it: without paths and processes of its own machine."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.experiments.candidate_facts import candidate_row
from bitfront.experiments.details import details
from bitfront.experiments.rows import front_rows, read_front
from bitfront.experiments.service.models import (
    CandidateAnswer,
    ExperimentAnswer,
    ExperimentDetails,
    FoundPredictor,
    FrontAnswer,
    FrontRow,
    ProgressAnswer,
    SearchAnswer,
)
from bitfront.experiments.service.refusals import InvalidRequestError
from bitfront.experiments.service.told import file_names_only
from bitfront.experiments.store.base import MOST_PER_PAGE, Store
from bitfront.experiments.store.filters import Filter
from bitfront.experiments.store.records import Candidate, Experiment
from bitfront.search.front import Front
from bitfront.search.problem import minimised

_SHARED = ("id", "name", "seed", "stage", "reason", "created_at", "started_at", "finished_at", "heartbeat_at")
_LINKS = ("supernet_id", "predictor_id", "forgotten", "status")
_MOST_FILTERS = 20


def experiment_answer(experiment: Experiment) -> ExperimentAnswer:
    """An experiment of a listing."""
    return ExperimentAnswer(**_shared(experiment))


def experiment_details(store: Store, home: Path, experiment: Experiment) -> ExperimentDetails:
    """An experiment with all that belongs to it."""
    found = details(store, home, experiment)
    search = found["search"]
    volumes = search["hypervolume"]
    return ExperimentDetails(
        **_shared(experiment),
        spec=experiment.spec,
        predictors=[
            FoundPredictor(**{name: one[name] for name in ("id", "kind", "created_at", "metrics")})
            for one in found["predictors"]
        ],
        search=SearchAnswer(**{**search, "hypervolume": volumes[-1] if volumes else None}),
        front=found["front"],
        exports=len(found["exports"]),
        files=sorted(found["files"]),
    )


def _shared(one: Experiment) -> dict[str, Any]:
    values = {name: getattr(one, name) for name in (*_SHARED, *_LINKS)}
    progress = one.progress
    shown = ProgressAnswer(label=progress.label, done=progress.done, total=progress.total) if progress else None
    values["reason"] = file_names_only(one.reason)
    return {**values, "progress": shown, "table_ids": _table_ids(one)}


def _table_ids(one: Experiment) -> dict[str, str]:
    if not one.table_id:
        return dict(one.table_ids)
    device = one.spec.get("device") or ""
    return {device["name"] if isinstance(device, dict) else str(device): one.table_id}


def candidate_answer(candidate: Candidate) -> CandidateAnswer:
    """A candidate of a listing."""
    return CandidateAnswer(**candidate_row(candidate))


def filters_of(text: str) -> tuple[Filter, ...]:
    """Comparisons of predicted metrics with numbers, joined with ``and``, as the store filters by them.

    Raises:
        InvalidRequestError: there are too many.
        BitfrontError: as `Filter.parse`.
    """
    parts = [part for part in re.split(r"\s+and\s+", text.strip()) if part.strip()] if text.strip() else []
    if len(parts) > _MOST_FILTERS:
        raise InvalidRequestError(
            f"{len(parts)} comparisons are too many", f"give at most {_MOST_FILTERS}", "query.where"
        )
    return tuple(map(Filter.parse, parts))


def measured_front(store: Store, experiment: Experiment, where: str, everything: bool, full: bool) -> FrontAnswer:
    """The members of the measured front that meet a condition, and without those that others dominate.

    Raises:
        BitfrontError: as `Front.query`.
    """
    rows = front_rows(store, experiment.id)
    shown = rows
    if where.strip():
        fitting = set(read_front(store, experiment.id).query(where).ids.tolist())
        shown = [row for row in shown if row["candidate"] in fitting]
    shown = [row for row in shown if everything or not row["dominated"]]
    items = [FrontRow(**(row if full else {**row, "architecture": "", "bits": "", "policy": []})) for row in shown]
    return _front(experiment, "measured", items, len(rows) - len(items))


def predicted_front(store: Store, experiment: Experiment, where: str) -> FrontAnswer:
    """All members of the front that the search predicts now, the best in the first objective first.

    Raises:
        BitfrontError: as `Front.query`.
    """
    objectives = experiment.spec["objectives"]
    found = sorted(_on_front(store, experiment.id), key=lambda one: _order(objectives, one))
    kept = _fitting(experiment, found, where) if where.strip() and found else found
    items = [
        FrontRow(
            candidate=one.id,
            genome=one.array.tolist(),
            architecture="",
            bits="",
            policy=[],
            predicted=one.predicted,
            measured=dict.fromkeys(one.predicted),
            dominated=False,
            error=one.error,
        )
        for one in kept
    ]
    return _front(experiment, "predicted", items, len(found) - len(items))


def _on_front(store: Store, experiment_id: str) -> Iterator[Candidate]:
    cursor: str | None = None
    while True:
        page = store.candidates(experiment_id, cursor, MOST_PER_PAGE, on_front=True)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _order(objectives: Sequence[str], one: Candidate) -> tuple[float, ...]:
    """What a candidate is sorted by; one without an objective comes behind all that have it."""
    given = [one.predicted.get(name, math.nan) for name in objectives]
    values = [
        float(minimised(name, np.array(value, dtype=np.float64)))
        for name, value in zip(objectives, given, strict=True)
    ]
    return (*(math.inf if math.isnan(value) else value for value in values), one.id)


def _fitting(experiment: Experiment, found: list[Candidate], where: str) -> list[Candidate]:
    names = found[0].predicted
    predicted = {name: np.array([one.predicted[name] for one in found], dtype=np.float64) for name in names}
    genomes = np.stack([one.array for one in found])
    ids = np.array([one.id for one in found], dtype=np.intp)
    fitting = set(Front.of(experiment.spec["objectives"], genomes, predicted, ids=ids).query(where).ids.tolist())
    return [one for one in found if one.id in fitting]


def _front(experiment: Experiment, kind: str, items: list[FrontRow], hidden: int) -> FrontAnswer:
    return FrontAnswer(
        experiment_id=experiment.id,
        kind=kind,
        objectives=list(experiment.spec["objectives"]),
        items=items,
        hidden=hidden,
    )
