"""The web pages: server-rendered, with the same words and numbers as the command line; nothing from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import APIRouter

__all__ = ["routes"]


def routes() -> APIRouter:
    """The routes of all pages and of what they load, for `create_app`."""
    from bitfront.experiments.web.pages import routes as made

    return made()
