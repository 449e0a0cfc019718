"""results run, page: the headline claims measured, and the page that tells what came of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bitfront.experiments.commands.consoles import err
from bitfront.experiments.commands.group import Commands, tell

app = typer.Typer(
    name="results",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Headline claims: run the benchmarks that test them, write a page of what they found.",
)


@app.command("run")
def run(
    quick: Annotated[bool, typer.Option("--quick", help="Small versions of all, for a look.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", show_default=False, help="One benchmark; may be repeated."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Results of other code, versions or machines will do; the page tells.")
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            "-j", "--jobs", min=1, metavar="N", help="So many at once, if they do not time this machine."
        ),
    ] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            file_okay=False,
            show_default="BITFRONT_HOME/results, or results-quick with --quick",
            help="Where JSON and pictures are kept.",
        ),
    ] = None,
) -> None:
    """Run the benchmark of every claim, each in a process of its own, and keep what it found as soon as it ends.

    What the folder holds already, of the same command, code, versions and
    machine, is not run again: after an interruption, give the same command. The
    exit code is 1 where a benchmark failed, whatever its goals.
    """
    from bitfront.experiments.results.asked import asked_of
    from bitfront.experiments.results.claims import CLAIMS
    from bitfront.experiments.results.outcome_table import outcome_table
    from bitfront.experiments.results.runner import Runner
    from bitfront.experiments.termination import terminated_as_interrupted

    benches = asked_of(CLAIMS, quick, only or ())
    with terminated_as_interrupted():
        records = Runner(output or _folder(quick), keep, tell, jobs=jobs).run(benches)
    err().print(outcome_table(list(records.values())))
    failed = [bench for bench, record in records.items() if record.error is not None]
    if failed:
        tell(f"error: failed: {', '.join(failed)}", "red")
        raise typer.Exit(1)


@app.command("page")
def page(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", show_default="BITFRONT_HOME/results", help="What 'run' filled."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", show_default="results.md beside DIR", help="The page."),
    ] = None,
) -> None:
    """Write a page in Markdown from a folder of results; pictures stay where they are."""
    from bitfront.experiments.results.claims import CLAIMS
    from bitfront.experiments.results.page import page as page_of
    from bitfront.experiments.results.page import records_in
    from bitfront.supernet.files import write_text

    folder = folder or _folder(quick=False)
    output = output or folder.with_name("results.md")
    pictures = Path(os.path.relpath(folder.absolute(), output.absolute().parent)).as_posix()
    write_text(output, page_of(CLAIMS, records_in(folder, CLAIMS), pictures))
    tell(f"page: {output}")


def _folder(quick: bool) -> Path:
    from bitfront.experiments.store.home import home

    return home() / ("results-quick" if quick else "results")
