"""What experiments found: fronts, candidates, hypervolume, importances, comparisons."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from bitfront.experiments.candidate_facts import candidate_facts
from bitfront.experiments.details import details
from bitfront.experiments.importances import experiment_importances
from bitfront.experiments.service.answers import candidate_answer, filters_of, measured_front, predicted_front
from bitfront.experiments.service.auth import Reader
from bitfront.experiments.service.context import Served
from bitfront.experiments.service.etags import tagged
from bitfront.experiments.service.models import (
    CandidateDetails,
    CandidatePage,
    CompareAnswer,
    ComparedRow,
    FrontAnswer,
    GenerationAnswer,
    HypervolumeAnswer,
    ImportancesAnswer,
)
from bitfront.experiments.service.refusals import InvalidRequestError
from bitfront.experiments.service.routes.common import CandidateId, Cursor, ExperimentId, Where

router = APIRouter(tags=["results"])
_MOST_COMPARED = 20
_MOST_OBJECTIVES = 10


@router.get(
    "/experiments/{experiment_id}/front",
    operation_id="getFront",
    response_model=FrontAnswer,
    responses={
        200: {"headers": {"ETag": {"schema": {"type": "string"}}}},
        304: {"description": "The reader has it already."},
    },
)
def front(
    request: Request,
    experiment_id: ExperimentId,
    service: Served,
    _: Reader,
    kind: Annotated[
        Literal["measured", "predicted"],
        Query(
            description="`measured`: members that were truly measured; `predicted`: those of the search so far."
        ),
    ] = "measured",
    where: Where = "",
    everything: Annotated[
        bool, Query(alias="all", description="Also measured members that others dominate.")
    ] = False,
    full: Annotated[bool, Query(alias="details", description="With architecture and policy, if measured.")] = True,
) -> Response:
    """The front. In a condition a metric means its measured value where there is one, else the predicted one;
    `measured_METRIC` and `predicted_METRIC` mean just that. The ETag changes when the answer does.
    """
    found = service.store.get(experiment_id)
    if kind == "predicted":
        return tagged(request, predicted_front(service.store, found, where))
    return tagged(request, measured_front(service.store, found, where, everything, full))


@router.get("/experiments/{experiment_id}/candidates", operation_id="listCandidates")
def candidates(
    experiment_id: ExperimentId,
    service: Served,
    _: Reader,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    order: Annotated[
        str, Query(max_length=200, description="`id`, a metric or METRIC@DEVICE; `-` before it: descending.")
    ] = "id",
    where: Where = "",
    on_front: Annotated[bool, Query(description="Only those on the predicted front.")] = False,
    count: Annotated[bool, Query(description="Count all that meet the condition.")] = False,
) -> CandidatePage:
    """Candidates that the search scored. Conditions are comparisons of predicted metrics joined with `and`."""
    filters = filters_of(where)
    page = service.store.candidates(experiment_id, cursor, limit, order, on_front, filters)
    total = service.store.count_candidates(experiment_id, filters) if count else None
    return CandidatePage(items=list(map(candidate_answer, page.items)), next_cursor=page.next_cursor, total=total)


@router.get("/experiments/{experiment_id}/candidates/{candidate_id}", operation_id="getCandidate")
def candidate(
    experiment_id: ExperimentId, candidate_id: CandidateId, service: Served, _: Reader
) -> CandidateDetails:
    """A candidate's network: every layer with kernel, width and bits, and what each block costs."""
    return CandidateDetails(**candidate_facts(service.store, service.home, experiment_id, candidate_id))


@router.get("/experiments/{experiment_id}/hypervolume", operation_id="getHypervolume")
def hypervolume(experiment_id: ExperimentId, service: Served, _: Reader) -> HypervolumeAnswer:
    """Hypervolume of the predicted front after every generation."""
    store = service.store
    found = store.get(experiment_id)
    generations = [
        GenerationAnswer(
            index=one.index, evaluations=one.evaluations, hypervolume=one.hypervolume, created_at=one.created_at
        )
        for one in store.generations(found.id)
    ]
    reference = details(store, service.home, found)["search"]["reference"]
    return HypervolumeAnswer(experiment_id=found.id, reference=reference, generations=generations)


@router.get("/experiments/{experiment_id}/importances", operation_id="getImportances")
def importances(experiment_id: ExperimentId, service: Served, _: Reader) -> ImportancesAnswer:
    """How much of each predicted metric's variance every gene alone explains."""
    n, found = experiment_importances(service.store, experiment_id)
    return ImportancesAnswer(experiment_id=experiment_id, candidates=n, importances=found)


@router.get("/compare", operation_id="compareExperiments")
def compare(
    service: Served,
    _: Reader,
    experiments: Annotated[str, Query(max_length=3000, description="Ids, joined with commas.")],
    objectives: Annotated[
        str, Query(max_length=1000, description="Metrics or METRIC@DEVICE, joined with commas.")
    ] = "top1,latency_ms",
) -> CompareAnswer:
    """The predicted fronts of several experiments side by side, a row for each member and device."""
    ids = _listed(experiments, _MOST_COMPARED, "query.experiments")
    wanted = _listed(objectives, _MOST_OBJECTIVES, "query.objectives")
    rows = [
        ComparedRow(
            experiment_id=one.experiment_id,
            device=one.device,
            candidate=one.candidate.id,
            predicted=dict(one.predicted),
            measured=dict(one.measured),
            dominated=one.dominated,
        )
        for one in service.store.compare(ids, wanted)
    ]
    return CompareAnswer(objectives=wanted, items=rows)


def _listed(text: str, most: int, where: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not 1 <= len(parts) <= most:
        raise InvalidRequestError(f"{len(parts)} are given", f"give 1 to {most}, joined with commas", where)
    if len(set(parts)) < len(parts):
        raise InvalidRequestError("one is given twice", "name each one once", where)
    return parts
