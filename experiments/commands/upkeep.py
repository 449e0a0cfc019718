"""backup, restore, prune, db: what keeps a home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitfront.experiments.commands.consoles import err, out, put_json
from bitfront.experiments.commands.group import tell
from bitfront.experiments.commands.look import Json
from bitfront.experiments.commands.opened import opened, opened_existing

if TYPE_CHECKING:
    from bitfront.experiments.upkeep.pruning import Prunable

db = typer.Typer(name="db", help="The database of a home.", no_args_is_help=True)

_Candidates = Annotated[
    float | None,
    typer.Option(
        "--candidates",
        min=0,
        metavar="DAYS",
        show_default=False,
        help="Forget those of what completed so long ago.",
    ),
]
_Experiments = Annotated[
    float | None,
    typer.Option(
        "--experiments",
        min=0,
        metavar="DAYS",
        show_default=False,
        help="Delete what ended so long ago, with files.",
    ),
]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file, such as home.tar.")],
) -> None:
    """Copy the whole home into one file, while experiments may run."""
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.store.home import home
    from bitfront.experiments.upkeep.backup import back_up

    with opened_existing() as store, RichReporter(err()) as reporter:
        count = back_up(store, home(), file, reporter.progress("files"))
    tell(f"wrote {file}: {count} files, {_mib(file.stat().st_size)}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What 'bitfront backup' wrote.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what the home holds now.")] = False,
) -> None:
    """Make the home what it was when a backup was made; every file's SHA-256 is checked first."""
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.store.home import home
    from bitfront.experiments.upkeep.restore import put_back

    with RichReporter(err()) as reporter:
        count = put_back(file, home(), force, reporter.progress("bytes"))
    tell(f"restored {home()}: {count} files")


def prune(
    candidates: _Candidates = None,
    experiments: _Experiments = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Make room: forget candidates that are on no front, or delete whole experiments, that are old.

    Where only candidates go, fronts, measured members and exports stay, but the experiment can not be resumed.
    Supernets, predictors and tables, which experiments share, stay too.
    """
    from dataclasses import asdict

    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.store.home import home
    from bitfront.experiments.store.records import utc_now
    from bitfront.experiments.upkeep.pruning import prunable
    from bitfront.experiments.upkeep.pruning import prune as carry_out

    if candidates is None and experiments is None:
        raise typer.BadParameter("say what may go: --candidates DAYS, --experiments DAYS, or both")
    with opened_existing() as store:
        found = prunable(store, home(), utc_now(), candidates, experiments)
        if not dry_run:
            with RichReporter(err()) as reporter:
                carry_out(store, home(), found, reporter.progress("pruning"))
    if as_json:
        put_json([{**asdict(one), "finished_at": one.finished_at.isoformat()} for one in found])
    else:
        _show(found)
    tell(f"{'would go' if dry_run else 'gone'}: {_sum(found)}")


@db.command("status")
def status(as_json: Json = False) -> None:
    """Say which migration the database is at; nothing is changed."""
    from bitfront.experiments.store.home import store_url
    from bitfront.experiments.store.migrate import HEAD, stored_revision

    now = stored_revision(store_url())
    if as_json:
        put_json({"at": now, "newest": HEAD})
    else:
        where = "there is no database yet" if now is None else f"the database is at migration {now}"
        typer.echo(f"{where}; the newest is {HEAD}{'' if now in (None, HEAD) else ': bitfront db upgrade'}")


@db.command("upgrade")
def upgrade() -> None:
    """Bring the database to the newest migration, as every command does that opens it."""
    from bitfront.experiments.store.migrate import HEAD

    with opened():
        tell(f"the database is at migration {HEAD}")


def _show(found: list[Prunable]) -> None:
    from rich.table import Table

    if not found:
        return
    table = Table("experiment", "status", "ended", "goes", "candidates", "files", box=None)
    for one in found:
        what = "all of it" if one.what == "experiment" else "candidates"
        ended = f"{one.finished_at:%Y-%m-%d %H:%M}"
        table.add_row(one.experiment_id, one.status, ended, what, f"{one.candidates:,}", _mib(one.size_bytes))
    out().print(table)


def _sum(found: list[Prunable]) -> str:
    whole = sum(one.what == "experiment" for one in found)
    return (
        f"{whole} experiments, {sum(one.candidates for one in found):,} candidates, "
        f"{_mib(sum(one.size_bytes for one in found))} of files"
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
