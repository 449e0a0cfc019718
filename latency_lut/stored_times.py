"""What calls took, on disk while and after they are measured: what can be gone on from, and where it holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitfront.latency_lut.bundle.profile import Samples, Times, summary
from bitfront.latency_lut.table import InvalidTableError, Table
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.files import read_json, write_json

MACHINE = ("cpu_model", "isa", "runtime", "runtime_version", "max_cpu_isa")
"""What a measured table's provenance says of where it holds."""
SETTINGS = ("threads", "batch", "precision")
"""What it says of the meaning of its numbers."""

_KIND = "bitfront-samples"
_VERSION = 1
_OWNER = ("device", "space_hash")


class ForeignTableWarning(UserWarning):
    """A table was measured on another machine, or with another version of the runtime."""


class StoredTimes:
    """Times of one device's calls in one space: a finished table at ``path``, samples of unfinished work beside.

    ``samples`` maps call keys to durations in ms; whoever adds some calls `keep`. Without a ``path`` nothing is
    kept.

    Raises:
        InvalidTableError: the table at ``path`` is another device's or space's, or has other settings.
        CorruptFileError: a file is not what this class wrote.
    """

    def __init__(self, path: Path | None, device: str, space_hash: str, provenance: Mapping[str, Any]) -> None:
        self._path, self._device, self._space_hash = path, device, space_hash
        self._provenance = dict(provenance)
        self._finished: Table | None = None
        self.samples: Samples = {}
        if path is None:
            return
        self._partial = path.with_name(f"{path.stem}.partial.json")
        if path.is_file():
            self._finished = Table.load(path, device, space_hash)
            self._check_settings(self._finished)
        if self._partial.is_file():
            self.samples.update(self._begun())

    def finished(self, keys: Iterable[str]) -> Table | None:
        """The table that is there, if it has all ``keys``; with a warning where it is from elsewhere.

        Raises:
            InvalidTableError: it is from elsewhere and lacks keys, so that it can not be completed here.
        """
        if self._finished is None:
            return None
        missing = sum(key not in self._finished.entries for key in keys)
        foreign = differences(self._finished.provenance, self._provenance, MACHINE)
        if foreign and missing:
            raise InvalidTableError(
                f"{self._path} lacks {missing} blocks and was measured on another machine or version ({foreign}): "
                "delete it, or keep the new table in another file"
            )
        if foreign:
            warn_if_foreign(self._finished, self._provenance, str(self._path))
            return self._finished
        return None if missing or self._is_rougher(self._finished.provenance) else self._finished

    def times(self) -> dict[str, Times]:
        """All that is known: of the finished table's calls, and of those with samples."""
        known = {} if self._finished is None else {k: Times(**row) for k, row in self._finished.details.items()}
        return known | {key: summary(values) for key, values in self.samples.items()}

    def unknown(self, keys: Iterable[str]) -> list[str]:
        """Those of ``keys`` that the finished table does not know, or knows from too few rounds."""
        known: Mapping[str, Any] = {} if self._finished is None else self._finished.details
        return [key for key in keys if key not in known or self._is_rougher(known[key])]

    def keep(self) -> None:
        """Write the samples.

        Raises:
            StorageError: the file can not be written.
        """
        if self._path is not None:
            write_json(
                self._partial,
                {
                    "kind": _KIND,
                    "version": _VERSION,
                    "device": self._device,
                    "space_hash": self._space_hash,
                    "provenance": self._provenance,
                    "samples": self.samples,
                },
            )

    def finish(self, table: Table) -> None:
        """Store the finished table and drop the unfinished work."""
        if self._path is not None:
            table.save(self._path)
            self._partial.unlink(missing_ok=True)

    def _is_rougher(self, known: Mapping[str, Any]) -> bool:
        return int(known.get("rounds", 0)) < int(self._provenance["rounds"])

    def _begun(self) -> Samples:
        """Samples of an interrupted call; with a warning none where they were taken elsewhere or otherwise."""
        value = read_json(self._partial)
        try:
            if (value["kind"], value["version"]) != (_KIND, _VERSION):
                raise ValueError(f"kind {value['kind']!r} version {value['version']!r}")
            mine = {"device": self._device, "space_hash": self._space_hash, **self._provenance}
            other = differences({**value["provenance"], **value}, mine, (*_OWNER, *MACHINE, *SETTINGS))
            samples = {str(key): [float(one) for one in values] for key, values in value["samples"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptFileError(
                f"{self._partial} holds no samples of version {_VERSION} ({error!r}): delete it to measure again"
            ) from error
        if other:
            aside = self._partial.with_name(f"{self._path.stem if self._path else ''}.foreign.json")
            self._partial.replace(aside)
            warnings.warn(
                f"the unfinished profile {self._partial} was begun with {other}: all is measured anew, and what "
                f"was begun is in {aside}",
                ForeignTableWarning,
                stacklevel=4,
            )
            return {}
        return samples

    def _check_settings(self, table: Table) -> None:
        if other := differences(table.provenance, self._provenance, SETTINGS):
            raise InvalidTableError(
                f"{self._path} was measured with {other}: ask for the same, or keep the new table in another file"
            )


def warn_if_foreign(table: Table, provenance: Mapping[str, Any], called: str) -> None:
    """Warn (`ForeignTableWarning`) where a table was measured elsewhere than ``provenance`` says of here."""
    if foreign := differences(table.provenance, provenance, MACHINE):
        warnings.warn(
            f"{called} was measured on another machine or version ({foreign}), and may not hold here: "
            "delete it to measure again",
            ForeignTableWarning,
            stacklevel=4,
        )


def differences(there: Mapping[str, Any], here: Mapping[str, Any], names: Sequence[str]) -> str:
    """The names whose values differ, in words; empty where none does."""
    return ", ".join(
        f"{name} {there.get(name)!r}, here {here.get(name)!r}"
        for name in names
        if there.get(name) != here.get(name)
    )
