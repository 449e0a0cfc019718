"""The forms of one network in a bundle: one that was asked for, or every one that can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import UnknownNameError, UnsupportedError
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.targets.base import ExportOptions, ExportTarget
from bitfront.supernet.folded import Folded

ALL = "all"
"""The format that stands for every target."""
_MAIN = "onnx"


@dataclass(frozen=True, slots=True)
class Form:
    """A form as files, named as in the bundle."""

    target: ExportTarget
    files: dict[str, bytes]
    described: dict[str, Any]

    @property
    def name(self) -> str:
        """Of its target."""
        return self.target.name


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A format that can not hold the network, and why."""

    format: str
    why: str


def run_form(target: ExportTarget, files: Mapping[str, bytes], images: NDArray[np.float32]) -> NDArray[np.float32]:
    """`ExportTarget.logits`; what the system refuses, such as a temporary folder, is told like what is missing.

    Raises:
        CorruptFileError, MissingFileError, UnsupportedError: as `ExportTarget.logits`.
    """
    try:
        return target.logits(files, images)
    except OSError as error:
        raise UnsupportedError(
            f"{target.name} can not be run here ({type(error).__name__}: {error}): free memory and space, and set "
            "TMPDIR to a folder that can be written and from which programs may run"
        ) from error


def format_names() -> list[str]:
    """What may be asked for."""
    return [*TARGETS.names(), ALL]


def check_format(name: str) -> None:
    """Raise UnknownNameError if there is no such format."""
    if name not in format_names():
        raise UnknownNameError(TARGETS.kind, name, format_names())


def forms_of(folded: Folded, format_name: str, options: ExportOptions) -> tuple[list[Form], list[LeftOut]]:
    """The forms of a network, that which most people load first, and what could not be made of `ALL`.

    Raises:
        UnknownNameError: there is no such format.
        UnsupportedError: the format can not hold the network, or of `ALL` none can.
    """
    check_format(format_name)
    if format_name != ALL:
        return [_form(folded, TARGETS.get(format_name), options)], []
    found, left_out = [], []
    for name in sorted(TARGETS.names(), key=lambda name: name != _MAIN):
        try:
            found.append(_form(folded, TARGETS.get(name), options))
        except UnsupportedError as error:
            left_out.append(LeftOut(name, str(error)))
    if not found:
        whys = "; ".join(f"{one.format}: {one.why}" for one in left_out)
        raise UnsupportedError(f"no format can hold this network ({whys}): choose another candidate")
    return found, left_out


def _form(folded: Folded, target: ExportTarget, options: ExportOptions) -> Form:
    files = target.files(folded, options)
    return Form(target, files, target.described(folded, files))
