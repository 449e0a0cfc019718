"""Devices by name: those that are registered, and those whose tables were imported into a home."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bitfront.experiments.device_places import imported_names, imported_path
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.table import InvalidTableError
from bitfront.supernet.errors import UnknownNameError

IMPORTED = "imported"
"""The registered device that reads a table file; a home's imported devices are this one with their own file."""

Kind = Literal["measured", "modelled", "imported"]


def known_devices(home: Path) -> list[str]:
    """Every name that `device_factory` takes, sorted."""
    return sorted({*DEVICES.names(), *imported_names(home)})


def device_factory(home: Path, name: str) -> Callable[..., Device]:
    """What makes the device of a name from its options. A registered name wins over an imported one.

    Raises:
        UnknownNameError: there is no such device; the message names the nearest.
    """
    if name in DEVICES.names():
        return DEVICES.get(name)
    if name not in imported_names(home):
        raise UnknownNameError("device", name, known_devices(home))
    return partial(_imported_as, name, file=str(imported_path(home, name)))


def _imported_as(name: str, file: str, interpolate: bool = False) -> Device:
    """The device behind a file of the home.

    Raises:
        InvalidTableError: the file is another device's, so that tables of both would be mixed up.
    """
    device = DEVICES.get(IMPORTED)(file=file, interpolate=interpolate)
    if device.name != name:
        raise InvalidTableError(
            f"{file} is the table of device {device.name!r}, not of {name!r}: import it under this name, or give "
            "the file its old one"
        )
    return device


def needed_options(factory: Callable[..., Device]) -> list[str]:
    """Options that a device can not do without."""
    parameters = inspect.signature(factory).parameters.values()
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]


def default_options(factory: Callable[..., Device]) -> dict[str, Any]:
    """The options of a device that have a default, with it; not the file of an imported one."""
    given = factory.keywords if isinstance(factory, partial) else {}
    parameters = inspect.signature(factory).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty and one.name not in given}


def own_options(factory: Callable[..., Device], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that differ from the defaults: what tells a device's tables apart."""
    defaults = default_options(factory)
    return {
        name: value
        for name, value in options.items()
        if name not in defaults or defaults[name] != value or type(defaults[name]) is not type(value)
    }


def kind_of(device: Device) -> Kind:
    """How a device comes to its numbers."""
    from bitfront.latency_lut.devices.imported import ImportedDevice

    if device.is_measured:
        return "measured"
    return "imported" if isinstance(device, ImportedDevice) else "modelled"
