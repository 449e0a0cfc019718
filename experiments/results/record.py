"""What one benchmark found, or how it failed, as a file: the page is written from these alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bitfront.experiments.benchmarks.result import Goal, judged
from bitfront.experiments.results.conditions import Conditions
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.files import read_bytes, read_json, write_json

_FORMAT = "bitfront-result-1"
_NAME = r"^[A-Za-z0-9_-]+$"


class Found(BaseModel):
    """Figures of a benchmark over ``seeds`` seeds, its goals, and what is to be known beside them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seeds: int = Field(ge=1)
    figures: Mapping[str, float]
    goals: tuple[Goal, ...]
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _goals_are_judged_by_the_figures(self) -> Self:
        for goal in self.goals:
            if judged(self.figures, f"{goal.figure} {goal.goal}") != goal:
                raise ValueError(f"goal {goal.figure} {goal.goal} is not what the figures say of it")
        return self


class Record(BaseModel):
    """One run of a benchmark.

    Attributes:
        bench, quick, command: what was run; the command is for people to do it again.
        asked_seeds: how many seeds it was asked for. A benchmark may have its own number, see ``found``.
        conditions: code, versions and machine.
        started_at: when, with a time zone.
        seconds, cpu_seconds: how long it took, and of how much processor.
        jobs: how many benchmarks were run at once.
        peak_memory_bytes: the most that one of its processes had in memory.
        error: why it found nothing; None where it did.
        found: None where it failed.
        pictures: file name, beside this file, to SHA-256.
        kept: what had changed when it was kept all the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bench: str = Field(pattern=_NAME)
    quick: bool
    command: str
    asked_seeds: int = Field(ge=1)
    conditions: Conditions
    started_at: AwareDatetime
    seconds: float = Field(ge=0)
    cpu_seconds: float = Field(ge=0)
    jobs: int = Field(default=1, ge=1)
    peak_memory_bytes: int = Field(ge=0)
    error: str | None = None
    found: Found | None = None
    pictures: Mapping[str, str] = Field(default_factory=dict)
    kept: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _found_something_or_failed(self) -> Self:
        if (self.error is None) == (self.found is None):
            raise ValueError("it must either have found something or have an error")
        for name in self.pictures:
            if Path(name).name != name or not name.startswith(f"{self.bench}-"):
                raise ValueError(f"picture {name!r} is not named after the benchmark")
        return self

    def write(self, folder: Path) -> None:
        """Write ``BENCH.json`` into a folder; pictures are there already.

        Raises:
            StorageError: it can not be written.
        """
        values = self.model_dump(mode="json")
        write_json(result_path(folder, self.bench), {"format": _FORMAT, **values, "sha256": _digest(values)})

    @classmethod
    def read(cls, folder: Path, bench: str) -> Self | None:
        """What a folder holds of a benchmark, pictures included; None where there is nothing.

        Raises:
            CorruptFileError: it is no such file, it was changed, or a picture is missing or another one.
        """
        path = result_path(folder, bench)
        if not path.exists():
            return None
        record = cls._parsed(path, read_json(path))
        if record.bench != bench:
            raise CorruptFileError(f"{path} tells of {record.bench!r}: delete it, and run {bench} again")
        record._check_pictures(folder)
        return record

    @classmethod
    def _parsed(cls, path: Path, values: Any) -> Self:
        if not isinstance(values, dict) or values.get("format") != _FORMAT:
            raise CorruptFileError(f"{path} is no {_FORMAT}: delete it, and run the benchmark again")
        own = {name: value for name, value in values.items() if name not in ("format", "sha256")}
        if _digest(own) != values.get("sha256"):
            raise CorruptFileError(f"{path} was changed after it was written: delete it, and run it again")
        try:
            return cls.model_validate(own)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise CorruptFileError(f"{path} is no result ({where}: {first['msg']}): delete it") from error

    def _check_pictures(self, folder: Path) -> None:
        for name, digest in self.pictures.items():
            path = folder / name
            if not path.is_file():
                raise CorruptFileError(f"{path} is missing: run {self.bench} again")
            if picture_digest(read_bytes(path)) != digest:
                raise CorruptFileError(f"{path} is not the picture that was drawn: run {self.bench} again")


def result_path(folder: Path, bench: str) -> Path:
    """Where a folder of results keeps a benchmark's."""
    return folder / f"{bench}.json"


def picture_digest(image: bytes) -> str:
    """What a record knows a picture by."""
    return hashlib.sha256(image).hexdigest()


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()
