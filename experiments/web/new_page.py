"""Launching an experiment: a form and its spec as YAML, each in step with the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, Field

from bitfront.experiments.service.auth import Principal, Writer, form_needs
from bitfront.experiments.service.context import Served, Service
from bitfront.experiments.service.routes.experiments import create
from bitfront.experiments.service.specs import SOURCE, checked
from bitfront.experiments.spec import SpecError
from bitfront.experiments.spec_yaml import read_mapping
from bitfront.experiments.web import spec_text
from bitfront.experiments.web.page_route import PageRoute
from bitfront.experiments.web.rendering import page
from bitfront.experiments.web.spec_fields import spec_fields, spec_parts, suggestions
from bitfront.supernet.errors import BitfrontError

router = APIRouter(route_class=PageRoute, include_in_schema=False)
FormWriter = Annotated[Principal, Depends(form_needs("write"))]
_LONGEST = 200_000
_FROM_FIELDS = "from_fields"


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
        values = _given(service.store.get(like).spec)
        text = spec_text.yaml_of(values)
    return _page(request, service, who, text, spec_text.texts_of(values), [])


@router.post("/experiments/new")
async def launch(request: Request, service: Served, who: FormWriter) -> Response:
    """Queue what the YAML says; or, where the fields' button was used, only take the fields into the YAML."""
    form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    text = form.get(spec_text.YAML_FIELD, "").replace("\r\n", "\n")
    if _FROM_FIELDS in form:
        fields = {field.path: form.get(field.path, "") for field in spec_fields()}
        draft = await run_in_threadpool(_looked_at, service, Draft(yaml=text, fields=fields))
        return _page(request, service, who, draft["yaml"], draft["fields"], draft["problems"])
    return await run_in_threadpool(_launched, request, service, who, text)


@router.post("/experiments/new/check")
def check(draft: Draft, service: Served, _: Writer) -> JSONResponse:
    """For the page's script: YAML, fields and problems, of whichever was changed; nothing is launched."""
    return JSONResponse(_looked_at(service, draft))


def _launched(request: Request, service: Service, who: Principal, text: str) -> Response:
    try:
        experiment = create(service, checked(read_mapping(text, SOURCE), service.settings))
    except BitfrontError as error:
        problems = _problems(error)
        return _page(request, service, who, text, _texts(text), problems, status=422)
    return RedirectResponse(f"/experiments/{experiment.id}", status_code=303)


def _looked_at(service: Service, draft: Draft) -> dict[str, Any]:
    """``taken``: whether the YAML could be read, and says what the fields say."""
    try:
        values = read_mapping(draft.yaml, SOURCE)
    except SpecError as error:
        problems = spec_text.problems_of(error)
        return {"yaml": draft.yaml, "fields": draft.fields or {}, "problems": problems, "taken": False}
    text = draft.yaml
    if draft.fields is not None:
        values = spec_text.with_texts(values, draft.fields)
        text = spec_text.yaml_of(values)
    try:
        checked(values, service.settings)
        problems = []
    except BitfrontError as error:
        problems = _problems(error)
    return {"yaml": text, "fields": spec_text.texts_of(values), "problems": problems, "taken": True}


def _problems(error: BitfrontError) -> list[dict[str, str]]:
    if isinstance(error, SpecError):
        return spec_text.problems_of(error)
    return [{"field": spec_text.YAML_FIELD, "path": SOURCE, "text": str(error)}]


def _texts(text: str) -> dict[str, str]:
    try:
        return spec_text.texts_of(read_mapping(text, SOURCE))
    except SpecError:
        return {}


def _given(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Of a stored spec, which has every default, what differs from them."""
    defaults = {field.path: field.default for field in spec_fields()}
    texts = spec_text.texts_of(spec)
    kept = {path: text for path, text in texts.items() if text not in (defaults[path], *_NOTHING)}
    return spec_text.with_texts({}, kept)


_NOTHING = ("null", "", "{}", "[]")


def _page(
    request: Request,
    service: Service,
    who: Principal,
    text: str,
    fields: Mapping[str, str],
    problems: list[dict[str, str]],
    status: int = 200,
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
    )
