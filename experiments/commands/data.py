"""data show: what networks are trained and measured on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitfront.experiments.commands.consoles import err, out, put_json
from bitfront.experiments.commands.group import Commands, tell
from bitfront.experiments.commands.look import Json

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="data",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Data sets: what networks are trained and measured on.",
)


@app.command("show")
def show(
    source: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A published data set, or your own files.")],
    kind: Annotated[
        str | None,
        typer.Option(show_default="seen from the files", help="Of your own: folder, tar, npz, idx, parquet."),
    ] = None,
    size: Annotated[int | None, typer.Option(min=1, show_default=False, help="As in a spec.")] = None,
    channels: Annotated[int | None, typer.Option(min=1, max=3, show_default=False, help="As in a spec.")] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", show_default=False, help="Draw images of each class, as they are and varied."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show one data set: its splits, classes and normalisation, and what is broken in it.

    Images are decoded once and kept in a cache, where experiments find them.
    """
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise typer.BadParameter(f"{sheet} must end in .png", param_hint="--sheet")
    from bitfront.experiments.data_facts import data_details, source_of
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.supernet.data import load_dataset

    with RichReporter(err()) as reporter:
        dataset = load_dataset(source_of(source, kind, size, channels), reporter.progress("decoding images"))
    values = data_details(dataset)
    if as_json:
        put_json(values)
    else:
        _print(out(), values)
    for note in dataset.notes:
        tell(note, "yellow")
    if sheet is not None:
        from bitfront.supernet.data.contact_sheet import contact_sheet
        from bitfront.supernet.files import write_bytes

        write_bytes(sheet, contact_sheet(dataset))
        tell(f"picture: {sheet}")


def _print(console: Console, values: dict[str, Any]) -> None:
    from rich.table import Table

    from bitfront.experiments.commands.shown import rows, section

    section(
        console, values["name"], rows({k: v for k, v in values.items() if k not in ("classes", "notes", "name")})
    )
    table = Table("class", *values["images"], box=None, header_style="bold")
    for row in values["classes"]:
        table.add_row(row["class"], *(f"{row[split]:,}" for split in values["images"]))
    console.print(table)
