"""The command line. Commands are in `commands`; here they get their names and their common options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bitfront.experiments.commands import (
    bits,
    data,
    deliver,
    device,
    export,
    front,
    launch,
    look,
    predictor,
    results,
    serve,
    space,
    train,
    upkeep,
)
from bitfront.experiments.commands import work as working
from bitfront.experiments.commands.detached import NEXT, WORK
from bitfront.experiments.commands.group import DEBUG, Commands
from bitfront.experiments.commands.verify import OrVerify

_EXPERIMENTS = "Experiments"
_FOUND = "What they found"
_MACHINE = "This machine"
_SERVICE = "The service"

app = typer.Typer(
    name="bitfront",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"bitfront {version('bitfront')}")
        raise typer.Exit


@app.callback()
def common(
    home: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            file_okay=False,
            show_default="BITFRONT_HOME, or ./.bitfront",
            help="Where experiments are kept.",
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help=f"Show tracebacks, as {DEBUG}=1 does.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find the networks worth deploying: architecture, pruning and bit-widths, searched jointly for a device.

    'bitfront init' writes a spec, 'bitfront run' launches it, 'bitfront front' shows what it found.
    """
    if home is not None:
        os.environ["BITFRONT_HOME"] = str(home)
    if debug:
        os.environ[DEBUG] = "1"


app.command("init", rich_help_panel=_EXPERIMENTS)(launch.init)
app.command("run", rich_help_panel=_EXPERIMENTS)(launch.run)
app.command("resume", rich_help_panel=_EXPERIMENTS)(launch.resume)
app.command("cancel", rich_help_panel=_EXPERIMENTS)(launch.cancel)
app.command("ls", rich_help_panel=_EXPERIMENTS)(look.ls)
app.command("show", rich_help_panel=_EXPERIMENTS)(look.show)
app.command("logs", rich_help_panel=_EXPERIMENTS)(look.logs)
app.command("front", rich_help_panel=_FOUND)(front.front)
app.command("export", rich_help_panel=_FOUND, cls=OrVerify, epilog=export.EPILOG)(export.export)
app.command("bits", rich_help_panel=_FOUND)(bits.bits)
app.command("train", rich_help_panel=_EXPERIMENTS)(train.train)
app.add_typer(space.app, rich_help_panel=_EXPERIMENTS)
app.add_typer(data.app, rich_help_panel=_EXPERIMENTS)
app.add_typer(predictor.app, rich_help_panel=_EXPERIMENTS)
app.add_typer(device.app, rich_help_panel=_MACHINE)
app.command("bench", rich_help_panel=_MACHINE)(deliver.bench)
app.add_typer(results.app, rich_help_panel=_MACHINE)
app.command("doctor", rich_help_panel=_MACHINE)(deliver.doctor)
app.command("serve", rich_help_panel=_SERVICE)(serve.serve)
app.add_typer(serve.app, rich_help_panel=_SERVICE)
app.command("worker", rich_help_panel=_SERVICE)(working.worker)
app.command("backup", rich_help_panel=_SERVICE)(upkeep.backup)
app.command("restore", rich_help_panel=_SERVICE)(upkeep.restore)
app.command("prune", rich_help_panel=_SERVICE)(upkeep.prune)
app.add_typer(upkeep.db, rich_help_panel=_SERVICE)
app.command(WORK, hidden=True)(launch.work)
app.command(NEXT, hidden=True)(working.next_one)


def main() -> None:
    """The program `bitfront`; how it ends is told in `commands.group`."""
    app(prog_name="bitfront")


if __name__ == "__main__":
    main()
