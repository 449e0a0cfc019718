"""Launching an experiment: a form and its spec as YAML, each in step with the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, Field

from bitfront.experiments.service.auth import Principal, Writer, form_needs
from bitfront.experiments.service.context import Served, Service
from bitfront.experiments.service.routes.experiments import create
from bitfront.experiments.service.specs import MOST_YAML, SOURCE, checked, checked_text, storable
from bitfront.experiments.service.told import file_names_only
from bitfront.experiments.spec import Problem, SpecError
from bitfront.experiments.spec_yaml import read_mapping
from bitfront.experiments.web import spec_text
from bitfront.experiments.web.page_route import PageRoute
from bitfront.experiments.web.rendering import page
from bitfront.experiments.web.spec_fields import spec_fields, spec_parts, suggestions
from bitfront.supernet.errors import BitfrontError, CorruptFileError, StorageError

router = APIRouter(route_class=PageRoute, include_in_schema=False)
FormWriter = Annotated[Principal, Depends(form_needs("write"))]
_LONGEST = MOST_YAML
_NOT_THEIRS = (StorageError, CorruptFileError)  # what the service itself has trouble with
_FROM_FIELDS = "from_fields"
_BEFORE, _IN_STEP = "before", "in_step"
"""The YAML that a page was shown with; in its place, that the page's script has the fields in the YAML."""


class Draft(BaseModel):
    """What is in the page: the YAML, and by path the texts of those fields that are newer than the YAML."""

    yaml: str = Field(max_length=_LONGEST)
    fields: dict[str, str] | None = None


@router.get("/experiments/new")
def new(request: Request, service: Served, who: Writer, like: str = "") -> Response:
    """The form; ``like``: the experiment whose spec is a beginning."""
    values: Mapping[Any, Any] = read_mapping(spec_text.START, SOURCE)
    text = spec_text.START
    if like:
        values = spec_text.given_of(service.store.get(like).spec, service.home)
        text = spec_text.yaml_of(values)
    return _page(request, service, who, text, spec_text.texts_of(values), [])


@router.post("/experiments/new")
async def launch(request: Request, service: Served, who: FormWriter) -> Response:
    """Queue what the YAML says; where fields say something newer, they are first taken into it and shown."""
    form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    return await run_sync(_answered, request, service, who, form, limiter=service.parsing)


@router.post("/experiments/new/check")
async def check(draft: Draft, service: Served, _: Writer) -> JSONResponse:
    """For the page's script: YAML, fields and problems, of whichever was changed; nothing is launched."""
    return JSONResponse(await run_sync(_looked_at, service, draft, limiter=service.parsing))


def _answered(request: Request, service: Service, who: Principal, form: Mapping[str, str]) -> Response:
    text = _unix(form.get(spec_text.YAML_FIELD, ""))
    before = _unix(form.get(_BEFORE, text))
    newer = {} if _IN_STEP in form else spec_text.newer_texts(form, before if len(before) <= _LONGEST else text)
    try:
        values = _read(text)
    except SpecError as error:
        kept = {field.path: form[field.path] for field in spec_fields() if field.path in form}
        return _page(request, service, who, text, kept, spec_text.problems_of(error), status=422)
    merged = spec_text.with_texts(values, newer)
    is_newer = merged != spec_text.with_texts(values, {})
    if is_newer:
        text = spec_text.yaml_of(merged)
    if not is_newer and _FROM_FIELDS not in form:
        return _launched(request, service, who, text)
    problems = _problems_in(merged, service)
    shown = {**spec_text.texts_of(merged), **newer}
    return _page(request, service, who, text, shown, problems, 422 if problems else 200, is_merged=is_newer)


def _launched(request: Request, service: Service, who: Principal, text: str) -> Response:
    values = _read(text)
    try:
        experiment = create(service, checked(values, service.settings))
    except BitfrontError as error:
        if isinstance(error, _NOT_THEIRS):
            raise
        texts = spec_text.texts_of(values)
        return _page(request, service, who, text, texts, _problems(error), status=422)
    return RedirectResponse(f"/experiments/{experiment.id}", status_code=303)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _read(text: str) -> dict[Any, Any]:
    if len(text) > _LONGEST:
        rule, fix = f"has {len(text):,} characters, and {_LONGEST:,} are the most", "write less"
        raise SpecError(SOURCE, [Problem(SOURCE, None, rule, fix)])
    return checked_text(read_mapping(text, SOURCE))


def _looked_at(service: Service, draft: Draft) -> dict[str, Any]:
    """``taken``: whether the YAML could be read, and says what the fields say."""
    try:
        values = _read(draft.yaml)
        checked_text(draft.fields or {})
    except SpecError as error:
        problems = spec_text.problems_of(error)
        return {"yaml": draft.yaml, "fields": storable(draft.fields or {}), "problems": problems, "taken": False}
    text, sent = draft.yaml, draft.fields or {}
    if draft.fields is not None:
        values = spec_text.with_texts(values, draft.fields)
        text = spec_text.yaml_of(values)
    texts = spec_text.texts_of(values)
    # A field of a section that the YAML has something else for: what was typed waits until that is mended.
    texts |= {path: typed for path, typed in sent.items() if typed.strip() and path not in texts}
    return {"yaml": text, "fields": texts, "problems": _problems_in(values, service), "taken": True}


def _problems_in(values: Mapping[Any, Any], service: Service) -> list[dict[str, str]]:
    try:
        checked(values, service.settings)
    except BitfrontError as error:
        if isinstance(error, _NOT_THEIRS):
            raise
        return _problems(error)
    return []


def _problems(error: BitfrontError) -> list[dict[str, str]]:
    if isinstance(error, SpecError):
        return spec_text.problems_of(error)
    return [{"field": spec_text.YAML_FIELD, "path": SOURCE, "text": file_names_only(str(error))}]


def _page(
    request: Request,
    service: Service,
    who: Principal,
    text: str,
    fields: Mapping[str, str],
    problems: list[dict[str, str]],
    status: int = 200,
    is_merged: bool = False,
) -> Response:
    at: dict[str, list[str]] = {}
    for one in problems:
        at.setdefault(one["field"], []).append(f"{one['path']}: {one['text']}")
    return page(
        request,
        "new.html",
        who,
        status,
        parts=spec_parts(),
        texts=fields,
        yaml=text,
        problems=problems,
        at=at,
        ids={field.path: field.id for field in spec_fields()},
        suggestions=suggestions(service.home),
        from_fields=_FROM_FIELDS,
        before=_BEFORE,
        is_merged=is_merged,
    )
