"""Devices that can be named here, and the tables of what they cost."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from bitfront.experiments.device_facts import device_details, listed_devices
from bitfront.experiments.device_names import device_factory, needed_options
from bitfront.experiments.service.auth import Reader
from bitfront.experiments.service.context import Served
from bitfront.experiments.web.page_route import PageRoute
from bitfront.experiments.web.rendering import page

router = APIRouter(route_class=PageRoute, include_in_schema=False)
DeviceName = Annotated[str, Path(max_length=100)]


@router.get("/devices")
def devices(request: Request, service: Served, who: Reader) -> Response:
    """Every device, and every table that experiments used."""
    tables = service.store.tables()
    return page(request, "devices.html", who, devices=list(listed_devices(service.home)), tables=tables)


@router.get("/devices/{name}")
def device(name: DeviceName, request: Request, service: Served, who: Reader) -> Response:
    """One device: what it executes, and its tables."""
    missing = needed_options(device_factory(service.home, name))
    facts = None if missing else device_details(service.home, name, {})
    files = [{**one, "path": FilePath(one["path"]).name} for one in (facts or {"tables": []})["tables"]]
    tables = service.store.tables(name)
    return page(request, "device.html", who, name=name, facts=facts, files=files, tables=tables, missing=missing)
