"""Files that pages load: style and scripts, under addresses that change when the files do."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from bitfront.experiments.service.refusals import NotFoundError

router = APIRouter(include_in_schema=False)
PREFIX = "/static"
_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent: ``packed`` is the same with gzip; ``digest`` begins its SHA-256."""

    content: bytes
    packed: bytes
    media_type: str
    digest: str


def asset_path(name: str) -> str:
    """The address of a file; it may be kept for good, since another content has another address."""
    return f"{PREFIX}/{asset(name).digest}/{name}"


@cache
def asset(name: str) -> Asset:
    """A file by its name; a name is looked up among those that are there, and never made into a path.

    Raises:
        NotFoundError: there is no such file.
    """
    path = _files().get(name)
    if path is None:
        raise NotFoundError(f"there is no file {name!r}", "load the page again", "path.name")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    return Asset(content, gzip.compress(content, 6, mtime=0), _TYPES[path.suffix], digest)


@router.api_route(PREFIX + "/{digest}/{name}", methods=["GET", "HEAD"])
def send(digest: str, name: str, request: Request) -> Response:
    """A file; the newest, whatever the address says of its content."""
    found = asset(name)
    headers = {"Cache-Control": _FOREVER if digest == found.digest else "no-cache", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, media_type=found.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(found.content, media_type=found.media_type, headers=headers)


@cache
def _files() -> dict[str, Path]:
    return {path.name: path for path in _FOLDER.iterdir() if path.suffix in _TYPES}
