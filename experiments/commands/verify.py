"""export verify: whether a bundle is what it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from bitfront.experiments.commands.consoles import err, out, put_json
from bitfront.experiments.commands.group import tell
from bitfront.experiments.commands.look import Json

if TYPE_CHECKING:
    from rich.table import Table

    from bitfront.experiments.bundle.checks import Check

VERIFY = "verify"
UNVERIFIED = 3
"""The exit code where nothing is wrong, but not all could be proven."""
_MARKS = {"holds": ("✓", "green"), "fails": ("✗", "red"), "not possible": ("-", "dim")}


class OrVerify(TyperCommand):
    """The command ``export``, behind which ``verify`` may stand in the place of an experiment."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """That of the command that is meant."""
        if args[:1] != [VERIFY]:
            return super().make_context(info_name, args, parent=parent, **extra)
        app = typer.Typer(
            add_completion=False,
            rich_markup_mode="rich",
            context_settings={"help_option_names": parent.help_option_names},
        )
        app.command(VERIFY)(verify)
        return typer.main.get_command(app).make_context(f"{info_name} {VERIFY}", args[1:], parent=parent, **extra)


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="The bundle's folder.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            show_default=False,
            help="Also measure accuracy again, on this data set: a published one, or your own files.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Work out anew what is in a bundle, as far as that is possible here, and compare.

    Exit code 1 says that something is not as it should be, 3 that nothing is wrong, but not every form could be
    made again here to compare. That shows damage, not who wrote a bundle.
    """
    from bitfront.experiments.bundle.verify import failed, verified
    from bitfront.experiments.bundle.verify import verify as look
    from bitfront.experiments.rich_reporter import RichReporter

    with RichReporter(err()) as reporter:
        checks = look(folder, data, reporter.progress("looking at test images"))
    if as_json:
        listed = [{"name": one.name, "state": one.state, "detail": one.detail} for one in checks]
        found = {"holds": not failed(checks), "verified": verified(checks)}
        put_json({"bundle": str(folder.absolute()), **found, "checks": listed})
    else:
        out().print(_table(checks))
    _conclude(folder, checks)


def _conclude(folder: Path, checks: list[Check]) -> None:
    from bitfront.experiments.bundle.verify import failed, not_made

    unmade = ", ".join(not_made(checks))
    if failed(checks):
        tell(f"error: {folder} is not what it says: do not use it, and get or export it again", "red")
        raise typer.Exit(1)
    if unmade:
        tell(
            f"not verified: {unmade} can not be made again here, for the reasons above. Nothing that was looked "
            "at is wrong, but nothing proves that these files are the network's",
            "yellow",
        )
        raise typer.Exit(UNVERIFIED)
    tell("verified: its network gives every form again, byte for byte, and nothing else is wrong", "green")


def _table(checks: list[Check]) -> Table:
    from rich.text import Text

    from bitfront.experiments.tables import plain_table

    table = plain_table()
    table.add_column("")
    table.add_column("looked at", no_wrap=True)
    table.add_column("seen", overflow="fold")
    for check in checks:
        mark, style = _MARKS[check.state]
        detail = f"not possible: {check.detail}" if check.state == "not possible" else check.detail
        table.add_row(Text(mark, style=style), Text(check.name), Text(detail, style="red" * (mark == "✗")))
    return table
