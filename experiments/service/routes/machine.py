"""Devices, tables and predictors: what there is, and uploads of more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool

from bitfront.experiments.device_facts import device_details, listed_devices
from bitfront.experiments.service import machine
from bitfront.experiments.service.auth import Reader, needs
from bitfront.experiments.service.context import Served
from bitfront.experiments.service.machine_models import (
    DeviceDetails,
    DeviceList,
    ImportedTable,
    PredictorList,
    TableList,
    UploadedPredictor,
)
from bitfront.experiments.service.spec_bodies import FILE_BODY
from bitfront.experiments.service.uploads import (
    ENDINGS,
    check_table,
    import_table,
    keep_predictor,
    taken,
    uploaded_path,
)

router = APIRouter(tags=["devices, tables, predictors"])
Name = Annotated[str, Query(min_length=1, max_length=80, description="What it shall be called.")]
Replace = Annotated[bool, Query(description="Replace one of that name.")]


@router.get("/devices", operation_id="listDevices")
def devices(service: Served, _: Reader) -> DeviceList:
    """Every device that a spec can name."""
    return DeviceList(items=[machine.device_answer(row) for row in listed_devices(service.home)])


@router.get("/devices/{name}", operation_id="getDevice")
def device(name: Annotated[str, InPath(max_length=100)], service: Served, _: Reader) -> DeviceDetails:
    """A device with its options, and where its numbers come from."""
    return machine.device_answer_in_full(device_details(service.home, name, {}))


@router.get("/tables", operation_id="listTables")
def tables(service: Served, _: Reader) -> TableList:
    """The cost tables that experiments used."""
    return TableList(items=list(map(machine.table_answer, service.store.tables())))


@router.post(
    "/tables",
    operation_id="uploadTable",
    status_code=201,
    dependencies=[Depends(needs("write"))],
    openapi_extra=FILE_BODY,
)
async def upload_table(
    request: Request,
    service: Served,
    name: Name,
    space: Annotated[str, Query(max_length=100, description="The space that it is for.", examples=["digits"])],
    format_name: Annotated[str, Query(alias="format", max_length=20, examples=["csv"])] = "csv",
    replace: Replace = False,
) -> ImportedTable:
    """Make a device out of a table (csv, parquet, apq or ofa), which a spec can then name."""
    await run_in_threadpool(check_table, service, name, space, format_name, replace)
    async with taken(request, service, f"table{ENDINGS[format_name]}") as sent:
        return await run_in_threadpool(import_table, service, sent, name, space, format_name, replace)


@router.get("/predictors", operation_id="listPredictors")
def predictors(service: Served, _: Reader) -> PredictorList:
    """Predictors that experiments fitted, oldest first, then uploaded ones."""
    return PredictorList(items=machine.predictor_answers(service))


@router.post(
    "/predictors",
    operation_id="uploadPredictor",
    status_code=201,
    dependencies=[Depends(needs("write"))],
    openapi_extra=FILE_BODY,
)
async def upload_predictor(
    request: Request, service: Served, name: Name, replace: Replace = False
) -> UploadedPredictor:
    """Keep a predictor that `bitfront predictor fit` wrote."""
    path: Path = await run_in_threadpool(uploaded_path, service.home, name)
    async with taken(request, service, path.name) as sent:
        return await run_in_threadpool(keep_predictor, service, sent, name, replace)
