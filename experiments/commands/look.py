"""ls, show, logs: what there is and how it goes."""

from __future__ import annotations

import codecs
import csv
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitfront.experiments.commands.consoles import out, put_json
from bitfront.experiments.commands.group import tell
from bitfront.experiments.commands.launch import Id
from bitfront.experiments.commands.opened import all_experiments, find, home_exists, opened, opened_existing
from bitfront.experiments.places import log_path
from bitfront.supernet.errors import MissingFileError, UnknownNameError

if TYPE_CHECKING:
    from bitfront.experiments.store.base import Store
    from bitfront.experiments.store.records import Experiment
    from bitfront.experiments.store.statuses import Status

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")]

_POLL_SECONDS = 0.5


def check_form(as_json: bool, as_csv: bool) -> None:
    """Refuse two forms at once."""
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")


def ls(
    as_json: Json = False,
    as_csv: Csv = False,
    status: Annotated[str | None, typer.Option(help="Only those of this status.", show_default=False)] = None,
) -> None:
    """List experiments, newest first."""
    from bitfront.experiments.details import summary
    from bitfront.experiments.store.home import home
    from bitfront.experiments.tables import experiments_table

    check_form(as_json, as_csv)
    wanted = _status(status)
    experiments = []
    if home_exists():
        with opened() as store:
            experiments = list(all_experiments(store, wanted))
    if as_json:
        put_json([summary(one) for one in experiments])
    elif as_csv:
        _put_csv([summary(one) for one in experiments])
    elif experiments:
        out().print(experiments_table(experiments))
    else:
        tell(f"no {'' if wanted is None else f'{wanted} '}experiments in {home()}")


def show(experiment_id: Id, as_json: Json = False) -> None:
    """Show one experiment: how it stands, its spec, what it used and what it found."""
    from bitfront.experiments.commands.shown import print_details
    from bitfront.experiments.details import details
    from bitfront.experiments.store.home import home

    with opened_existing() as store:
        values = details(store, home(), find(store, experiment_id))
    if as_json:
        put_json(values)
    else:
        print_details(out(), values)


def logs(
    experiment_id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the experiment ends.")] = False,
) -> None:
    """Print an experiment's log."""
    from bitfront.experiments.store.home import home

    with opened_existing() as store:
        experiment = find(store, experiment_id)
        path = log_path(home(), experiment.id)
        if not path.is_file() and (experiment.status.is_over or not follow):
            raise MissingFileError(f"{experiment.id} has no log yet; it is {experiment.status}")
        if follow:
            follow_log(store, experiment.id)
        else:
            sys.stdout.write(path.read_text(errors="replace"))


def follow_log(store: Store, experiment_id: str) -> None:
    """Print an experiment's log as it grows, until it is over and no worker will resume it."""
    from bitfront.experiments.store.home import home

    path = log_path(home(), experiment_id)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    place = 0
    while True:
        # Asked before reading, so that nothing written before the end is missed.
        over = _stays_over(home(), store.get(experiment_id))
        if path.is_file():
            with path.open("rb") as file:
                file.seek(place)
                data = file.read()
            place += len(data)
            sys.stdout.write(decoder.decode(data))
            sys.stdout.flush()
        if over:
            return
        time.sleep(_POLL_SECONDS)
        store.mark_interrupted()


def _stays_over(home: Path, one: Experiment) -> bool:
    """Whether nothing comes any more: what was interrupted otherwise than by a person, a worker resumes soon."""
    from bitfront.experiments.concluding import BY_SIGNAL
    from bitfront.experiments.store.statuses import Status
    from bitfront.experiments.worker.roster import living_workers

    if one.status is Status.INTERRUPTED and one.reason != BY_SIGNAL:
        return not living_workers(home)
    return one.status.is_over


def _status(text: str | None) -> Status | None:
    from bitfront.experiments.store.statuses import Status

    if text is None:
        return None
    if text.upper() not in Status.__members__:
        raise UnknownNameError("status", text.upper(), Status.__members__)
    return Status[text.upper()]


def _put_csv(rows: list[dict[str, Any]]) -> None:
    names = ("id", "name", "status", "stage", "reason", "seed", "created_at", "started_at", "finished_at")
    writer = csv.DictWriter(sys.stdout, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
