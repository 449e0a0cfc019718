"""How single values of a spec are checked."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from bitfront.experiments.device_places import imported_names
from bitfront.experiments.spec_errors import broken, broken_by, nearest, shown
from bitfront.experiments.uploaded_predictors import uploaded_names
from bitfront.search.constraints import check_metric, parse_constraint
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.genes import Choice
from bitfront.supernet.registry import Registry

DEVICES = "bitfront.latency_lut.devices:DEVICES"
_Option = bool | int | float | str


def registry_at(target: str) -> Registry[Any]:
    """The registry at ``"module:attribute"``."""
    module, _, attribute = target.partition(":")
    registry: Registry[Any] = getattr(importlib.import_module(module), attribute)
    return registry


def known_in(target: str) -> AfterValidator:
    """Accept the names of a registry, which is imported when a name is first checked."""

    def check(name: str) -> str:
        registry = registry_at(target)
        if name not in registry.names():
            raise broken(f"there is no such {registry.kind}", nearest(name, registry.names()))
        return name

    return AfterValidator(check)


def export_format(name: str) -> str:
    """A format of export, or all of them."""
    from bitfront.experiments.bundle.forms import format_names

    if name not in format_names():
        raise broken("there is no such export format", nearest(name, format_names()))
    return name


def _device(name: str, info: ValidationInfo) -> str:
    """A registered device, or an imported one of the home that the validation's context names."""
    imported = imported_names(info.context["home"]) if info.context else []
    known = sorted({*registry_at(DEVICES).names(), *imported})
    if name not in known:
        raise broken("there is no such device", f"{nearest(name, known)}; 'bitfront device import' adds more")
    return name


def _uploaded(name: str, info: ValidationInfo) -> str:
    """A predictor that was sent to the home that the validation's context names."""
    known = uploaded_names(info.context["home"]) if info.context else []
    if name not in known:
        fix = (
            f"{nearest(name, known)}; POST /api/v1/predictors adds more"
            if known
            else "POST /api/v1/predictors first"
        )
        raise broken("there is no such uploaded predictor", fix)
    return name


def absolute(path: str, info: ValidationInfo) -> str:
    """A path as the spec's file means it: from the file's own folder, else from here."""
    folder = (info.context or {}).get("folder") or Path.cwd()
    return str(Path(folder, Path(path).expanduser()).resolve())


def _metric(name: str) -> str:
    try:
        check_metric(name)
    except BitfrontError as error:
        raise broken_by(error) from error
    return name


def _constraint(text: str) -> str:
    try:
        return str(parse_constraint(text))
    except BitfrontError as error:
        raise broken_by(error) from error


def different(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a name that comes twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise broken(f"{twice[0]!r} is given twice", "name each one once")
    return names


def _choices(value: object) -> tuple[Choice, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not values:
        raise broken("must not be empty", "give the choices that stay, as in [3, 5]")
    for one in values:
        if isinstance(one, bool) or not isinstance(one, int | str):
            raise broken(f"{shown(one)} is no choice of a gene", "give a whole number, text, or a list of such")
    return values


def _option(value: object) -> _Option:
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise broken("is no value of an option", "give a number, text, true or false")
    return value


def by_name(value: object) -> object:
    """Let a mere name stand for a section of which only the name is given."""
    return {"name": value} if isinstance(value, str) else value


DeviceName = Annotated[str, AfterValidator(_device)]
UploadedName = Annotated[str, AfterValidator(_uploaded)]
Metric = Annotated[str, AfterValidator(_metric)]
ConstraintText = Annotated[str, AfterValidator(_constraint)]
Choices = Annotated[
    tuple[Choice, ...], BeforeValidator(_choices, json_schema_input_type=int | str | list[int | str])
]
Options = dict[str, Annotated[bool | int | float | str, BeforeValidator(_option, json_schema_input_type=_Option)]]
