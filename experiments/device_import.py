"""Somebody's table becomes a device of a home."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bitfront.experiments.device_coverage import coverage
from bitfront.experiments.device_names import IMPORTED
from bitfront.experiments.device_places import imported_path, is_device_name
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.imports import IMPORTERS, detect
from bitfront.latency_lut.imports.base import ImportedTable
from bitfront.latency_lut.imports.table import imported_table
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import StorageError, UnsupportedError
from bitfront.supernet.space import SearchSpace


@dataclass(frozen=True)
class Imported:
    """What became of a file.

    ``read`` is what was in it, ``table`` what was made of that, ``path`` where it is; ``format_name`` is the
    file's format. ``slots`` maps a slot's name to (combinations of its genes that the table covers, all those in
    number formats that the table speaks of).
    """

    read: ImportedTable
    table: Table
    path: Path
    format_name: str
    slots: Mapping[str, tuple[int, int]]


def import_device(
    home: Path, file: Path, name: str, space: SearchSpace, format_name: str | None, force: bool
) -> Imported:
    """Read a table and keep it as the device ``name`` of a home; where anything is wrong, nothing is kept.

    Args:
        home: where experiments are kept.
        file: the table.
        name: what experiments shall call the device.
        space: the space that the table is for.
        format_name: one of `IMPORTERS`; None to tell it from the file.
        force: replace a device of that name.

    Raises:
        UnsupportedError: the name is none or taken by a registered device, or nothing is left of the space.
        StorageError: the name is taken by an imported device, or the file can not be written.
        UnknownNameError: there is no such format.
        MissingFileError, InvalidTableError: the file can not be taken; the first offenders are listed.
    """
    path = _free_path(home, name, force)
    format_name = format_name or detect(file)
    read = IMPORTERS.get(format_name)(file, space)
    table = imported_table(read, space, name)
    return Imported(read, table, path, format_name, _kept(table, path, space))


def _free_path(home: Path, name: str, force: bool) -> Path:
    if not is_device_name(name):
        raise UnsupportedError(
            f"{name!r} can not name a device: use letters, digits, '-', '_' and '.', a letter or digit first, "
            "and do not end in '.partial'"
        )
    if name in DEVICES.names():
        raise UnsupportedError(f"{name!r} is the name of a device that bitfront has: choose another")
    path = imported_path(home, name)
    if path.exists() and not force:
        raise StorageError(f"{path} exists: choose another name, or replace that device with --force")
    return path


def _kept(table: Table, path: Path, space: SearchSpace) -> dict[str, tuple[int, int]]:
    """Keep a table once it has proved to be of use as a device; returns what it covers of the space."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        table.save(trial)
        device = DEVICES.get(IMPORTED)(file=str(trial))
        covered = coverage(space.restrict_formats(device.executable), device.restrict(space))
    table.save(path)
    return covered
