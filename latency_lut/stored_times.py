"""Block times on disk while and after they are measured: what can be gone on from, and what it was measured on."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.table import InvalidTableError, Table

LATENCY = "latency_ms"
MACHINE = ("cpu_model", "isa", "runtime", "runtime_version")
"""What a measured table's provenance says of where it holds."""
SETTINGS = ("threads", "batch")
"""What it says of the meaning of its numbers."""

_QUARTILES = (25, 50, 75)


class ForeignTableWarning(UserWarning):
    """A table was measured on another machine, or with another version of the runtime."""


class StoredTimes:
    """The times of one device's blocks in one space: a finished table at ``path``, unfinished work beside it.

    ``details`` maps an op key to its raw quartiles in ms, the runtime's call included, and the rounds behind them.

    Raises:
        InvalidTableError: the table at ``path`` is another device's or space's, or has other settings.
        CorruptFileError: a file is not what this class wrote.
    """

    def __init__(self, path: Path, device: str, space_hash: str, provenance: Mapping[str, Any]) -> None:
        self._path, self._device, self._space_hash = path, device, space_hash
        self._partial = path.with_name(f"{path.stem}.partial.json")
        self._provenance = dict(provenance)
        self._finished = Table.load(path, device, space_hash) if path.is_file() else None
        self.details: dict[str, Mapping[str, Any]] = {}
        if self._finished is not None:
            self._check_settings(self._finished)
            self.details.update(self._finished.details)
        if self._partial.is_file():
            table = Table.load(self._partial, device, space_hash)
            if not _differences(table.provenance, self._provenance, MACHINE + SETTINGS):
                self.details.update(table.details)

    def finished(self, keys: Iterable[str]) -> Table | None:
        """The table that is there, if it has all ``keys``; with a warning where it is from elsewhere.

        Raises:
            InvalidTableError: it is from elsewhere and lacks keys, so that it can not be completed here.
        """
        if self._finished is None:
            return None
        missing = sum(key not in self._finished.entries for key in keys)
        foreign = _differences(self._finished.provenance, self._provenance, MACHINE)
        if foreign and missing:
            raise InvalidTableError(
                f"{self._path} lacks {missing} blocks and was measured on another machine or version ({foreign}): "
                "delete it, or keep the new table in another file"
            )
        if foreign:
            warnings.warn(
                f"{self._path} was measured on another machine or version ({foreign}), and may not hold here: "
                "delete it to measure again",
                ForeignTableWarning,
                stacklevel=3,
            )
        return None if missing else self._finished

    def add(self, keys: Sequence[str], samples: NDArray[np.float64]) -> None:
        """Keep samples in ms, shape (n, rounds), of n blocks, on disk too."""
        quartiles = np.percentile(samples, _QUARTILES, axis=1).T
        for key, row in zip(keys, quartiles.tolist(), strict=True):
            self.details[key] = {"quartiles_ms": row, "rounds": samples.shape[1]}
        costs = {key: {LATENCY: self.typical_ms(key)} for key in self.details}
        raw = Table(
            self._device, self._space_hash, (LATENCY,), costs, self._provenance, details=self.details
        )  # fmt: skip
        raw.save(self._partial)

    def typical_ms(self, key: str) -> float:
        """The raw time of a block that counts: the lower quartile."""
        return float(self.details[key]["quartiles_ms"][0])

    def finish(self, table: Table) -> None:
        """Store the finished table and drop the unfinished one."""
        table.save(self._path)
        self._partial.unlink(missing_ok=True)

    def _check_settings(self, table: Table) -> None:
        if other := _differences(table.provenance, self._provenance, SETTINGS):
            raise InvalidTableError(
                f"{self._path} was measured with {other}: ask for the same, or keep the new table in another file"
            )


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(
        f"{name} {there.get(name)!r}, here {here[name]!r}" for name in names if there.get(name) != here[name]
    )
