"""Devices, tables and predictors as the service tells them: file names, and no folders of its own machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitfront.experiments.predictor_facts import listed_predictors
from bitfront.experiments.service.context import Service
from bitfront.experiments.service.machine_models import (
    DeviceAnswer,
    DeviceDetails,
    DeviceTable,
    PredictorAnswer,
    TableAnswer,
)
from bitfront.experiments.service.told import without_folders
from bitfront.experiments.store.records import TableRecord
from bitfront.experiments.uploaded_predictors import uploaded_facts, uploaded_names
from bitfront.supernet.errors import BitfrontError


def device_answer(row: Mapping[str, Any]) -> DeviceAnswer:
    """A row of `device_facts.listed_devices`."""
    return DeviceAnswer(**{**row, "tables": len(row["tables"])})


def device_answer_in_full(facts: Mapping[str, Any]) -> DeviceDetails:
    """The facts of `device_facts.device_details`."""
    tables = [
        DeviceTable(
            file=Path(one["path"]).name,
            space=one["space"],
            date=one["date"],
            unfinished=one["unfinished"],
            problem="it can not be read" if one.get("problem") else None,
        )
        for one in facts["tables"]
    ]
    own = {"options": without_folders(facts["options"]), "provenance": without_folders(facts["provenance"])}
    return DeviceDetails(**{**facts, **own, "tables": tables})


def table_answer(record: TableRecord) -> TableAnswer:
    """A cost table that is stored."""
    path = Path(record.path)
    return TableAnswer(
        id=record.id,
        device=record.device,
        space_hash=record.space_hash,
        file=path.name,
        is_there=path.is_file(),
        provenance=without_folders(record.provenance),
        created_at=record.created_at,
    )


def predictor_answers(service: Service) -> list[PredictorAnswer]:
    """Predictors of experiments, then uploaded ones by name."""
    names = ("id", "kind", "space", "data", "is_there", "created_at", "metrics")
    rows = [
        PredictorAnswer(**{name: row[name] for name in names}, uploaded=False)
        for row in listed_predictors(service.store)
    ]
    return rows + [_uploaded(service.home, name) for name in uploaded_names(service.home)]


def _uploaded(home: Path, name: str) -> PredictorAnswer:
    try:
        facts = uploaded_facts(home, name)
    except BitfrontError:  # gone meanwhile, or damaged on the disk
        facts = None
    return PredictorAnswer(
        id=name,
        kind=facts.kind if facts else "unreadable",
        uploaded=True,
        space=facts.space if facts else None,
        data=None,
        is_there=facts is not None,
        created_at=None,
        metrics=facts.metrics if facts else {},
    )
