"""Files that a client fetches: kept only when they are what was promised."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx

from bitfront.experiments.bundle.names import SUMS, read_sums
from bitfront.experiments.client_errors import NoAnswerError
from bitfront.experiments.service.models import ExportAnswer
from bitfront.supernet.errors import CorruptFileError, UnsupportedError


def fetched(
    ask: Callable[[str], httpx.Response], export: ExportAnswer, path: Path, whole: bool = False
) -> ExportAnswer:
    """Fetch an export's file, or with ``whole`` its bundle, to ``path``; ``ask`` gets what is at a path of the
    service, and tries again.

    Raises:
        As ``ask``.
        UnsupportedError: the export failed, or has no bundle.
        CorruptFileError: what came is not what was exported.
        StorageError: ``path`` can not be written.
    """
    # It takes torch with it, which all else of a client does without.
    from bitfront.supernet.files import write_bytes

    place = export.bundle if whole else export.file
    if export.state != "ready" or place is None:
        why = export.error or "it has no bundle, export it again"
        raise UnsupportedError(f"candidate {export.candidate} was not exported: {why}")
    # A whole address would be asked with the token, wherever it leads.
    if not place.startswith("/") or place.startswith("//"):
        raise NoAnswerError(f"{place!r} is no path of the service: check the URL")
    content = ask(place).content
    if export.sha256 not in ({_digest(content)} if place == export.file else set(_digests(content))):
        raise CorruptFileError(f"what came of {place} is not what was exported: fetch it again")
    write_bytes(path, content)
    return export


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digests(bundle: bytes) -> Iterator[str]:
    """Of every file in a bundle, which is a zip file; of none where it is not whole by its own sums."""
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            found = {name: _digest(archive.read(name)) for name in archive.namelist()}
            sums = read_sums(archive.read(SUMS).decode())
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError):
        return
    found.pop(SUMS)
    if found == sums:
        yield from found.values()
