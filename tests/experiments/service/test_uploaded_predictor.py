"""A predictor that is sent over REST, named in a spec, and searched with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.pipeline import run_experiment
from bitfront.experiments.reporter import LogReporter, Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.spec import SpecError, spec_from
from bitfront.experiments.stages.uploaded import uploaded_predictor
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import SupernetRecord
from bitfront.experiments.store.statuses import Status
from bitfront.predictors import PREDICTORS, load_predictor
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.predictor import AccuracyPredictor, OtherSpaceError
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.settings import SpaceSettings, load_space

Refused = Callable[[httpx.Response, int], dict[str, Any]]
PREDICTORS_AT, LAUNCH, CHECK = "/api/v1/predictors", "/api/v1/experiments", "/api/v1/specs/check"
SPEC: dict[str, Any] = {"space": "digits", "data": "digits", "device": "bitfusion"}
_QUICK = {"warmup_epochs": 1, "elastic_epochs": 0, "quantized_epochs": 1}
NAMED = {**SPEC, "predictor": {"uploaded": "mine"}}


def _space(name: str = "digits", **options: Any) -> SearchSpace:
    return load_space(SpaceSettings(name, options))


def _fitted(space: SearchSpace, slope: float = 0.01, fp32: bool = False) -> AccuracyPredictor:
    rng = np.random.default_rng(0)
    genomes = space.sample(60, rng)
    if fp32:
        genomes = space.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"})
        genomes = np.unique(genomes, axis=0)
    pairs = Pairs(genomes, 0.5 + slope * space.active(genomes).sum(axis=1) / space.n_genes + 0.001 * genomes[:, 1])
    kind = PREDICTORS.get("ridge")
    return kind.fit(space, pairs, rng) if fp32 else kind.from_scratch(space, pairs, rng)


def _sent(api: TestClient, predictor: AccuracyPredictor, folder: Path, replace: bool = False) -> None:
    path = folder / "p.safetensors"
    predictor.save(path, {"kendall_tau": 0.5, "held_out": 20.0})
    answer = api.post(PREDICTORS_AT, params={"name": "mine", "replace": replace}, content=path.read_bytes())
    assert answer.status_code == 201, answer.text


def test_one_that_was_sent_can_be_named(api: TestClient, store: Store, tmp_path: Path, refused: Refused) -> None:
    error = refused(api.post(LAUNCH, json=NAMED), 422)
    assert error["problems"][0]["where"] == "predictor.uploaded"
    assert "/api/v1/predictors" in error["problems"][0]["fix"]
    _sent(api, _fitted(_space()), tmp_path)
    assert api.post(CHECK, json=NAMED).json()["spec"]["predictor"]["uploaded"] == "mine"
    launched = api.post(LAUNCH, json=NAMED)
    assert launched.status_code == 202, launched.text
    assert store.get(launched.json()["id"]).spec["predictor"]["uploaded"] == "mine"
    near = refused(api.post(LAUNCH, json={**SPEC, "predictor": {"uploaded": "mien"}}), 422)
    assert "mine" in near["problems"][0]["fix"]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "", "x\x00", "mine.safetensors", 7, ["mine"]])
def test_no_name_leads_to_another_file(api: TestClient, tmp_path: Path, refused: Refused, name: Any) -> None:
    _sent(api, _fitted(_space()), tmp_path)
    error = refused(api.post(CHECK, json={**SPEC, "predictor": {"uploaded": name}}), 422)
    # What no database can hold is refused before anybody asks what it is.
    assert error["problems"][0]["where"] == ("the spec" if name == "x\x00" else "predictor.uploaded")


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"predictor": {"uploaded": "mine", "options": {"alpha": 1.0}, "kind": "ridge"}}, "predictor.options"),
        ({"predictor": {"uploaded": "mine", "tune": 3}}, "predictor.tune"),
        ({"search": {"accuracy": "measured"}}, "predictor.uploaded"),
        ({"space": "mobilenet_v2_cifar"}, "predictor.uploaded"),
    ],
)
def test_what_does_not_fit_is_told_when_it_is_launched(
    api: TestClient, store: Store, tmp_path: Path, refused: Refused, more: dict[str, Any], where: str
) -> None:
    _sent(api, _fitted(_space()), tmp_path)
    error = refused(api.post(LAUNCH, json={**NAMED, **more}), 422)
    assert where in [one["where"] for one in error["problems"]], error
    assert store.list_experiments().items == ()


def test_one_that_is_blind_to_formats_is_refused(api: TestClient, tmp_path: Path, refused: Refused) -> None:
    _sent(api, _fitted(_space(), fp32=True), tmp_path)
    (problem,) = refused(api.post(CHECK, json=NAMED), 422)["problems"]
    assert "blind to formats" in problem["rule"]


def test_one_of_the_same_space_with_other_options_is_refused_once_that_is_known(
    api: TestClient, store: Store, tmp_path: Path, refused: Refused
) -> None:
    _sent(api, _fitted(_space(classes=7)), tmp_path)
    (problem,) = refused(api.post(LAUNCH, json=NAMED), 422)["problems"]
    assert "other genes or options" in problem["rule"]
    assert store.list_experiments().items == ()


def test_a_damaged_one_is_told(api: TestClient, settings: Settings, tmp_path: Path, refused: Refused) -> None:
    _sent(api, _fitted(_space()), tmp_path)
    folder = settings.home / "predictors" / "uploaded"
    (folder / "mine.json").unlink()
    (folder / "mine.safetensors").write_bytes(b"x")
    (problem,) = refused(api.post(CHECK, json=NAMED), 422)["problems"]
    assert "can not be used" in problem["rule"]
    assert str(settings.home) not in str(problem)


def _begun(store: Store, home: Path) -> Run:
    spec = spec_from(NAMED, home=home)
    one = store.create_experiment(spec.name, spec.as_json(), spec.seed)
    store.claim(one.id)
    store.put_supernet(SupernetRecord("net", "digits", _space().hash(), "digits", "", {}, "", {}, "ready"))
    return Run(store, home, one.id, spec, Reporters())


def test_an_experiment_keeps_the_one_that_it_began_with(
    api: TestClient, store: Store, settings: Settings, tmp_path: Path
) -> None:
    space = _space()
    genomes = space.sample(5, np.random.default_rng(1))
    first, second = _fitted(space), _fitted(space, slope=0.3)
    _sent(api, first, tmp_path)
    run = _begun(store, settings.home)
    expected = first.predict(genomes).mean
    assert np.array_equal(uploaded_predictor(run, "net", space).predict(genomes).mean, expected)
    record = store.predictor(str(store.get(run.experiment_id).predictor_id))
    assert record is not None
    assert (record.kind, record.metrics["kendall_tau"]) == ("uploaded", 0.5)
    _sent(api, second, tmp_path, replace=True)
    assert np.array_equal(uploaded_predictor(run, "net", space).predict(genomes).mean, expected)
    other = _begun(store, settings.home)
    assert not np.array_equal(uploaded_predictor(other, "net", space).predict(genomes).mean, expected)
    assert np.array_equal(load_predictor(Path(record.path), space).predict(genomes).mean, expected)
    shown = api.get(f"{LAUNCH}/{run.experiment_id}").json()["predictors"]
    assert [(one["kind"], one["metrics"]["sent_as"]) for one in shown] == [("uploaded", "mine")]


def test_one_that_was_replaced_by_another_space_s_fails_the_run(
    api: TestClient, store: Store, settings: Settings, tmp_path: Path
) -> None:
    _sent(api, _fitted(_space()), tmp_path)
    run = _begun(store, settings.home)
    _sent(api, _fitted(_space(classes=7)), tmp_path, replace=True)
    with pytest.raises(OtherSpaceError):
        uploaded_predictor(run, "net", _space())
    _sent(api, _fitted(_space(), fp32=True), tmp_path, replace=True)
    with pytest.raises(BitfrontError, match="fp32 candidates alone"):
        uploaded_predictor(_begun_with(run), "net", _space())


def _begun_with(run: Run) -> Run:
    one = run.store.create_experiment("again", run.spec.as_json(), 0)
    run.store.claim(one.id)
    return Run(run.store, run.home, one.id, run.spec, run.reporter)


def test_specs_of_files_name_them_too(api: TestClient, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such uploaded predictor"):
        spec_from(NAMED, home=settings.home)
    _sent(api, _fitted(_space()), tmp_path)
    assert spec_from(NAMED, home=settings.home).predictor.uploaded == "mine"
    again = spec_from(spec_from(NAMED, home=settings.home).as_json(), home=settings.home)
    assert again.predictor.uploaded == "mine"


@pytest.mark.slow
def test_a_launched_experiment_searches_with_it_and_measures_no_samples(
    api: TestClient, store: Store, settings: Settings, tmp_path: Path
) -> None:
    predictor = _fitted(_space())
    _sent(api, predictor, tmp_path)
    small = {
        "supernet": {**_QUICK, "batch_size": 256, "subnets_per_step": 1, "calibration_images": 64},
        **{"search": {"population": 12, "generations": 2}, "front": {"measure": 2}, "export": {"pick": "none"}},
    }
    one = api.post(LAUNCH, json={**NAMED, **small}).json()["id"]
    log = tmp_path / "log.txt"
    run_experiment(store, settings.home, one, LogReporter(log))
    assert store.get(one).status is Status.COMPLETED
    assert "3 measured samples" not in log.read_text()
    assert "4 predictor and device table" in log.read_text()
    found = api.get(f"{LAUNCH}/{one}/candidates").json()["items"]
    genomes = np.array([row["genome"] for row in found], dtype=np.uint8)
    assert np.allclose([row["predicted"]["top1"] for row in found], predictor.predict(genomes).mean)
    front = api.get(f"{LAUNCH}/{one}/front", params={"all": True}).json()["items"]
    assert 1 <= len(front) <= 2
    assert all(row["measured"]["top1"] is not None for row in front)


def test_an_experiment_that_keeps_one_does_not_look_for_its_name(
    api: TestClient, store: Store, tmp_path: Path
) -> None:
    _sent(api, _fitted(_space()), tmp_path)
    stored = store.get(api.post(LAUNCH, json=NAMED).json()["id"]).spec
    _sent(api, _fitted(_space("fashion")), tmp_path, replace=True)
    home = tmp_path / "home"
    with pytest.raises(SpecError, match="predictor"):
        spec_from(stored, home=home)
    assert spec_from(stored, home=home, is_stored=True).predictor.uploaded == "mine"
