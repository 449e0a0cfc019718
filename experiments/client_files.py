"""Files that a client fetches: kept only when they are what was promised."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx2 as httpx

from bitfront.experiments.client_errors import NoAnswerError, raise_for
from bitfront.experiments.service.models import ExportAnswer
from bitfront.supernet.errors import CorruptFileError, UnsupportedError


def fetched(http: httpx.Client, export: ExportAnswer, path: Path) -> ExportAnswer:
    """Fetch an export's file to ``path``.

    Raises:
        UnsupportedError: the export failed.
        CorruptFileError: what came is not what was exported.
        StorageError: ``path`` can not be written.
    """
    # It takes torch with it, which all else of a client does without.
    from bitfront.supernet.files import write_bytes

    if export.state != "ready" or export.file is None:
        raise UnsupportedError(f"candidate {export.candidate} was not exported: {export.error}")
    try:
        answer = http.get(export.file)
    except httpx.TransportError as error:
        raise NoAnswerError(f"{http.base_url} does not answer ({error}): start it") from error
    raise_for(answer)
    if hashlib.sha256(answer.content).hexdigest() != export.sha256:
        raise CorruptFileError(f"what came of {export.file} is not what was exported: fetch it again")
    write_bytes(path, answer.content)
    return export
