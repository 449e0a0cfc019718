"""front: what an experiment found."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitfront.experiments.commands.consoles import out, put_json
from bitfront.experiments.commands.group import tell
from bitfront.experiments.commands.launch import Id
from bitfront.experiments.commands.look import Csv, Json, check_form
from bitfront.experiments.commands.opened import find, opened_existing

if TYPE_CHECKING:
    from bitfront.experiments.store.base import Store
    from bitfront.experiments.store.records import Experiment


def front(
    experiment_id: Id,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION",
            show_default=False,
            help="Only candidates that meet it, such as 'latency_ms <= 2 and top1 >= 0.9'. A metric means its "
            "measured value where there is one, else the predicted one; measured_METRIC and predicted_METRIC mean "
            "just that.",
        ),
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that others dominate, when measured.")
    ] = False,
) -> None:
    """List the front: candidates with what was predicted and what was measured."""
    from bitfront.experiments.commands.ending import batch_of, print_front

    check_form(as_json, as_csv)
    with opened_existing() as store:
        experiment = find(store, experiment_id)
        rows, batch = _selected(store, experiment, where), batch_of(store, experiment)
    shown = [row for row in rows if everything or not row["dominated"]]
    if as_json:
        put_json(shown)
    elif as_csv:
        _put_csv(shown)
    elif shown:
        print_front(out(), shown, len(rows) - len(shown), experiment.spec, batch)
    else:
        tell(_why_empty(experiment, rows, where))


def _selected(store: Store, experiment: Experiment, where: str | None) -> list[dict[str, Any]]:
    from bitfront.experiments.rows import front_rows, read_front

    rows = front_rows(store, experiment.id)
    if where is None:
        return rows
    fitting = set(read_front(store, experiment.id).query(where).ids.tolist())
    return [row for row in rows if row["candidate"] in fitting]


def _put_csv(rows: list[dict[str, Any]]) -> None:
    """One column a value; genes are joined with spaces."""
    flat = [_flat(row) for row in rows]
    writer = csv.DictWriter(sys.stdout, list(flat[0]) if flat else ["candidate"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("candidate", "architecture", "bits")},
        **{f"predicted_{name}": value for name, value in row["predicted"].items()},
        **{f"measured_{name}": value for name, value in row["measured"].items()},
        **{name: row[name] for name in ("dominated", "error")},
        "genome": " ".join(map(str, row["genome"])),
    }


def _why_empty(experiment: Experiment, rows: list[dict[str, Any]], where: str | None) -> str:
    if rows:
        return "every candidate that meets the condition is dominated: --all shows them"
    if where is not None:
        return f"no measured candidate of {experiment.id} meets {where!r}"
    at = f" at stage {experiment.stage!r}" if experiment.stage else ""
    return f"{experiment.id} has no measured front yet: it is {experiment.status}{at}"
