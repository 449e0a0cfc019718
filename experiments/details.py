"""All that is known of one experiment, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from bitfront.experiments.places import candidates_folder, experiment_folder, log_path
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment, PredictorRecord, TableRecord
from bitfront.search.constraints import METRICS, base_metric

_PLOTS = ("front*.html", "front*.png", "predictor.png")


def summary(experiment: Experiment) -> dict[str, Any]:
    """An experiment as one JSON-able object of a listing: without its spec."""
    values: dict[str, Any] = _plain(asdict(experiment))
    del values["spec"]
    return values


def details(store: Store, home: Path, experiment: Experiment) -> dict[str, Any]:
    """An experiment with all that belongs to it, JSON-able; what is not there yet is None or empty."""
    one = experiment
    supernet = store.supernet(one.supernet_id) if one.supernet_id else None
    tables = {name: _plain(asdict(table)) for name, table in tables_of(store, one).items()}
    generations = store.generations(one.id)
    front = store.front(one.id)
    return {
        **_plain(asdict(one)),
        "supernet": _plain(asdict(supernet)) if supernet else None,
        "predictors": [_plain(asdict(record)) for record in own_predictors(store, one)],
        "table": next(iter(tables.values())) if one.table_id and tables else None,
        "tables": tables,
        "search": {
            "generations": len(generations),
            "evaluations": generations[-1].evaluations if generations else 0,
            "candidates": store.count_candidates(one.id),
            "hypervolume": [generation.hypervolume for generation in generations],
            **_state_facts(store, one.id),
        },
        "front": {"measured": len(front), "not_dominated": sum(not member.dominated for member in front)},
        "exports": [_plain(asdict(record)) for record in store.exports(one.id)],
        "files": files(home, one.id),
    }


def _state_facts(store: Store, experiment_id: str) -> dict[str, Any]:
    """What only the search's state tells: the point up to which hypervolume counts, and who of islands found what.

    ``reference``: objective, as it is minimised, to its value; None before anything is scored. ``islands``: an
    entry each; then ``generations`` are those of every island, and hypervolume has one value an exchange.
    """
    last = store.last_generation(experiment_id)
    state = {} if last is None else last[1]
    facts: dict[str, Any] = {"reference": None, "islands": []}
    if state.get("reference") is not None:
        names = [f"1 - {name}" if METRICS[base_metric(name)] == "max" else name for name in state["objectives"]]
        facts["reference"] = dict(zip(names, map(float, state["reference"]), strict=True))
    if "islands" in state:
        facts["generations"] = state["generations"]
        facts["islands"] = [{"scored": scored, "on_front": on_front} for scored, on_front in state["shares"]]
    return facts


def tables_of(store: Store, experiment: Experiment) -> dict[str, TableRecord]:
    """The cost table of each device, by its name in the spec."""
    if experiment.table_id:
        table = store.table(experiment.table_id)
        return {table.device: table} if table else {}
    found = {name: store.table(table_id) for name, table_id in experiment.table_ids.items()}
    return {name: table for name, table in found.items() if table is not None}


def own_predictors(store: Store, experiment: Experiment) -> list[PredictorRecord]:
    """Its transferred predictor after the fp32 one that it came from."""
    own = store.predictor(experiment.predictor_id) if experiment.predictor_id else None
    if own is None:
        return []
    source = store.predictor(own.metrics["from"]) if "from" in own.metrics else None
    return [source, own] if source else [own]


def files(home: Path, experiment_id: str) -> dict[str, str]:
    """Log, plots and the folder of candidates that exist, by name."""
    folder = experiment_folder(home, experiment_id)
    found = [log_path(home, experiment_id), *(path for form in _PLOTS for path in sorted(folder.glob(form)))]
    found.append(candidates_folder(home, experiment_id))
    return {path.name: str(path) for path in found if path.exists()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
