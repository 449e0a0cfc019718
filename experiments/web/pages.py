"""All pages together."""

from __future__ import annotations

from fastapi import APIRouter

from bitfront.experiments.web import (
    assets,
    candidate_page,
    compare_page,
    devices_page,
    experiment_page,
    experiments_page,
    new_page,
    predictors_page,
    sign_in_page,
)


def routes() -> APIRouter:
    """The routes of all pages and of what they load."""
    router = APIRouter(include_in_schema=False)
    # The page of a new experiment before that of one that is called so.
    for module in (
        assets, sign_in_page, experiments_page, new_page, experiment_page, candidate_page, compare_page,
        devices_page, predictors_page,
    ):  # fmt: skip
        router.include_router(module.router)
    return router
