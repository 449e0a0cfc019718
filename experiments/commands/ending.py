"""What a person wants to see when an experiment has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bitfront.experiments.details import files, own_predictors, tables_of
from bitfront.experiments.metric_words import metric_line
from bitfront.experiments.networks import policy_owners
from bitfront.experiments.rows import front_rows, rows_of_device
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.tables import front_notes, front_table
from bitfront.search.constraints import base_metric


def print_ending(store: Store, home: Path, experiment_id: str, console: Console) -> None:
    """The front, how good the predictors are, and where everything is."""
    experiment = store.get(experiment_id)
    rows = front_rows(store, experiment_id)
    kept = [row for row in rows if not row["dominated"]]
    print_front(console, kept, len(rows) - len(kept), experiment.spec, batch_of(store, experiment))
    lines = [
        f"{record.kind} predictor: {metric_line(record.metrics)}" for record in own_predictors(store, experiment)
    ]
    lines += [f"{name}: {path}" for name, path in files(home, experiment_id).items()]
    for export in store.exports(experiment_id):
        top1 = "not tested" if export.top1_test is None else f"test top1 {export.top1_test:.4f}"
        whose = f"candidate {export.candidate_id}{f' for {export.device}' if export.device else ''}"
        lines.append(f"{export.format} of {whose}: {export.path} ({top1})")
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def batch_of(store: Store, experiment: Experiment) -> int | None:
    """Images in one call on the device, as its table says; None before there is one, or where devices differ."""
    batches = {table.provenance.get("batch") for table in tables_of(store, experiment).values()}
    return batches.pop() if len(batches) == 1 else None


def print_front(
    console: Console, rows: list[dict[str, Any]], hidden: int, spec: dict[str, Any], batch: int | None
) -> None:
    """The front's table and what its reader needs to know; where policies differ, a line for each device."""
    owners, objectives = policy_owners(spec), spec["objectives"]
    networks = [
        {**one, "device": owner} for row in rows for owner in owners for one in rows_of_device([row], owner)
    ]
    plain = list(dict.fromkeys(base_metric(name) for name in objectives))
    shown, named = (networks, plain) if owners else (rows, objectives)
    console.print(front_table(shown, named, console.width))
    for note in front_notes(rows, hidden, batch):
        console.print(Text(note, style="dim"))
    console.print()
