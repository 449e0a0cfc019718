"""The web pages: server-rendered, with the same words and numbers as the command line; nothing from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import APIRouter, Request, Response

__all__ = ["error_page", "routes"]


def routes() -> APIRouter:
    """The routes of all pages and of what they load, for `create_app`."""
    from bitfront.experiments.web.pages import routes as made

    return made()


def error_page(request: Request, answer: Response) -> Response:
    """The service's answer to an error, in its one form, as a page."""
    from bitfront.experiments.web.page_route import as_page

    return as_page(request, answer)
