"""Parquet with encoded images and labels, the common layout of data sets on hubs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from bitfront.supernet.data.dataset import DataError
from bitfront.supernet.data.readers.base import Content, Item, Reader
from bitfront.supernet.data.readers.layout import split_named

_IMAGE, _LABEL = ("image", "img"), ("label", "labels")
_ROWS_AT_ONCE = 256


class ParquetReader(Reader):
    """A .parquet, or a folder of ``train-00000-of-00002.parquet`` and so on, or of ``train/*.parquet``.

    Column ``image`` (or ``img``) holds encoded images, as bytes or as a struct with a field ``bytes``; column
    ``label`` whole numbers or names.
    """

    _read = 0

    def files(self) -> Iterator[Path]:
        """The files by name."""
        return iter(self._paths)

    def items(self) -> Iterator[Item]:
        """Rows, file by file; only a few hundred are held at once."""
        for path in self._paths:
            file = self._open(path)
            image, label = (self._column(path, file, names) for names in (_IMAGE, _LABEL))
            row = 0
            for batch in self._batches(path, file, [image, label]):
                for content, value in zip(batch[image].to_pylist(), batch[label].to_pylist(), strict=True):
                    self._read += 1
                    yield Item(f"{path.name} row {row}", self._split(path), value, _encoded(content))
                    row += 1

    def fraction(self) -> float:
        """By rows."""
        return self._read / max(1, self._rows)

    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes in the first file's hub metadata."""
        file = self._open(self._paths[0])
        label = self._column(self._paths[0], file, _LABEL)
        try:
            hub = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])
            names = hub["info"]["features"][label]["names"]
        except (KeyError, TypeError, ValueError):
            return None
        return tuple(map(str, names)) if isinstance(names, list) else None

    @cached_property
    def _paths(self) -> list[Path]:
        paths = sorted(self.path.rglob("*.parquet")) if self.path.is_dir() else [self.path]
        if not paths or not all(path.is_file() for path in paths):
            raise DataError(f"{self.path} is neither a .parquet nor a folder of such: give the path of one")
        return paths

    @cached_property
    def _rows(self) -> int:
        return sum(self._open(path).metadata.num_rows for path in self._paths)

    def _split(self, path: Path) -> str | None:
        """By the file's name up to a dash, or by a folder that it lies in below the source."""
        inside = path.relative_to(self.path).parts[:-1] if path != self.path else ()
        names = [path.stem.partition("-")[0], *inside]
        return next((split for name in names if (split := split_named(name))), None)

    def _open(self, path: Path) -> Any:
        import pyarrow
        from pyarrow import parquet

        try:
            return parquet.ParquetFile(path)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{path} can not be read as parquet ({error}): fetch it again") from error

    def _batches(self, path: Path, file: Any, columns: list[str]) -> Iterator[Any]:
        import pyarrow

        try:
            yield from file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{path} can not be read to its end ({error}): fetch it again") from error

    def _column(self, path: Path, file: Any, names: tuple[str, ...]) -> str:
        there = file.schema_arrow.names
        for name in names:
            if name in there:
                return name
        raise DataError(
            f"{path} has columns {', '.join(there)}, none of them is {names[0]!r}: rename the one meant"
        )


def _encoded(value: Any) -> Content:
    content = value.get("bytes") if isinstance(value, dict) else value
    return content if isinstance(content, bytes) else None
