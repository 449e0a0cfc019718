"""The table of a device, made where experiments look for it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bitfront.experiments.device_facts import made_device
from bitfront.experiments.device_names import device_factory, own_options
from bitfront.experiments.device_places import table_path
from bitfront.experiments.reporter import Reporter
from bitfront.latency_lut.table import Table
from bitfront.supernet.space import SearchSpace


@dataclass(frozen=True, slots=True)
class Profiled:
    """A finished table, its file, how long it took, and how it came to be."""

    table: Table
    path: Path
    seconds: float
    how: Literal["found", "measured", "computed"]


def profiled(
    home: Path,
    name: str,
    options: Mapping[str, Any],
    space: SearchSpace,
    path: Path | None,
    reporter: Reporter,
) -> Profiled:
    """Measure, compute, complete or find the table of a device for a space.

    Args:
        home: where experiments are kept; the table is made where they look for it.
        name: the device's name.
        options: its options.
        space: the whole space.
        path: another file for the table.
        reporter: hears how it goes.

    Raises:
        UnknownNameError, SpecError, UnsupportedError: there is no such device, or it can not be used so.
        InvalidTableError, CorruptFileError: a file is there that can not be gone on from.
        StorageError: the file can not be written.
    """
    device = made_device(home, name, options)
    own = own_options(device_factory(home, name), options)
    path = path or table_path(home, device.name, own, space.hash())
    before = path.read_bytes() if path.is_file() else None
    if before is not None:
        Table.load(path, device.name, space.hash())  # nothing else is written over
    rng = np.random.default_rng([0, zlib.crc32(b"table")])  # as an experiment's, with the default seed
    start = time.monotonic()
    table = device.table(device.restrict(space), path, rng, reporter.progress(f"{name} table"))
    seconds = time.monotonic() - start
    if before == path.read_bytes() and device.is_measured:
        return Profiled(table, path, seconds, "found")
    return Profiled(table, path, seconds, "measured" if device.is_measured else "computed")
