"""Files that a client fetches: kept only when they are what was promised."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx

from bitfront.experiments.client_errors import NoAnswerError
from bitfront.experiments.service.models import ExportAnswer
from bitfront.supernet.errors import CorruptFileError, UnsupportedError


def fetched(ask: Callable[[str], httpx.Response], export: ExportAnswer, path: Path) -> ExportAnswer:
    """Fetch an export's file to ``path``; ``ask`` gets what is at a path of the service, and tries again.

    Raises:
        As ``ask``.
        UnsupportedError: the export failed.
        CorruptFileError: what came is not what was exported.
        StorageError: ``path`` can not be written.
    """
    # It takes torch with it, which all else of a client does without.
    from bitfront.supernet.files import write_bytes

    if export.state != "ready" or export.file is None:
        raise UnsupportedError(f"candidate {export.candidate} was not exported: {export.error}")
    # A whole address would be asked with the token, wherever it leads.
    if not export.file.startswith("/") or export.file.startswith("//"):
        raise NoAnswerError(f"{export.file!r} is no path of the service: check the URL")
    answer = ask(export.file)
    if hashlib.sha256(answer.content).hexdigest() != export.sha256:
        raise CorruptFileError(f"what came of {export.file} is not what was exported: fetch it again")
    write_bytes(path, answer.content)
    return export
