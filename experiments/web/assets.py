"""Files that pages load: style, scripts and Plotly, under addresses that change when the files do."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request, Response

from bitfront.experiments.service.refusals import NotFoundError

router = APIRouter(include_in_schema=False)
PREFIX = "/static"
_FOLDER = Path(__file__).parent / "static"
_PLOTLY = "plotly.min.js"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"
_DIGITS = 12
_STYLE_ID = re.compile(r'getElementById\("([0-9a-f]{64})"\)')


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


@router.get(PREFIX + "/{digest}/{name}")
def send(digest: str, name: str, request: Request) -> Response:
    """A file; the newest, whatever the address says of its content."""
    found = asset(name)
    headers = {"Cache-Control": _FOREVER if digest == found.digest else "no-cache", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, media_type=found.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(found.content, media_type=found.media_type, headers=headers)


@cache
def plotly_style_ids() -> tuple[str, ...]:
    """The ids of style elements that Plotly would add to a page, which the content security policy refuses.

    It leaves out those that are there, and adds its rules to a sheet with the id ``plotly.js-style-global``.
    """
    text = asset(_PLOTLY).content.decode()
    return ("plotly.js-style-global", *dict.fromkeys(_STYLE_ID.findall(text)))


@cache
def _files() -> dict[str, Path]:
    own = {path.name: path for path in _FOLDER.iterdir() if path.suffix in _TYPES}
    plotly = find_spec("plotly")  # not imported, which would take half a second
    assert plotly is not None
    assert plotly.origin is not None
    return {**own, _PLOTLY: Path(plotly.origin).parent / "package_data" / _PLOTLY}
