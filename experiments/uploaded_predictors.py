"""Predictors that were sent to the service: where they are, and what they say of themselves.

What a file says stands in a small JSON beside it, so that listing them reads no tensors.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, Strict, ValidationError, model_validator

from bitfront.experiments.store.errors import ConflictError
from bitfront.supernet.errors import BitfrontError, CorruptFileError, MissingFileError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")
_ENDING = ".safetensors"
_MOST_NAMED = 3
_BELONG_TOGETHER = {"top_k_regret": "top_k", "interval_coverage": "mean_half_width"}
_Text = Annotated[str, Field(max_length=200)]


class UnusableError(BitfrontError):
    """A file is no predictor that can be used; the message says why, without the file's name."""


class Manifest(BaseModel):
    """What a predictor's file must say of itself, as `stored.manifest` has it; more may stand there."""

    model_config = ConfigDict(strict=True)

    kind: _Text
    how: _Text
    space: _Text
    space_hash: _Text
    genes: list[Annotated[tuple[str, list[int | float | str]], Strict(False)]]  # JSON has no tuples
    earlier_pairs: int = Field(ge=0)
    options: dict[str, bool | int | float | str | None]
    values: dict[str, Any]
    metrics: dict[_Text, FiniteFloat] = Field(default={}, max_length=100)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name, other in _BELONG_TOGETHER.items():
            if name in self.metrics and other not in self.metrics:
                raise ValueError(f"metrics have {name}, but no {other}")
        return self


class UploadedFacts(BaseModel):
    """What is listed of a predictor that was sent, and what a spec that names it is checked by."""

    kind: str
    how: str
    space: str
    space_hash: str
    metrics: dict[str, FiniteFloat]
    sha256: str
    size_bytes: int


def is_predictor_name(text: str) -> bool:
    """Whether a text can name a predictor that is sent, and its file."""
    return _NAME.fullmatch(text) is not None


def predictors_folder(home: Path) -> Path:
    """Where predictors that were sent are."""
    return home / "predictors" / "uploaded"


def predictor_file(home: Path, name: str) -> Path:
    """Where the predictor of a name (see `is_predictor_name`) is, or would be."""
    return predictors_folder(home) / f"{name}{_ENDING}"


def facts_file(path: Path) -> Path:
    """Where the facts of a predictor's file are."""
    return path.with_name(path.name.removesuffix(_ENDING) + ".json")


def uploaded_names(home: Path) -> list[str]:
    """The predictors that were sent to a home, sorted."""
    names = (path.name.removesuffix(_ENDING) for path in predictors_folder(home).glob(f"*{_ENDING}"))
    return sorted(filter(is_predictor_name, names))


def facts_of(path: Path) -> UploadedFacts:
    """What a file says of itself, read whole and checked.

    Raises:
        UnusableError: it is no predictor, or lacks what one needs.
        MissingFileError: there is no such file.
    """
    from bitfront.predictors import PREDICTORS, stored

    try:
        about = Manifest.model_validate(stored.read(path)[1])
        if about.kind not in PREDICTORS.names():
            raise UnusableError(f"it is of kind {about.kind!r}: there are {', '.join(PREDICTORS.names())}")
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        places = [".".join(map(str, one["loc"])) or "metrics" for one in found[:_MOST_NAMED]]
        words = [f"{place}: {one['msg']}" for place, one in zip(places, found, strict=False)]
        raise UnusableError(f"its manifest is not as it should be ({'; '.join(words)})") from error
    except (CorruptFileError, RecursionError, AttributeError, TypeError, RuntimeError) as error:
        raise UnusableError("it is no file of a predictor") from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    said = about.model_dump(include={"kind", "how", "space", "space_hash", "metrics"})
    return UploadedFacts(**said, sha256=digest, size_bytes=path.stat().st_size)


def uploaded_facts(home: Path, name: str) -> UploadedFacts:
    """The facts of a predictor that was sent, out of the JSON beside it; made where that lacks.

    Raises:
        UnusableError: its file was damaged since, or is none.
        MissingFileError: there is none of this name.
    """
    path = predictor_file(home, name)
    if not is_predictor_name(name) or not path.is_file():
        raise MissingFileError(f"there is no predictor {name!r} here: send one to /api/v1/predictors")
    found = _written_facts(path)
    if found is None:  # the service was ended between the two files, or another one is just being kept
        with _alone(path.parent):
            found = _written_facts(path)
            if found is None:
                found = facts_of(path)
                _write(path, found)
    return found


def keep(sent: Path, home: Path, name: str, facts: UploadedFacts, replace: bool) -> None:
    """Move a file whose facts were read to where predictors are; ``replace``: in place of one of the same name.

    Raises:
        ConflictError: there is one of this name, and ``replace`` is False.
        StorageError: the disk does not take it.
    """
    path = predictor_file(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):
        if path.exists() and not replace:
            raise ConflictError(f"there is a predictor {name!r}: choose another name, or send replace=true")
        # Facts of another file must never stand beside this one: without any they are made anew.
        facts_file(path).unlink(missing_ok=True)
        sent.replace(path)
        _write(path, facts)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While nobody else, of this process or another, changes a folder; where it knows no locks, alike."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _written_facts(path: Path) -> UploadedFacts | None:
    try:
        return UploadedFacts.model_validate_json(facts_file(path).read_bytes())
    except (OSError, ValidationError):
        return None


def _write(path: Path, facts: UploadedFacts) -> None:
    from bitfront.supernet.files import write_json

    write_json(facts_file(path), facts.model_dump(mode="json"))
