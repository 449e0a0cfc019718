"""Exports as they are sent: only what still is what was exported."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO
from urllib.parse import quote

from fastapi.responses import StreamingResponse

from bitfront.experiments.bundle.archive import bundle_around, bundle_content, write_zip
from bitfront.experiments.bundle.names import SUMS, read_sums
from bitfront.experiments.service.refusals import NotFoundError
from bitfront.experiments.store.errors import ConflictError
from bitfront.experiments.store.records import ExportRecord
from bitfront.supernet.errors import CorruptFileError, MissingFileError

_CHUNK = 2**20
_IN_MEMORY = 32 << 20
_LOOKS = 3


def is_bundle(record: ExportRecord) -> bool:
    """Whether the model is several files, so that its bundle stands for it."""
    return Path(record.path).is_dir()


def bundle_of(record: ExportRecord) -> Path | None:
    """The folder of an export's bundle; None where it is gone, or was exported before there were bundles."""
    path = Path(record.path)
    return path if is_bundle(record) else bundle_around(path)


def size_of(record: ExportRecord) -> int | None:
    """Bytes of its file, or of all files of its bundle; None where it is gone.

    Another export of it may put a new bundle in its place meanwhile: that one is then looked at.
    """
    path = Path(record.path)
    for _ in range(_LOOKS):
        with suppress(OSError, ValueError):
            return _bundle_size(path) if path.is_dir() else path.stat().st_size
    return None


def _bundle_size(folder: Path) -> int:
    """Raises OSError where a file is gone, ValueError where the sums are none."""
    names = read_sums((folder / SUMS).read_text(encoding="utf-8"))
    return sum((folder / name).stat().st_size for name in (SUMS, *names))


def sent_model(record: ExportRecord, name: str) -> StreamingResponse:
    """The file of an export, or its bundle as a zip file where it is several.

    Raises:
        NotFoundError: it is gone.
        ConflictError: it was changed since.
    """
    if is_bundle(record):
        return _sent(_zipped(Path(record.path)), f"{name}.zip", record.sha256)
    try:
        file = Path(record.path).open("rb")  # noqa: SIM115 - closed when all of it is sent
    except OSError as error:
        raise _gone() from error
    return _sent(file, f"{name}{Path(record.path).suffix}", record.sha256)


def sent_bundle(record: ExportRecord, name: str) -> StreamingResponse:
    """The bundle of an export as a zip file.

    Raises:
        NotFoundError: it is gone, or it was exported before there were bundles.
        ConflictError: it was changed since.
    """
    folder = bundle_of(record)
    if folder is None:
        raise NotFoundError("the export has no bundle", "export it again", "path.candidate_id")
    if is_bundle(record):
        return _sent(_zipped(folder), f"{name}.zip", record.sha256)
    model = Path(record.path).relative_to(folder).as_posix()
    return _sent(_zipped(folder, (model, record.sha256)), f"{name}.zip", None)


def _zipped(folder: Path, *recorded: tuple[str, str]) -> IO[bytes]:
    made = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed when all of it is sent
    try:
        write_zip(bundle_content(folder, recorded), made)
    except MissingFileError as error:
        raise _gone() from error
    except CorruptFileError as error:
        raise _changed() from error
    made.seek(0)
    return made


def _sent(file: IO[bytes], name: str, expected: str | None) -> StreamingResponse:
    """The very file that is checked, whatever is put in its place meanwhile."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    if expected not in (None, digest.hexdigest()):
        file.close()
        raise _changed()
    length = file.tell()
    file.seek(0)
    headers = {
        "Content-Length": str(length),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        "ETag": f'"{digest.hexdigest()}"',
        "X-Content-SHA256": digest.hexdigest(),
        "Repr-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:",
    }
    return StreamingResponse(_chunks(file), media_type="application/octet-stream", headers=headers)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with closing(file):
        while chunk := file.read(_CHUNK):
            yield chunk


def _gone() -> NotFoundError:
    return NotFoundError("the export's file is gone", "export it again", "path.candidate_id")


def _changed() -> ConflictError:
    return ConflictError("the export's file is not what was exported any more: export it again")
