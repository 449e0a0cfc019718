"""Predictors' files as somebody names them: what is read may be none, what would be replaced may be none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bitfront.predictors import load_predictor, stored
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.predictors.stored import OtherPredictionsError
from bitfront.supernet.errors import BitfrontError, CorruptFileError, MissingFileError, StorageError
from bitfront.supernet.files import read_json
from bitfront.supernet.space import SearchSpace

_REMEDY = "choose another name with --output, or move that file away"


def loaded(path: Path, space: SearchSpace) -> AccuracyPredictor:
    """`load_predictor`, with `users_file`'s words.

    Raises:
        MissingFileError, CorruptFileError: as `users_file`. OtherSpaceError: it was made for another space.
    """
    with users_file(path):
        return load_predictor(path, space)


@contextmanager
def users_file(path: Path) -> Iterator[None]:
    """What is wrong with a predictor's file, in words for whoever named it: it may be another file of theirs.

    Raises:
        MissingFileError, CorruptFileError: it is missing, or is no predictor that can be read.
    """
    try:
        yield
    except MissingFileError as error:
        raise MissingFileError(f"{path} is missing: 'bitfront predictor fit' writes such files") from error
    except CorruptFileError as error:
        if isinstance(error.__cause__, OtherPredictionsError):
            raise
        # "delete it" is the remedy of a cache; this may be the only copy of something else.
        problem = str(error).rpartition(":")[0]
        raise CorruptFileError(f"{problem}: give a file that 'bitfront predictor fit' wrote") from error


def check_replaceable(path: Path) -> None:
    """Refuse to write a predictor over anything but a predictor, at ``path`` and at the manifest beside it.

    Raises:
        StorageError: a file there is none of ours.
    """
    if path.exists():
        try:
            stored.read(path)
        except BitfrontError as error:
            raise StorageError(f"{path} is there and is no predictor: {_REMEDY}") from error
    beside = path.with_suffix(".json")
    if beside.exists() and not _is_manifest(beside):
        raise StorageError(f"{beside}, where the manifest would be written, holds something else: {_REMEDY}")


def _is_manifest(path: Path) -> bool:
    with suppress(BitfrontError):
        about = read_json(path)
        return isinstance(about, dict) and about.get("format") == stored.FORMAT
    return False
