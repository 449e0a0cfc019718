"""bench, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bitfront.experiments.commands.consoles import err, out, put_json
from bitfront.experiments.commands.group import tell
from bitfront.experiments.commands.look import Json

if TYPE_CHECKING:
    from bitfront.experiments.benchmarks.result import BenchResult

_SEEDS = 5
_QUICK_SEEDS = 2


def bench(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Without it, the names are listed.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small version, for a look.")] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="How many seeds.", show_default=f"{_SEEDS}, or {_QUICK_SEEDS} with --quick"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            show_default=False,
            help="Also write the JSON there, and pictures beside it; without it, pictures go into BITFRONT_HOME.",
        ),
    ] = None,
) -> None:
    """Run a benchmark.

    It prints a table for people on stderr and, last, one line of JSON on stdout. The exit code says whether it
    ran, not whether its goals hold.
    """
    from bitfront.experiments.benchmarks import BENCHMARKS
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.tables import bench_table

    if name is None:
        typer.echo("\n".join(BENCHMARKS.names()))
        return
    benchmark = BENCHMARKS.get(name)
    with RichReporter(err()) as reporter:
        result = benchmark(quick=quick, seeds=seeds or (_QUICK_SEEDS if quick else _SEEDS), reporter=reporter)
    err().print(Text(f"{name}, {result.seeds} seeds, {result.machine['cpu']}", style="bold"))
    err().print(bench_table(result))
    for note in result.notes:
        tell(f"note: {note}")
    _keep_bench(result, output)
    typer.echo(result.json_line())


def _keep_bench(result: BenchResult, output: Path | None) -> None:
    from bitfront.experiments.store.home import home
    from bitfront.supernet.files import write_bytes, write_text

    if output is not None:
        write_text(output, result.json_line() + "\n")
    beside = output or home() / "bench" / result.bench
    for name, image in result.pictures.items():
        path = beside.with_name(f"{beside.stem}-{name}.png")
        write_bytes(path, image)
        tell(f"picture: {path}")


def doctor(as_json: Json = False) -> None:
    """Check what bitfront needs here, and say what this machine can do."""
    from dataclasses import asdict

    from bitfront.experiments.doctor import checks
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.store.home import home
    from bitfront.experiments.tables import checks_table

    with RichReporter(err()) as reporter:
        found = list(checks(home(), reporter.progress("looking")))
    if as_json:
        put_json([asdict(check) for check in found])
    else:
        out().print(checks_table(found))
    broken = [check.name for check in found if check.state == "broken"]
    if broken:
        tell(f"error: broken: {', '.join(broken)}", "red")
        raise typer.Exit(1)
