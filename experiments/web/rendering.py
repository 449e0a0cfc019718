"""Templates become pages. Everything that comes from a user or a file is escaped; no page names another host."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bitfront.experiments.service.auth import Principal
from bitfront.experiments.service.sessions import CSRF_FIELD
from bitfront.experiments.service.told import file_names_only
from bitfront.experiments.tables import took
from bitfront.experiments.web.assets import asset_path
from bitfront.experiments.web.axes import NOTHING

_TEMPLATES = Path(__file__).parent / "templates"
_BITS = ((2, "b2"), (3, "b4"), (4, "b4"), (6, "b6"), (8, "b8"), (16, "b16"))


def page(
    request: Request, template: str, principal: Principal | None = None, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page of a template. It has ``can_write``, and ``csrf`` for its forms."""
    session = principal.session if principal else None
    shared = {
        "path": request.url.path,
        "who": principal.name if principal else "",
        "signed_in": session is not None,
        "can_write": principal is not None and "write" in principal.scopes,
        "csrf_field": CSRF_FIELD,
        "csrf": session.csrf_token if session else "",
    }
    return HTMLResponse(environment().get_template(template).render({**shared, **values}), status)


@cache
def environment() -> Environment:
    """What templates may use."""
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"moment": moment, "took": took, "grouped": grouped, "bits_class": bits_class, "flat": flat}
    made.filters["without_folders"] = file_names_only
    made.globals |= {"asset": asset_path}
    return made


def moment(value: datetime | None) -> str:
    """``2026-11-27 10:20 UTC``: the same for everybody; scripts show it in the reader's own time."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if value else NOTHING


def grouped(value: int) -> str:
    """``10,000``."""
    return f"{value:,}"


def bits_class(bits: int) -> str:
    """The class that colours a bit-width; the number stands beside the colour always."""
    return next((name for most, name in _BITS if bits <= most), "b32")


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """A nested mapping as (dotted name, value) pairs."""
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            pairs += flat(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", value))
    return pairs
