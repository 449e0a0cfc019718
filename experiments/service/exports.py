"""Exports as the service tells them, and makes them: each by the command line in a process of its own."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from fastapi.responses import StreamingResponse

from bitfront.experiments.bundle.forms import check_format
from bitfront.experiments.service.context import Service
from bitfront.experiments.service.downloads import bundle_of, is_bundle, sent_bundle, sent_model, size_of
from bitfront.experiments.service.jobs import Job
from bitfront.experiments.service.models import ExportAnswer, ExportRequest
from bitfront.experiments.service.refusals import NotFoundError
from bitfront.experiments.service.routes.common import PREFIX
from bitfront.experiments.store.records import Experiment, ExportRecord
from bitfront.supernet.errors import UnknownNameError, UnsupportedError


def listed_exports(service: Service, experiment_id: str) -> list[ExportAnswer]:
    """Those of an experiment that are recorded, whether their files are still there or not."""
    return [_answer(experiment_id, record) for record in service.store.exports(experiment_id)]


def start_export(service: Service, experiment_id: str, wanted: ExportRequest) -> Job:
    """Begin to export a candidate; asked again while that is in progress, the same job is meant.

    Raises:
        UnknownNameError: there is no such experiment, candidate, format or device.
        UnsupportedError: there is no trained supernet yet.
        RateLimitError: as many exports as may be are in progress.
        ConflictError: it is in progress with other options.
    """
    experiment = service.store.get(experiment_id)
    service.store.candidate(experiment_id, wanted.candidate)
    check_format(wanted.format)
    if wanted.device and wanted.device not in device_names(experiment):
        raise UnknownNameError(f"device of {experiment_id}", wanted.device, device_names(experiment))
    supernet = service.store.supernet(experiment.supernet_id) if experiment.supernet_id else None
    if supernet is None or supernet.state != "ready":
        raise UnsupportedError(f"experiment {experiment_id} has no trained supernet yet: wait, or resume it")
    options = [f"--candidate={wanted.candidate}", f"--format={wanted.format}"]
    if wanted.device:
        options.append(f"--device={wanted.device}")
    if wanted.runtime is not None:
        options.append(f"--runtime={wanted.runtime}")
    if wanted.finetune_epochs is not None:
        options.append(f"--finetune-epochs={wanted.finetune_epochs}")
    if wanted.samples is not None:
        options.append(f"--samples={wanted.samples}")
    key = job_key(experiment_id, wanted.candidate, wanted.format, wanted.device)
    return service.jobs.start(key, ["export", *options, "--", experiment.id])


def job_key(experiment_id: str, candidate: int, format_name: str, device: str) -> tuple[str, ...]:
    """What tells exports in progress apart."""
    return ("export", experiment_id, str(candidate), format_name, device)


def export_state(
    service: Service, experiment_id: str, candidate: int, format_name: str, device: str
) -> ExportAnswer:
    """How an export stands: in progress, failed, or ready.

    Raises:
        NotFoundError: nobody asked for it.
    """
    service.store.candidate(experiment_id, candidate)
    job = service.jobs.find(job_key(experiment_id, candidate, format_name, device))
    if job is not None and not job.done.is_set():
        return pending(candidate, format_name, device, "running", "")
    if job is not None and job.error:
        return pending(candidate, format_name, device, "failed", job.error)
    return _answer(experiment_id, _record(service, experiment_id, candidate, format_name, device))


def device_names(experiment: Experiment) -> list[str]:
    """The names of an experiment's devices, as its stored spec has them."""
    one = experiment.spec.get("device")
    if one:
        return [one if isinstance(one, str) else str(one["name"])]
    return list(experiment.spec.get("devices") or ())


def _record(service: Service, experiment_id: str, candidate: int, format_name: str, device: str) -> ExportRecord:
    found = [
        one
        for one in service.store.exports(experiment_id)
        if (one.candidate_id, one.format) == (candidate, format_name)
        and (not device or one.device in ("", device))
    ]
    if not found:
        raise NotFoundError(
            f"candidate {candidate} of {experiment_id} is not exported as {format_name!r}",
            f"ask for it: POST {PREFIX}/experiments/{experiment_id}/exports",
            "path.candidate_id",
        )
    return found[0]


def pending(candidate: int, format_name: str, device: str, state: str, error: str) -> ExportAnswer:
    """An export that is in progress or failed."""
    return ExportAnswer(
        candidate=candidate,
        format=format_name,
        device=device,
        state=state,
        error=error,
        sha256=None,
        size_bytes=None,
        top1_test=None,
        created_at=None,
        file=None,
        bundle=None,
    )


def _answer(experiment_id: str, record: ExportRecord) -> ExportAnswer:
    size = size_of(record)
    query = urlencode({"format": record.format, "device": record.device})
    place = f"{PREFIX}/experiments/{quote(experiment_id)}/exports/{record.candidate_id}"
    return ExportAnswer(
        candidate=record.candidate_id,
        format=record.format,
        device=record.device,
        state="failed" if size is None else "ready",
        error="its file is gone: export it again" if size is None else "",
        sha256=record.sha256,
        size_bytes=size,
        top1_test=record.top1_test,
        created_at=record.created_at,
        file=None if size is None else f"{place}/{'bundle' if is_bundle(record) else 'file'}?{query}",
        bundle=None if bundle_of(record) is None else f"{place}/bundle?{query}",
    )


def download(
    service: Service, experiment_id: str, candidate: int, format_name: str, device: str, whole: bool = False
) -> StreamingResponse:
    """The model that was exported, or with ``whole`` its bundle, if it still is what was recorded.

    Raises:
        NotFoundError: there is none, or it is gone.
        ConflictError: it was changed since.
    """
    service.store.candidate(experiment_id, candidate)
    record = _record(service, experiment_id, candidate, format_name, device)
    whose = f"-{record.device}" if record.device else ""
    send = sent_bundle if whole else sent_model
    return send(record, f"{experiment_id}-{candidate}{whose}")
