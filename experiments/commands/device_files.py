"""device import, export, bundle: tables that come from elsewhere and go there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitfront.experiments.commands.consoles import err
from bitfront.experiments.commands.device_options import (
    Batch,
    Given,
    Name,
    Space,
    SpaceOptions,
    Threads,
    named_space,
    parsed,
)
from bitfront.experiments.commands.group import tell
from bitfront.supernet.errors import UnknownNameError

_RUNTIMES = {"onnxruntime": "host-onnxruntime", "openvino": "host-openvino"}


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The table; for Once-for-All's a file, or a folder of them.")
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="What experiments shall call the device.")],
    space: Space,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", show_default="by the file's name", help="apq, ofa, csv or parquet."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a device of that name.")] = False,
    space_given: SpaceOptions = None,
) -> None:
    """Make a device out of a table: published, measured by a bundle, or written by hand.

    A spec then names it: 'device: NAME', or with estimates for what the table lacks
    'device: {name: NAME, options: {interpolate: true}}'. Its file's path is printed on stdout.
    """
    from bitfront.experiments.device_import import import_device
    from bitfront.experiments.device_tables import coverage_table
    from bitfront.experiments.device_words import import_in_words
    from bitfront.experiments.space_files import space_of
    from bitfront.experiments.store.home import home
    from bitfront.experiments.store.swapping import opening

    with opening(home()), err().status("reading the table"):
        done = import_device(home(), file, name, space_of(space, parsed(space_given)), format_name, force)
    for line in import_in_words(done):
        tell(line)
    err().print(coverage_table(done.slots))
    typer.echo(str(done.path))


def export(
    name: Name,
    space: Space,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to write it.")],
    format_name: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", show_default="by the file's name", help="csv or parquet."),
    ] = None,
    threads: Threads = None,
    batch: Batch = None,
    given: Given = None,
    space_given: SpaceOptions = None,
) -> None:
    """Write the table of a device as CSV or parquet.

    Nothing is measured: a measured device needs the table that 'bitfront device profile' or an experiment made.
    The file's path is printed on stdout.
    """
    options = parsed(given, threads=threads, batch=batch)
    chosen = format_name or output.suffix.lower().removeprefix(".")
    from bitfront.experiments.device_facts import device_table, made_device
    from bitfront.experiments.foreign_tables import told_warnings
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.space_files import space_of
    from bitfront.experiments.store.home import home
    from bitfront.latency_lut.imports.own import write_csv, write_parquet

    writers = {"csv": write_csv, "parquet": write_parquet}
    if chosen not in writers:
        raise UnknownNameError("table format to write", chosen, writers)
    whole, device = space_of(space, parsed(space_given)), made_device(home(), name, options)
    with RichReporter(err()) as reporter, told_warnings(tell):
        progress, again = reporter.progress("computing costs"), named_space(space, space_given)
        table, _ = device_table(home(), name, device, whole, options, progress, again)
    writers[chosen](table, output)
    tell(f"wrote {len(table.entries):,} blocks and {len(table.borders):,} borders of {name}")
    typer.echo(str(output))


def bundle(
    space: Space,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.zip", help="Where to write it.")],
    runtime: Annotated[
        str, typer.Option(metavar="RUNTIME", help=f"What runs the models there: {' or '.join(_RUNTIMES)}.")
    ] = "onnxruntime",
    threads: Threads = None,
    batch: Batch = None,
    rounds: Annotated[
        int | None, typer.Option(min=2, show_default=False, help="Times that each model is measured.")
    ] = None,
    given: Given = None,
    space_given: SpaceOptions = None,
) -> None:
    """Write a bundle that measures somebody else's device: one script, the models, a plan.

    On the device it needs Python with numpy and the runtime alone. What it writes there comes back with
    'bitfront device import'. The bundle's path is printed on stdout.
    """
    options = parsed(given, threads=threads, batch=batch, rounds=rounds)
    import numpy as np

    from bitfront.experiments.device_facts import made_device
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.space_files import space_of
    from bitfront.experiments.store.home import home
    from bitfront.latency_lut.bundle.write import write_bundle
    from bitfront.latency_lut.runtime_device import RuntimeDevice

    if runtime not in _RUNTIMES:
        raise UnknownNameError("runtime", runtime, _RUNTIMES)
    whole, device = space_of(space, parsed(space_given)), made_device(home(), _RUNTIMES[runtime], options)
    assert isinstance(device, RuntimeDevice)
    with RichReporter(err()) as reporter:
        models = write_bundle(device, whole, output, np.random.default_rng(0), reporter.progress("writing models"))
    size = output.stat().st_size / 1e6
    tell(f"wrote {models:,} models, {size:.1f} MB; unpack it on the device and run 'python profile.py' in it")
    typer.echo(str(output))
