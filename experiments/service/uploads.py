"""Files that are sent: taken piece by piece, read by a process of its own, kept whole or not."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from bitfront.experiments.device_places import imported_path, is_device_name
from bitfront.experiments.service.context import Service
from bitfront.experiments.service.jobs import JobError, JobFailedError
from bitfront.experiments.service.limits import too_large
from bitfront.experiments.service.machine_models import ImportedTable, UploadedPredictor
from bitfront.experiments.service.refusals import InvalidRequestError, UnavailableError
from bitfront.experiments.store.errors import ConflictError
from bitfront.experiments.uploaded_predictors import (
    UnusableError,
    facts_of,
    is_predictor_name,
    keep,
    predictor_file,
)
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.imports import IMPORTERS
from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.spaces import SPACES

ENDINGS = {"csv": ".csv", "parquet": ".parquet", "apq": ".dict", "ofa": ".yaml"}
_PARQUET = b"PAR1"
_PREFIX = ".upload-"
_LEFT_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that was taken whole."""

    path: Path
    sha256: str
    size: int


@asynccontextmanager
async def taken(request: Request, service: Service, name: str) -> AsyncIterator[Sent]:
    """The body as a file called ``name``, on the home's disk and gone afterwards.

    Raises:
        TooLargeError: it is larger than is taken.
        InvalidRequestError: it is empty.
    """
    home, most = service.home, service.settings.most_upload
    await run_in_threadpool(home.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=home) as folder:
        path, digest, size = Path(folder, name), hashlib.sha256(), 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise too_large(most)
                digest.update(chunk)
                await run_in_threadpool(file.write, chunk)
        if not size:
            raise InvalidRequestError("the body is empty", "send the file's bytes", "body")
        yield Sent(path, digest.hexdigest(), size)


def sweep(home: Path) -> None:
    """Remove what uploads left that were broken off by the end of the service; another one may be at work."""
    for folder in home.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(folder)


def check_table(service: Service, name: str, space: str, format_name: str, replace: bool) -> None:
    """Refuse what can be refused before anything is sent.

    Raises:
        InvalidRequestError, UnknownNameError, ConflictError: a name can not be used, is unknown, or is taken.
    """
    if not is_device_name(name) or name in DEVICES.names():
        raise InvalidRequestError(
            f"{name!r} can not name an imported device",
            "use letters, digits, '-', '_' and '.', and no name of a device that comes with bitfront",
            "query.name",
        )
    # Only names: a file of a space would be read, and run, here.
    if space not in SPACES.names():
        raise UnknownNameError("space", space, SPACES.names())
    if format_name not in ENDINGS:
        raise UnknownNameError(IMPORTERS.kind, format_name, ENDINGS)
    if not replace and imported_path(service.home, name).exists():
        raise ConflictError(f"there is a device {name!r}: choose another name, or send replace=true")


def import_table(
    service: Service, sent: Sent, name: str, space: str, format_name: str, replace: bool
) -> ImportedTable:
    """Make a device of a table that was sent, read with limited memory and time.

    Raises:
        InvalidRequestError: the table can not be taken; nothing of it is kept.
        RateLimitError: as many as may be are read at once.
        UnavailableError: it was not read for a reason that is not in it; nothing of it is kept either.
    """
    _check_begin(sent, format_name)
    options = [f"--name={name}", f"--space={space}", f"--format={format_name}", *(["--force"] if replace else [])]
    try:
        service.jobs.run(["device", "import", *options, "--", str(sent.path)])
    except JobFailedError as error:
        rule, _, fix = str(error).partition(": ")
        raise UnavailableError(f"the table was not read: {rule}", fix, headers={"Retry-After": "30"}) from error
    except JobError as error:
        words = str(error).replace(sent.path.name, "the table")
        rule, _, fix = words.partition(": ")
        raise InvalidRequestError(rule, fix or "send a table as docs/devices.md describes it", "body") from error
    return ImportedTable(device=name, space=space, format=format_name, sha256=sent.sha256, size_bytes=sent.size)


def _check_begin(sent: Sent, format_name: str) -> None:
    """What is no table at first sight is not worth a process."""
    with sent.path.open("rb") as file:
        begin = file.read(2**16)
    if (begin[:4] == _PARQUET) != (format_name == "parquet"):
        raise InvalidRequestError(f"the body is no {format_name} file", "send one, or name its format", "body")
    if format_name != "parquet" and b"\x00" in begin:
        raise InvalidRequestError("the body is no text", "send a text file in UTF-8", "body")


def uploaded_path(home: Path, name: str) -> Path:
    """Where the predictor of a name is, or would be.

    Raises:
        InvalidRequestError: it is no name.
    """
    if not is_predictor_name(name):
        rule = f"{name!r} can not name a predictor"
        raise InvalidRequestError(rule, "use letters, digits, '-', '_' and '.', a letter or digit first", "name")
    return predictor_file(home, name)


def keep_predictor(service: Service, sent: Sent, name: str, replace: bool) -> UploadedPredictor:
    """Keep a predictor that was sent, if it is one.

    Raises:
        InvalidRequestError: it is none.
        ConflictError: there is one of this name.
    """
    try:
        facts = facts_of(sent.path)
    except UnusableError as error:
        raise InvalidRequestError(
            f"the body is no predictor that can be used ({error})",
            "send a file that 'bitfront predictor fit' wrote",
            "body",
        ) from error
    keep(sent.path, service.home, name, facts, replace)
    return UploadedPredictor(id=name, kind=facts.kind, space=facts.space, sha256=sent.sha256, size_bytes=sent.size)
