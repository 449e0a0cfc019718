"""What the commands about predictors print for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bitfront.experiments.commands.shown import rows, section
from bitfront.experiments.metric_words import metric_lines
from bitfront.experiments.tables import plain_table

_MOST_GENES = 6
_MADE: Mapping[str, str] = {
    "fp32": "from fp32 pairs alone: it is blind to formats",
    "from scratch": "from scratch, from pairs of any format at once",
    "transferred": "transferred to quantized pairs, from what it learned first",
}


def print_fitted(console: Console, facts: Mapping[str, Any]) -> None:
    """The values of `predictor_facts.fitted_facts`."""
    if facts["fp32_metrics"]:
        section(console, "before transfer, on fp32 candidates", metric_lines(facts["fp32_metrics"]))
    print_metrics(console, facts["path"], facts["metrics"])


def print_metrics(console: Console, title: str, metrics: Mapping[str, float]) -> None:
    """Metrics as `metrics.judged` gives them."""
    section(console, title, metric_lines(metrics))


def print_manifest(console: Console, title: str, manifest: Mapping[str, Any]) -> None:
    """What a predictor's file says of it."""
    section(console, title, _head(manifest))
    section(console, "options", rows(manifest["options"]))
    section(console, "on held-out pairs", metric_lines(manifest["metrics"]))
    section(console, "made with", rows(manifest["versions"]))


def predictors_table(listed: Sequence[Mapping[str, Any]]) -> Table:
    """One line a predictor of `predictor_facts.listed_predictors`."""
    table = plain_table()
    for name in ("kind", "space", "data", "tau", "pairwise", "coverage", "file"):
        right = name in ("tau", "pairwise", "coverage")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "file", overflow="fold")
    for row in listed:
        metrics = row["metrics"]
        numbers = [
            f"{metrics[name]:.3f}" if name in metrics else "-"
            for name in ("kendall_tau", "pairwise_accuracy", "interval_coverage")
        ]
        path = row["path"] if row["is_there"] else f"{row['path']} (gone)"
        cells = (row["kind"], row["space"] or "-", row["data"] or "-", *numbers, path)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _head(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "kind", manifest["kind"]
    names = [name for name, _ in manifest["genes"]]
    more = f" and {len(names) - _MOST_GENES} more" if len(names) > _MOST_GENES else ""
    yield "space", f"{manifest['space']}, hash {manifest['space_hash'][:12]}"
    yield "genes", f"{', '.join(names[:_MOST_GENES])}{more}"
    yield "made", _MADE[manifest["how"]]
    if manifest["earlier_pairs"]:
        yield "learned first from", f"{manifest['earlier_pairs']} pairs, hash {manifest['earlier_data_hash'][:12]}"
    yield "learned last from", f"{manifest['pairs']} pairs, hash {manifest['data_hash'][:12]}"
