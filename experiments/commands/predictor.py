"""predictor fit, eval, predict, show, ls: accuracy predictors, of tables of one's own and of experiments."""

from __future__ import annotations

import csv as csv_files
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitfront.experiments.commands.consoles import err, out, put_json
from bitfront.experiments.commands.device_options import Space, SpaceOptions, parsed
from bitfront.experiments.commands.group import Commands, tell
from bitfront.experiments.commands.look import Json
from bitfront.experiments.commands.opened import home_exists, opened
from bitfront.experiments.commands.predictor_options import (
    Csv,
    File,
    Metric,
    Parquet,
    Percent,
    Plot,
    SkipBadRows,
    Tune,
    check_plot,
    one_table,
)

if TYPE_CHECKING:
    from rich.status import Status

    from bitfront.predictors.fitting import Fitted, Judgement
    from bitfront.predictors.pair_tables import PairTable
    from bitfront.predictors.tuning import Tuning

_TENSORS = ".safetensors"

app = typer.Typer(
    name="predictor",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Accuracy predictors: fitted to tables of measured candidates, yours included.",
)


@app.command("fit")
def fit(
    space: Space,
    csv: Csv = None,
    parquet: Parquet = None,
    kind: Annotated[str, typer.Option(metavar="KIND", help="What learns, as in a spec's 'predictor:'.")] = "mlp",
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            show_default=False,
            help="An option of the kind, as epochs=80; may be repeated.",
        ),
    ] = None,
    tune: Tune = 0,
    space_given: SpaceOptions = None,
    metric: Metric = "top1",
    percent: Percent = False,
    held_out: Annotated[float, typer.Option(metavar="SHARE", help="Of the candidates, to judge by.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Of what is held out, and of the fit.")] = 0,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Learn fp32 and quantized rows at once, without transfer.")
    ] = False,
    skip_bad_rows: SkipBadRows = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", show_default="TABLE.predictor.safetensors", help="Where to keep it."
        ),
    ] = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Fit a predictor to a table of measured candidates, and judge it on rows that it did not learn from.

    With at least 10 fp32 and 10 quantized rows to learn from, it learns the fp32
    ones, and is then transferred to the others. It never sees the rows that it
    is judged by.
    """
    check_plot(plot)
    (path, form), options = one_table(csv, parquet), parsed(given)
    output = _output(output, path)
    from bitfront.experiments.predictor_facts import fit_table
    from bitfront.experiments.space_files import space_of
    from bitfront.predictors import PREDICTORS
    from bitfront.predictors.pair_tables import read_pairs
    from bitfront.search.executors.local import one_thread

    whole, chosen = space_of(space, parsed(space_given)), PREDICTORS.get(kind)
    chosen.read_options(options)
    table = read_pairs(path, whole, metric, percent, skip_bad_rows, form)
    _tell_all(table.notes())
    with err().status("fitting") as status, one_thread():
        tuning = _tuning(tune, status)
        fitted = fit_table(chosen, table, whole, options, held_out, seed, from_scratch, tuning)
        fitted.predictor.save(output, fitted.judgement.metrics)
    _draw(plot, f"{kind}, {fitted.how}, on {whole.name}", fitted.judgement)
    _tell_fitted(fitted, table, output, as_json)


@app.command("eval")
def evaluate(
    file: File,
    space: Space,
    csv: Csv = None,
    parquet: Parquet = None,
    space_given: SpaceOptions = None,
    metric: Metric = "top1",
    percent: Percent = False,
    skip_bad_rows: SkipBadRows = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Judge a stored predictor on another table; candidates that it learned from are left out."""
    check_plot(plot)
    path, form = one_table(csv, parquet)
    from bitfront.experiments.commands.predictor_files import loaded
    from bitfront.experiments.predictor_facts import blind_notes, blind_to, unseen_pairs
    from bitfront.experiments.predictor_tables import print_metrics
    from bitfront.experiments.space_files import space_of
    from bitfront.predictors.fitting import judge
    from bitfront.predictors.pair_tables import read_pairs
    from bitfront.search.executors.local import one_thread

    whole = space_of(space, parsed(space_given))
    with one_thread():
        predictor = loaded(file, whole)
        table = read_pairs(path, whole, metric, percent, skip_bad_rows, form)
        pairs, notes = unseen_pairs(predictor, table.averaged()[0])
        blind = blind_to(predictor, pairs.genomes)
        _tell_all([*table.notes(), *notes, *blind_notes(blind)])
        judgement = judge(predictor, pairs)
    _tell_all(judgement.notes())
    _draw(plot, f"{file.name} on {path.name}", judgement)
    if as_json:
        put_json({**judgement.metrics, "blind_to_formats": int(blind.sum())})
    else:
        print_metrics(out(), str(file), judgement.metrics)


@app.command("predict")
def predict(
    file: File,
    space: Space,
    csv: Csv = None,
    parquet: Parquet = None,
    space_given: SpaceOptions = None,
    skip_bad_rows: SkipBadRows = False,
    as_json: Json = False,
) -> None:
    """Predict the accuracy of the candidates of a table, as CSV or JSON with a row each.

    Columns: the line or row of the table, mean, half_width (the interval is mean plus or minus it) and genome.
    """
    path, form = one_table(csv, parquet)
    from bitfront.experiments.commands.predictor_files import loaded
    from bitfront.experiments.predictor_facts import blind_notes, blind_to, predicted_rows
    from bitfront.experiments.space_files import space_of
    from bitfront.predictors.pair_tables import read_candidates
    from bitfront.search.executors.local import one_thread

    whole = space_of(space, parsed(space_given))
    with one_thread():
        predictor = loaded(file, whole)
        table = read_candidates(path, whole, skip_bad_rows, form)
        rows = predicted_rows(predictor, table)
    _tell_all([*table.notes(), *blind_notes(blind_to(predictor, table.genomes))])
    if as_json:
        put_json(rows)
        return
    columns = [table.unit, "mean", "half_width", "genome"]
    writer = csv_files.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "genome": " ".join(map(str, row["genome"]))} for row in rows)


@app.command("show")
def show(file: File, as_json: Json = False) -> None:
    """Show a stored predictor: its space, what it learned from, its options and how good it is."""
    from bitfront.experiments.commands.predictor_files import users_file
    from bitfront.experiments.predictor_tables import print_manifest
    from bitfront.predictors import stored

    with users_file(file):
        manifest = stored.read(file)[1]
    if as_json:
        put_json(manifest)
    else:
        print_manifest(out(), str(file), manifest)


@app.command("ls")
def ls(as_json: Json = False) -> None:
    """List the predictors that experiments fitted, oldest first."""
    from bitfront.experiments.predictor_facts import listed_predictors
    from bitfront.experiments.predictor_tables import predictors_table
    from bitfront.experiments.store.home import home

    rows = []
    if home_exists():
        with opened() as store:
            rows = listed_predictors(store)
    if as_json:
        put_json(rows)
    elif rows:
        out().print(predictors_table(rows))
        tell("'bitfront predictor show FILE' shows one")
    else:
        tell(f"no predictors in {home()}: experiments leave theirs there, 'bitfront predictor fit' where you say")


def _output(given: Path | None, table: Path) -> Path:
    """Where a fit is kept, checked before anything is fitted."""
    output = given or Path(f"{table.stem}.predictor{_TENSORS}")
    if output.suffix != _TENSORS:
        raise typer.BadParameter(f"{output} must end in {_TENSORS}", param_hint="--output")
    from bitfront.experiments.commands.predictor_files import check_replaceable

    check_replaceable(output)
    return output


def _tuning(trials: int, status: Status) -> Tuning | None:
    from bitfront.experiments.places import tuning_path
    from bitfront.experiments.store.home import home
    from bitfront.predictors.tuning import Tuning

    return Tuning(trials, tuning_path(home()), partial(_tell_trials, status)) if trials else None


def _tell_fitted(fitted: Fitted, table: PairTable, output: Path, as_json: bool) -> None:
    from bitfront.experiments.predictor_facts import fitted_facts, fitted_in_words
    from bitfront.experiments.predictor_tables import print_fitted

    if fitted.tuned:
        tell(f"tuned in {fitted.tuned}")
    _tell_all([fitted_in_words(fitted), *fitted.judgement.notes()])
    facts = fitted_facts(fitted, table, output)
    if as_json:
        put_json(facts)
    else:
        print_fitted(out(), facts)


def _tell_all(notes: Iterable[str]) -> None:
    for note in notes:
        tell(note)


def _tell_trials(status: Status, done: int, total: int) -> None:
    status.update(f"tuning: {done} of {total} trials")


def _draw(plot: Path | None, title: str, judgement: Judgement) -> None:
    if plot is None:
        return
    from bitfront.experiments.plot_predictor import write_predictor_plot

    write_predictor_plot(plot, title, judgement)
    tell(f"picture: {plot}")
