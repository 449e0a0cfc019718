"""init, run, resume: what makes experiments and has them worked on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitfront.experiments.commands.consoles import err, out
from bitfront.experiments.commands.detached import start_detached
from bitfront.experiments.commands.group import INTERRUPTED, tell
from bitfront.experiments.commands.opened import find, opened, opened_existing
from bitfront.supernet.errors import BitfrontError, StorageError

if TYPE_CHECKING:
    from bitfront.experiments.reporter import Reporter
    from bitfront.experiments.store.base import Store
    from bitfront.experiments.store.records import Experiment

Detach = Annotated[
    bool,
    typer.Option("--detach/--wait", help="Return at once and work on in the background, or wait for the end."),
]
Queue = Annotated[bool, typer.Option("--queue", help="Leave the work to 'bitfront worker', and return at once.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="An experiment's id, its unique beginning, or 'latest'.")]


class UnfinishedError(BitfrontError):
    """An experiment ended otherwise than asked, or can not be worked on now."""


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("spec.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented spec to begin with."""
    from bitfront.experiments.spec_template import template
    from bitfront.supernet.files import write_text

    if file.exists() and not force:
        raise StorageError(f"{file} exists: choose another name, or replace it with --force")
    write_text(file, template())
    tell(f"wrote {file}: change what you like, then 'bitfront run {file}'")


def run(
    ctx: typer.Context,
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC", help="The experiment's YAML file, as 'bitfront init' writes.")
    ],
    detach: Detach = False,
    name: Annotated[
        str | None, typer.Option(help="Called so, whatever the spec says.", show_default=False)
    ] = None,
    queue: Queue = False,
) -> None:
    """Launch an experiment; its id is printed first.

    Every step is kept: what is interrupted, or even killed, goes on with 'bitfront resume'.
    """
    from bitfront.experiments.spec import load_spec

    loaded = load_spec(spec)
    if loaded.space.open_ends():
        with err().status("looking at the data"):
            loaded = loaded.fitted()
    with opened() as store:
        values = loaded.model_dump(mode="json")
        experiment = store.create_experiment(name or loaded.name, values, loaded.seed)
        typer.echo(experiment.id)
        if not queue:
            _start(ctx, store, experiment, detach)


def resume(ctx: typer.Context, experiment_id: Id, detach: Detach = False, queue: Queue = False) -> None:
    """Go on with an experiment that was interrupted, failed, or never began."""
    with opened_existing() as store:
        experiment = find(store, experiment_id)
        _queue(store, experiment)
        typer.echo(experiment.id)
        if not queue:
            _start(ctx, store, experiment, detach)


def cancel(experiment_id: Id) -> None:
    """End an experiment that is not wanted any more; what it found so far stays, and it can be resumed."""
    from bitfront.experiments.cancelling import cancel as cancelled

    with opened_existing() as store:
        one = cancelled(store, find(store, experiment_id).id)
        tell(f"{one.id} is {one.status}")


def work(experiment_id: str) -> None:
    """Work on a queued experiment without telling anybody but its log."""
    from bitfront.experiments.reporter import Reporters

    with opened_existing() as store:
        _work(store, experiment_id, Reporters())


def _queue(store: Store, experiment: Experiment) -> None:
    from bitfront.experiments.resuming import resume as queued_again
    from bitfront.experiments.store.home import home
    from bitfront.experiments.store.statuses import Status

    one = experiment
    if one.status is Status.QUEUED:
        return
    if one.status.is_held:
        raise UnfinishedError(
            f"{one.id} is {one.status} in {one.owner}: follow it with 'bitfront logs {one.id} --follow'"
        )
    if one.status is Status.COMPLETED:
        raise UnfinishedError(f"{one.id} is COMPLETED, there is nothing to resume: see 'bitfront front {one.id}'")
    queued_again(store, home(), one.id)


def _start(ctx: typer.Context, store: Store, experiment: Experiment, detach: bool) -> None:
    from bitfront.experiments.store.home import home

    if detach:
        start_detached(home(), experiment.id)
        tell(f"works in the background: follow it with '{_command(ctx)} logs {experiment.id} --follow'")
        return
    from bitfront.experiments.commands.ending import print_ending
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.store.errors import StatusError

    try:
        with err().status("loading"):
            import bitfront.experiments.pipeline  # noqa: F401 - takes seconds, and says nothing
        with RichReporter(err()) as reporter:
            _work(store, experiment.id, reporter)
    except StatusError:
        if not store.get(experiment.id).status.is_held:
            raise
        _follow_taken(store, experiment.id)
    except KeyboardInterrupt:
        tell(f"interrupted: '{_command(ctx)} resume {experiment.id}' goes on from here", "yellow")
        raise typer.Exit(INTERRUPTED) from None
    print_ending(store, home(), experiment.id, out())


def _work(store: Store, experiment_id: str, reporter: Reporter) -> None:
    from bitfront.experiments.pipeline import run_experiment
    from bitfront.experiments.store.home import home
    from bitfront.experiments.termination import terminated_as_interrupted

    with terminated_as_interrupted():
        run_experiment(store, home(), experiment_id, reporter)
    _check_completed(store, experiment_id)


def _follow_taken(store: Store, experiment_id: str) -> None:
    """Show the log of an experiment that a worker took before this process could, to its end."""
    from bitfront.experiments.commands.look import follow_log

    tell(f"a worker took {experiment_id}: its log follows, and Ctrl-C does not end it", "yellow")
    try:
        follow_log(store, experiment_id)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    _check_completed(store, experiment_id)


def _check_completed(store: Store, experiment_id: str) -> None:
    from bitfront.experiments.store.statuses import Status

    ended = store.get(experiment_id)
    if ended.status is not Status.COMPLETED:
        raise UnfinishedError(f"{experiment_id} ended {ended.status}: {ended.reason}")


def _command(ctx: typer.Context) -> str:
    """How this program was called, as far as it decides where experiments are."""
    home = ctx.find_root().params.get("home")
    return f"bitfront --home {home}" if home else "bitfront"
