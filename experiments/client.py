"""A client of the service, with its verbs: every answer is a model, every error one of bitfront's own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx2 as httpx
import yaml
from pydantic import BaseModel

from bitfront.experiments.client_answers import BusyError, check_type, event_data, next_offset, patience, read
from bitfront.experiments.client_errors import NoAnswerError, error_of, place_of, raise_for
from bitfront.experiments.service import machine_models as machine
from bitfront.experiments.service import models
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import BitfrontError

__all__ = ["Client", "Event", "NoAnswerError"]

_TRIES = 4
_TRIES_TO_COME_BACK = 9
_LONGEST_PAUSE = 30.0
_AGAIN = (429, 502, 503, 504)
_PREFIX = "/api/v1"
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Event:
    """News of an experiment: ``kind`` is status, stage, progress, generation or end, ``data`` says what is new."""

    kind: str
    data: dict[str, Any]
    id: str | None


class Client:
    """What the command line does, on a service elsewhere.

    What is asked is asked again, up to four times, where the service does not answer or is too busy, and where
    asking twice does no harm: reading, and launching with an idempotency key (every launch has one).

    Args:
        url: the service, as ``http://127.0.0.1:8317``.
        token: what `bitfront token add` printed; None where the service asks for none.
        timeout: seconds to wait for an answer.
        transport: for tests.
        sleep: how to wait between tries.

    Raises:
        BitfrontError: (of every method) what the service says is wrong, of the kind that the Python API raises.
        NoAnswerError: (of every method) the service does not answer.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give connections back."""
        self._http.close()

    # -- experiments --------------------------------------------------------------------------------------

    def launch(self, spec: Mapping[str, Any] | str, key: str | None = None) -> models.ExperimentAnswer:
        """Queue an experiment: plain values, or YAML text. ``key``: sent again, the first one is answered."""
        import uuid

        text = spec if isinstance(spec, str) else json.dumps(dict(spec), allow_nan=False)
        kind = "application/yaml" if isinstance(spec, str) else "application/json"
        headers = {"Content-Type": kind, "Idempotency-Key": key or uuid.uuid4().hex}
        answer = self._ask("POST", "/experiments", content=text.encode(), headers=headers, again=True)
        return read(models.ExperimentAnswer, answer)

    def launch_file(self, path: Path, key: str | None = None) -> models.ExperimentAnswer:
        """Queue the experiment of a YAML file."""
        return self.launch(path.read_text(encoding="utf-8"), key)

    def check(self, spec: Mapping[str, Any]) -> machine.SpecAnswer:
        """The spec with all its defaults, if it is acceptable; nothing is launched."""
        content = yaml.safe_dump(dict(spec)).encode()
        headers = {"Content-Type": "application/yaml"}
        answer = self._ask("POST", "/specs/check", content=content, headers=headers, again=True)
        return read(machine.SpecAnswer, answer)

    def ls(self, status: Status | None = None) -> Iterator[models.ExperimentAnswer]:
        """All experiments, newest first."""
        given = {"status": status.value} if status else {}
        yield from self._pages(models.ExperimentPage, "/experiments", {**given, "limit": 200})

    def get(self, experiment_id: str) -> models.ExperimentDetails:
        """An experiment with its spec and all that belongs to it."""
        return self._get(models.ExperimentDetails, _place(experiment_id))

    def cancel(self, experiment_id: str) -> models.ExperimentAnswer:
        """Ask for its end; asking again is harmless."""
        return self._post(models.ExperimentAnswer, _place(experiment_id, "cancel"), again=True)

    def resume(self, experiment_id: str) -> models.ExperimentAnswer:
        """Queue it again."""
        return self._post(models.ExperimentAnswer, _place(experiment_id, "resume"))

    def delete(self, experiment_id: str) -> None:
        """Remove it with its files (scope admin)."""
        self._ask("DELETE", _place(experiment_id))

    def log(self, experiment_id: str) -> str:
        """Its whole log."""
        parts: list[str] = []
        offset = 0
        while True:
            answer = self._ask("GET", _place(experiment_id, "log"), params={"offset": offset})
            if not answer.text:
                return "".join(parts)
            parts.append(answer.text)
            offset = next_offset(answer)

    def watch(self, experiment_id: str) -> Iterator[Event]:
        """News until it ends, over broken connections and a service that is busy: every generation comes once.

        It comes back after pauses that grow, for about two minutes; where it never got through, a few seconds.
        """
        last, failures, tries = "", 0, _TRIES
        while True:
            pause = 1.0
            try:
                for event in self._stream(experiment_id, last):
                    last, failures, tries = event.id or last, 0, _TRIES_TO_COME_BACK
                    yield event
                    if event.kind == "end":
                        return
            except (httpx.TransportError, BusyError) as error:
                failures += 1
                if failures >= tries:
                    raise self._gave_up(error) from error
                pause = max(min(2.0**failures / 2, _LONGEST_PAUSE), getattr(error, "seconds", 0.0))
            self._sleep(pause)

    def _gave_up(self, error: Exception) -> BitfrontError:
        if isinstance(error, BusyError):
            return error_of(error.answer)
        return NoAnswerError(f"{place_of(self._http.base_url)} does not answer ({error}): start it")

    # -- results ------------------------------------------------------------------------------------------

    def front(
        self, experiment_id: str, where: str = "", kind: str = "measured", everything: bool = False
    ) -> models.FrontAnswer:
        """Its front: ``measured`` or ``predicted`` members that meet a condition."""
        given = {"where": where, "kind": kind, "all": everything}
        return self._get(models.FrontAnswer, _place(experiment_id, "front"), given)

    def candidates(
        self, experiment_id: str, where: str = "", order: str = "id", on_front: bool = False
    ) -> Iterator[models.CandidateAnswer]:
        """All candidates that the search scored and that meet a condition."""
        given = {"where": where, "order": order, "on_front": on_front, "limit": 1000}
        yield from self._pages(models.CandidatePage, _place(experiment_id, "candidates"), given)

    def candidate(self, experiment_id: str, candidate: int) -> models.CandidateDetails:
        """A candidate's network, layer by layer."""
        return self._get(models.CandidateDetails, _place(experiment_id, "candidates", candidate))

    def hypervolume(self, experiment_id: str) -> models.HypervolumeAnswer:
        """Hypervolume after every generation."""
        return self._get(models.HypervolumeAnswer, _place(experiment_id, "hypervolume"))

    def importances(self, experiment_id: str) -> models.ImportancesAnswer:
        """Which genes the metrics depend on."""
        return self._get(models.ImportancesAnswer, _place(experiment_id, "importances"))

    def compare(
        self, experiment_ids: list[str], objectives: tuple[str, ...] = ("top1", "latency_ms")
    ) -> models.CompareAnswer:
        """The predicted fronts of several experiments."""
        given = {"experiments": ",".join(experiment_ids), "objectives": ",".join(objectives)}
        return self._get(models.CompareAnswer, "/compare", given)

    # -- exports ------------------------------------------------------------------------------------------

    def exports(self, experiment_id: str) -> list[models.ExportAnswer]:
        """What was exported of it."""
        return self._get(models.ExportList, _place(experiment_id, "exports")).items

    def export(
        self,
        experiment_id: str,
        candidate: int,
        path: Path,
        device: str = "",
        finetune_epochs: int | None = None,
        format_name: str = "onnx",
        samples: int | None = None,
        *,
        runtime: Literal["onnxruntime", "openvino"] | None = None,
        whole: bool = False,
    ) -> models.ExportAnswer:
        """Export a candidate and fetch the model to ``path``, checked against its hash.

        It is one file, or a zip file of its whole bundle where the format is of several, or with ``whole``. What
        is None is as the experiment's spec says: for how many epochs it is trained on before, how many test images
        go along, and which runtime the format onnx is written for.

        Raises:
            BitfrontError: it failed; ``path`` is then as it was.
        """
        from bitfront.experiments.client_files import fetched

        wanted = models.ExportRequest(
            candidate=candidate,
            format=format_name,
            device=device,
            finetune_epochs=finetune_epochs,
            samples=samples,
            runtime=runtime,
        )
        body = wanted.model_dump_json().encode()
        headers = {"Content-Type": "application/json"}
        place = _place(experiment_id, "exports")
        answer = self._ask("POST", place, content=body, headers=headers, params={"wait": 20})
        found = read(models.ExportAnswer, answer)
        while found.state == "running":
            self._sleep(1.0)
            named = {"device": device, "format": format_name}
            found = self._get(models.ExportAnswer, _place(experiment_id, "exports", candidate), named)
        return fetched(lambda file: self._send("GET", file), found, path, whole)

    # -- the service's machine ----------------------------------------------------------------------------

    def devices(self) -> list[machine.DeviceAnswer]:
        """Devices that a spec can name."""
        return self._get(machine.DeviceList, "/devices").items

    def device(self, name: str) -> machine.DeviceDetails:
        """One of them."""
        return self._get(machine.DeviceDetails, f"/devices/{quote(name, safe='')}")

    def tables(self) -> list[machine.TableAnswer]:
        """Cost tables that experiments used."""
        return self._get(machine.TableList, "/tables").items

    def predictors(self) -> list[machine.PredictorAnswer]:
        """Predictors of experiments, and uploaded ones."""
        return self._get(machine.PredictorList, "/predictors").items

    def upload_table(
        self, path: Path, name: str, space: str, format_name: str = "csv", replace: bool = False
    ) -> machine.ImportedTable:
        """Make a device out of a table."""
        given = {"name": name, "space": space, "format": format_name, "replace": replace}
        answer = self._ask("POST", "/tables", params=given, content=path.read_bytes())
        return read(machine.ImportedTable, answer)

    def upload_predictor(self, path: Path, name: str, replace: bool = False) -> machine.UploadedPredictor:
        """Keep a predictor there."""
        given = {"name": name, "replace": replace}
        answer = self._ask("POST", "/predictors", params=given, content=path.read_bytes())
        return read(machine.UploadedPredictor, answer)

    # -- inside -------------------------------------------------------------------------------------------

    def _get(self, model: type[M], place: str, params: Mapping[str, Any] | None = None) -> M:
        return read(model, self._ask("GET", place, params=params))

    def _post(self, model: type[M], place: str, again: bool = False) -> M:
        return read(model, self._ask("POST", place, again=again))

    def _pages(self, model: type[Any], place: str, params: Mapping[str, Any]) -> Iterator[Any]:
        cursor: str | None = None
        while True:
            page = self._get(model, place, {**params, **({"cursor": cursor} if cursor else {})})
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def _ask(self, method: str, place: str, again: bool = False, **given: Any) -> httpx.Response:
        return self._send(method, _PREFIX + place, again, **given)

    def _send(self, method: str, path: str, again: bool = False, **given: Any) -> httpx.Response:
        tries = _TRIES if again or method == "GET" else 1
        for attempt in range(1, tries + 1):
            try:
                answer = self._http.request(method, path, **given)
            except httpx.TransportError as error:
                if attempt == tries:
                    place = place_of(self._http.base_url)
                    words = f"{place} does not answer ({error}): start it with 'bitfront serve'"
                    raise NoAnswerError(words) from error
                self._sleep(0.2 * 2**attempt)
                continue
            if answer.status_code in _AGAIN and attempt < tries:
                self._sleep(patience(answer) or 0.2 * 2**attempt)
                continue
            raise_for(answer)
            return answer
        raise AssertionError("the last try returns or raises")

    def _stream(self, experiment_id: str, last: str) -> Iterator[Event]:
        headers = {"Last-Event-ID": last} if last else {}
        path = _PREFIX + _place(experiment_id, "events")
        with self._http.stream("GET", path, headers=headers, timeout=60) as answer:
            if not answer.is_success:
                answer.read()
                if answer.status_code in _AGAIN:
                    raise BusyError(answer)
                raise_for(answer)
            check_type(answer, "text/event-stream")
            for fields in _events(answer.iter_lines()):
                yield Event(fields.get("event", "message"), event_data(answer, fields["data"]), fields.get("id"))


def _events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """The fields of every event that has data."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line and name in ("event", "id", "data"):
            fields[name] = value
        elif not line and "data" in fields:
            yield fields
            fields = {}


def _place(experiment_id: str, *parts: object) -> str:
    return "/".join(["", "experiments", quote(experiment_id, safe=""), *map(str, parts)])
