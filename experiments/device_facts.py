"""What is known of a device, as plain values."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.experiments.device_names import (
    IMPORTED,
    default_options,
    device_factory,
    kind_of,
    known_devices,
    needed_options,
    own_options,
)
from bitfront.experiments.device_places import is_unfinished, table_path, table_paths
from bitfront.experiments.spec_errors import SpecError
from bitfront.experiments.spec_meaning import device_problems
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.stored_times import warn_if_foreign
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import BitfrontError, MissingFileError
from bitfront.supernet.files import read_json
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

OPS = ("conv", "pointwise", "depthwise", "linear")


def listed_devices(home: Path) -> Iterator[dict[str, Any]]:
    """Every device that can be named, JSON-able: name, kind, costs, formats, tables, problem.

    ``formats``: operator to [weight format, activation format] pairs. ``problem`` says why a device can not be
    used here, and then the rest is not known; else it is None.
    """
    for name in known_devices(home):
        row: dict[str, Any] = {"name": name, "kind": None, "costs": [], "formats": {}, "tables": []}
        try:
            factory = device_factory(home, name)
            missing = needed_options(factory)
            if missing and name == IMPORTED:
                continue  # it stands for the imported ones, which are listed themselves
            if missing:
                yield row | {"problem": f"it needs the options {', '.join(missing)}"}
                continue
            device = factory()
        except Exception as error:  # a third party's module may raise anything
            yield row | {"problem": f"{error}" if isinstance(error, BitfrontError) else repr(error)}
            continue
        yield row | {
            "kind": kind_of(device),
            "costs": list(device.costs),
            "formats": formats(device),
            "tables": [str(path) for path in table_paths(home, name)],
            "problem": None,
        }


def made_device(home: Path, name: str, options: Mapping[str, Any]) -> Device:
    """The device of a name with these options.

    Raises:
        UnknownNameError: there is no such device.
        SpecError: it has no such option, or refuses its value.
        UnsupportedError: it can not be used here.
    """
    factory = device_factory(home, name)
    problems = device_problems(home, name, options)[1]
    if problems:
        raise SpecError(f"device {name}", problems)
    return factory(**options)


def formats(device: Device) -> dict[str, list[list[str]]]:
    """Operator to the [weight format, activation format] pairs that a device executes."""
    return {op: [list(pair) for pair in sorted(device.executable(op))] for op in OPS}


def device_details(home: Path, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A device as one JSON-able object."""
    factory, device = device_factory(home, name), made_device(home, name, options)
    return {
        "name": name,
        "kind": kind_of(device),
        "about": about(device),
        "costs": list(device.costs),
        "options": {**default_options(factory), **options},
        "formats": formats(device),
        "provenance": device.provenance(),
        "tables": [_table_file(path) for path in table_paths(home, name)],
    }


def about(device: Device) -> str:
    """The beginning of a device's own description."""
    return " ".join((type(device).__doc__ or "").split("\n\n")[0].replace("`", "").split())


def device_table(
    home: Path,
    name: str,
    device: Device,
    space: SearchSpace,
    options: Mapping[str, Any],
    progress: Progress,
    named: str,
) -> tuple[Table, Path | None]:
    """The table of a device for a space, without measuring anything, and its file where it has one.

    ``named`` are the options of the command line that name the space.

    Raises:
        MissingFileError: the device must measure it first.
        BitfrontError: what the device says to the space.
    """
    if not device.is_measured:
        return device.table(space, None, np.random.default_rng(0), progress), None
    path = table_path(home, device.name, own_options(device_factory(home, name), options), space.hash())
    if not path.is_file():
        given = "".join(f" --option {option}={shlex.quote(str(value))}" for option, value in options.items())
        raise MissingFileError(
            f"{name} has no table for space {space.name!r} yet{_with_other_options(home, device.name, space)}: "
            f"'bitfront device profile {name} {named}{given}' measures it"
        )
    table = Table.load(path, device.name, space.hash())
    warn_if_foreign(table, device.provenance(), str(path))
    return table, path


def _with_other_options(home: Path, device: str, space: SearchSpace) -> str:
    """The tables of a space that a device has with other options than those that were asked for."""
    files = [_table_file(path) for path in table_paths(home, device)]
    found = [file for file in files if file["space"] == space.name]
    if not found:
        return ""
    names = (f"{file['path']}{' (unfinished)' if file['unfinished'] else ''}" for file in found)
    return f" with these options; with others there are {', '.join(names)}"


def _table_file(path: Path) -> dict[str, Any]:
    """What a file says of itself; a damaged one is no reason to show nothing."""
    row: dict[str, Any] = {"path": str(path), "unfinished": is_unfinished(path), "space": None, "date": None}
    try:
        value = read_json(path)
        hashes = {SPACES.get(name)().hash(): name for name in SPACES.names()}
        provenance = value["provenance"]
        return {**row, "space": hashes.get(value["space_hash"]), "date": provenance.get("date")}
    except (BitfrontError, KeyError, TypeError, AttributeError) as error:
        return {**row, "problem": str(error)}
