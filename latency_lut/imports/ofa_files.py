"""The files of Once-for-All's latency tables: read, and checked row by row."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bitfront.latency_lut.imports.base import refuse, repeated
from bitfront.latency_lut.imports.fields import bad_fields
from bitfront.latency_lut.table import InvalidTableError
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.files import read_bytes

_FIELDS = ("count", "mean", "std")
_ENDINGS = (".yaml", ".yml")
_N = "[1-9][0-9]*"
_SHAPE = f"{_N}x{_N}x{_N}"
_KEY = re.compile(
    f"(Conv|Conv_1|Conv_2|AvgPool2D)-input:{_SHAPE}-output:{_SHAPE}|Logits-input:{_SHAPE}-output:{_N}|"
    f"expanded_conv-input:{_SHAPE}-output:{_SHAPE}-expand:{_N}-kernel:{_N}-stride:{_N}-idskip:[01]-se:[01]-hs:[01]"
)
_IMAGE = re.compile(f"Conv-input:({_N})x\\1x{_N}-")
_RULE = (
    "Each key may come once at a resolution and reads as in 'expanded_conv-input:56x56x32-output:56x56x32-expand:"
    "128-kernel:3-stride:1-idskip:1-se:0-hs:0', 'Conv-input:224x224x3-output:112x112x24' or 'Logits-input:"
    "1x1x1280-output:1000'; a value is {count: at least 1, mean: milliseconds, std: milliseconds}; a file has the "
    "'Conv' row of each of its resolutions. Mend the files and import them again"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measured operator: ``count`` calls of ``mean_ms`` on average, with the standard deviation ``std_ms``."""

    file: str
    key: str
    count: float
    mean_ms: float
    std_ms: float


@dataclass(frozen=True)
class OfaFiles:
    """Rows by resolution (side of the input image in pixels) and key; ``total`` counts each row of a file once.

    ``digests``: name of a file to the SHA-256 of what is in it.
    """

    rows: Mapping[int, Mapping[str, Row]]
    total: int
    digests: Mapping[str, str]


def read_files(path: Path) -> OfaFiles:
    """The rows of a file, or of all YAML files in a folder.

    A file belongs to the resolutions of the images that its ``Conv`` rows take.

    Raises:
        MissingFileError: there is no such file, or none in the folder.
        InvalidTableError: a file is no YAML mapping, or there are bad rows.
    """
    offenders: list[str] = []
    rows: dict[int, dict[str, Row]] = {}
    digests: dict[str, str] = {}
    total = 0
    for file in _files(path):
        data = read_bytes(file)
        digests[file.name] = hashlib.sha256(data).hexdigest()
        raw, twice = _parsed(file, data)
        bad = [*twice, *_bad_rows(raw)]
        offenders += [f"{file.name}: {offender}" for offender in bad]
        if not bad:
            total += len(raw)
            offenders += _add(rows, file.name, raw)
    refuse(path, offenders, _RULE)
    return OfaFiles(rows, total, digests)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in _ENDINGS)
    if not files:
        raise MissingFileError(f"{path} has no file that ends in {' or '.join(_ENDINGS)}: give one per resolution")
    return files


class _Loader(yaml.SafeLoader):
    """Plain values, noting the keys that come twice in a mapping, of which YAML keeps the last."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.twice: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping of a node."""
        self.twice += repeated([key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def _parsed(file: Path, data: bytes) -> tuple[dict[Hashable, Any], list[str]]:
    try:
        loader = _Loader(data)
        value = loader.get_single_data()
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:  # PyYAML raises all
        raise InvalidTableError(
            f"{file} is no valid YAML ({error}): give a table in Once-for-All's form"
        ) from error
    if not isinstance(value, dict):
        raise InvalidTableError(f"{file} holds a {type(value).__name__}, not a mapping of rows. {_RULE}")
    return value, loader.twice


def _bad_rows(raw: Mapping[Hashable, Any]) -> Iterator[str]:
    yield from (f"key {key!r}" for key in raw if not isinstance(key, str) or not _KEY.fullmatch(key))
    bad = list(bad_fields(raw, _FIELDS))
    yield from bad
    if not bad:
        yield from (f"{key}: count is {row['count']}" for key, row in raw.items() if row["count"] < 1)
    if not any(_IMAGE.match(str(key)) for key in raw):
        yield "no 'Conv' row, which tells the resolution"


def _add(rows: dict[int, dict[str, Row]], file: str, raw: Mapping[Hashable, Any]) -> Iterator[str]:
    """Add a file's rows to those of its resolutions; yields the keys that another file has there."""
    of_file = {
        str(key): Row(file, str(key), float(row["count"]), float(row["mean"]), float(row["std"]))
        for key, row in raw.items()
    }
    for resolution in sorted({int(found[1]) for key in of_file if (found := _IMAGE.match(key))}):
        there = rows.setdefault(resolution, {})
        for key in sorted(of_file.keys() & there.keys()):
            yield f"{file}: {key} is in {there[key].file} too, at resolution {resolution}"
        there.update(of_file)
