"""device ls, show, profile: what can be deployed on, and what it costs there."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitfront.experiments.commands import device_files
from bitfront.experiments.commands.consoles import err, out, put_json
from bitfront.experiments.commands.device_options import (
    Batch,
    Given,
    Name,
    Space,
    SpaceName,
    SpaceOptions,
    Threads,
    named_space,
    parsed,
)
from bitfront.experiments.commands.group import Commands, tell
from bitfront.experiments.commands.look import Csv, Json, check_form

if TYPE_CHECKING:
    from bitfront.latency_lut.device import Device
    from bitfront.latency_lut.table import Table
    from bitfront.supernet.space import SearchSpace

app = typer.Typer(
    name="device",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Devices: what they execute, and what blocks cost on them.",
)


_PICTURES = (".png", ".html")


@app.command("ls")
def ls(as_json: Json = False, as_csv: Csv = False) -> None:
    """List the devices that experiments can name: measured, modelled and imported ones."""
    from bitfront.experiments.device_facts import listed_devices
    from bitfront.experiments.device_tables import devices_table
    from bitfront.experiments.store.home import home

    check_form(as_json, as_csv)
    with err().status("asking the devices"):
        rows = list(listed_devices(home()))
    if as_json:
        put_json(rows)
    elif as_csv:
        _put_csv(rows)
    else:
        out().print(devices_table(rows))


@app.command("show")
def show(
    name: Name,
    space: SpaceName = None,
    threads: Threads = None,
    batch: Batch = None,
    given: Given = None,
    space_given: SpaceOptions = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Draw latency by kernel, width and number formats into FILE.png or FILE.html; needs --space.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show one device: what it is, and with --space what the blocks of a space cost on it.

    Nothing is measured: a measured device needs the table that 'bitfront device profile' or an experiment made.
    """
    _check_plot(plot, space)
    options = parsed(given, threads=threads, batch=batch)
    from bitfront.experiments.commands.device_shown import print_device
    from bitfront.experiments.device_facts import device_details
    from bitfront.experiments.store.home import home

    with err().status("asking the device"):
        values = device_details(home(), name, options)
    if space is not None:
        device, whole, table, path = _tabulated(name, space, space_given, options)
        from bitfront.experiments.device_coverage import space_details

        with err().status("looking at every block"):
            values["space"] = space_details(device, whole, table, path)
        if plot is not None:
            _draw(plot, device, whole, table)
    if as_json:
        put_json(values)
    else:
        print_device(out(), values)
    if space is None:
        tell(f"'bitfront device show {name} --space SPACE' shows what blocks cost on it, --plot FILE draws it")
    elif plot is None:
        tell("--plot FILE.png draws latency by kernel, width and number formats")


@app.command("profile")
def profile(
    name: Name,
    space: Space,
    threads: Threads = None,
    batch: Batch = None,
    given: Given = None,
    space_given: SpaceOptions = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", show_default=False, help="Keep it there instead of in the home."
        ),
    ] = None,
) -> None:
    """Make the table of a device for a space, where experiments with the same options find it.

    What was interrupted goes on from where it was. The table's path is printed on stdout.
    """
    options = parsed(given, threads=threads, batch=batch)
    from bitfront.experiments.device_profile import profiled
    from bitfront.experiments.device_words import profile_in_words
    from bitfront.experiments.foreign_tables import told_warnings
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.space_files import space_of
    from bitfront.experiments.store.home import home
    from bitfront.experiments.store.swapping import opening

    whole = space_of(space, parsed(space_given))
    with opening(home()), RichReporter(err()) as reporter, told_warnings(tell):
        done = profiled(home(), name, options, whole, output, reporter)
    for line in profile_in_words(done):
        tell(line)
    typer.echo(str(done.path))


app.command("import")(device_files.import_)
app.command("export")(device_files.export)
app.command("bundle")(device_files.bundle)


def _check_plot(plot: Path | None, space: str | None) -> None:
    if plot is not None and plot.suffix.lower() not in _PICTURES:
        raise typer.BadParameter(f"{plot} must end in {' or '.join(_PICTURES)}", param_hint="--plot")
    if plot is not None and space is None:
        raise typer.BadParameter("--plot draws the blocks of a space: name one with --space", param_hint="--plot")


def _tabulated(
    name: str, space: str, space_given: list[str] | None, options: dict[str, Any]
) -> tuple[Device, SearchSpace, Table, Path | None]:
    from bitfront.experiments.device_facts import device_table, made_device
    from bitfront.experiments.foreign_tables import told_warnings
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.space_files import space_of
    from bitfront.experiments.store.home import home

    whole, device = space_of(space, parsed(space_given)), made_device(home(), name, options)
    with RichReporter(err()) as reporter, told_warnings(tell):
        progress, again = reporter.progress("computing costs"), named_space(space, space_given)
        table, path = device_table(home(), name, device, whole, options, progress, again)
    return device, whole, table, path


def _draw(plot: Path, device: Device, space: SearchSpace, table: Table) -> None:
    from bitfront.experiments.device_picture import device_picture
    from bitfront.supernet.files import write_bytes, write_text

    picture = device_picture(device, device.restrict(space), table)
    if plot.suffix.lower() == ".png":
        from bitfront.experiments.plot_device import device_figure_png

        write_bytes(plot, device_figure_png(picture))
    else:
        from bitfront.experiments.plot_device_html import device_figure_html

        write_text(plot, device_figure_html(picture))
    tell(f"picture: {plot}")


def _put_csv(rows: list[dict[str, Any]]) -> None:
    from bitfront.experiments.device_words import formats_in_words

    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        lists = {name: " ".join(row[name]) for name in ("costs", "tables")}
        writer.writerow({**row, **lists, "formats": formats_in_words(row["formats"]) if row["formats"] else ""})
