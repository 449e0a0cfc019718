"""Where the supernet of an experiment comes from: found, taken over from a folder, shipped, or trained."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bitfront.experiments.reporter import Reporter, Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import SpecError, load_spec, spec_from
from bitfront.experiments.stages.supernet import supernet_folder, trained_supernet
from bitfront.experiments.store.home import open_store
from bitfront.search.executors.base import WorkerStartError
from bitfront.supernet.assets import shipped
from bitfront.supernet.data.digits import digits as digits_data
from bitfront.supernet.errors import BitfrontError, CorruptFileError, MissingFileError, UnsupportedError
from bitfront.supernet.files import load_tensors, read_json, write_json
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.spaces.settings import load_space
from bitfront.supernet.training import EpochReport, TrainingSettings
from bitfront.supernet.training.run import CHECKPOINT, HISTORY, train
from bitfront.supernet.training.trained import MANIFEST, WEIGHTS

SHORT = {
    "warmup_epochs": 1, "elastic_epochs": 1, "quantized_epochs": 1, "batch_size": 512, "subnets_per_step": 1,
    "probes": 0,
}  # fmt: skip
Begin = Callable[..., Run]


class _Heard(Reporter):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, title: str) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, label: str) -> Progress:
        return silent


@pytest.fixture
def heard() -> _Heard:
    return _Heard()


@pytest.fixture
def begin(tmp_path: Path, heard: _Heard) -> Iterator[Begin]:
    """Begin an experiment on digits, with these settings of its supernet."""
    with ExitStack() as stack:

        def made(space: str = "digits", data: object = "digits", **supernet: Any) -> Run:
            values = {"space": space, "data": data, "device": "bitfusion", "supernet": supernet}
            spec = spec_from(values, home=tmp_path)
            store = stack.enter_context(open_store(tmp_path / "home"))
            experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
            store.claim(experiment.id)
            return Run(store, tmp_path / "home", experiment.id, spec, Reporters(heard))

        yield made


def stage(run: Run) -> tuple[str, Supernet]:
    return trained_supernet(run, run.space(), run.dataset())


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a training wrote."""
    folder = tmp_path_factory.mktemp("elsewhere")
    settings = TrainingSettings(0, 0, 0, batch_size=512)
    train(Supernet(load_space("digits"), seed=12), digits_data(), settings, 12, folder, device="cpu")
    return folder


def same(supernet: Supernet, folder: Path) -> bool:
    tensors, _ = load_tensors(folder / WEIGHTS)
    return all(torch.equal(tensor, tensors[name]) for name, tensor in supernet.state_dict().items())


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train_anyway(*arguments: object, **options: object) -> None:
        pytest.fail("something is trained")

    monkeypatch.setattr("bitfront.experiments.stages.supernet.train", train_anyway)


# -- trained here ------------------------------------------------------------------------------------------


def test_it_is_trained_once(begin: Begin, heard: _Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(**SHORT)
    supernet_id, supernet = stage(run)
    folder = supernet_folder(run.home, supernet_id)
    assert supernet_id == run.spec.supernet_hash(run.space().hash(), run.dataset().hash)[:16]
    assert same(supernet, folder)
    lines = [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]
    assert [EpochReport(**line).phase for line in lines] == ["warmup", "elastic", "quantized"]
    record = run.store.supernet(supernet_id)
    assert record is not None
    assert record.state == "ready"
    assert record.metrics["history"] == lines
    assert TrainingSettings(**record.training) == TrainingSettings(**run.spec.supernet.training())
    with Image.open(io.BytesIO((folder / "training.png").read_bytes())) as image:
        assert (image.format, image.size) == ("PNG", (1300, 780))
    assert any(line.startswith("quantized: 3 of 3 epochs, loss ") for line in heard.said)

    no_training(monkeypatch)
    heard.said.clear()
    again_id, again = stage(begin(**SHORT))
    assert again_id == supernet_id
    assert same(again, folder)
    assert heard.said == [f"supernet {supernet_id} is there already"]


def test_a_training_that_was_stopped_goes_on(begin: Begin, heard: _Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    calm = begin(**SHORT)
    expected_id, expected = stage(calm)
    calm_folder = supernet_folder(calm.home, expected_id)
    kept = calm.home / "kept"
    calm_folder.rename(kept)
    record = calm.store.supernet(expected_id)
    assert record is not None

    def power_cut(run: Run, report: EpochReport) -> None:
        if report.epoch == 2:
            raise BitfrontError("the power went off")

    with monkeypatch.context() as patch:
        patch.setattr("bitfront.experiments.stages.supernet._tell", power_cut)
        with pytest.raises(MissingFileError, match="resume the experiment to make the supernet again"):
            stage(begin(**SHORT))
        with pytest.raises(BitfrontError, match="the power went off"):
            stage(begin(**SHORT))
    assert (calm_folder / CHECKPOINT).exists()
    again_id, again = stage(begin(**SHORT))
    assert "training goes on after epoch 2 of 3" in heard.said
    assert again_id == expected_id
    assert all(torch.equal(t, expected.state_dict()[name]) for name, t in again.state_dict().items())


def test_weights_that_the_store_does_not_know_of_yet_are_not_trained_again(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the weights were written, and before the store was told."""
    run = begin(**SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(
            "bitfront.experiments.stages.supernet.training_png",
            lambda reports: (_ for _ in ()).throw(BitfrontError("the power went off")),
        )
        with pytest.raises(BitfrontError, match="power"):
            stage(run)
    monkeypatch.setattr("bitfront.supernet.training.trainer.Trainer.run", lambda *a: pytest.fail("trained again"))
    supernet_id, supernet = stage(begin(**SHORT))
    assert same(supernet, supernet_folder(run.home, supernet_id))


def test_no_epochs_are_a_training_too(begin: Begin) -> None:
    run = begin(**{**SHORT, "warmup_epochs": 0, "elastic_epochs": 0, "quantized_epochs": 0})
    supernet_id, supernet = stage(run)
    assert same(supernet, supernet_folder(run.home, supernet_id))


def test_threads_are_given_back(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a training that failed."""
    used: list[int] = []

    def failing(*arguments: object, **options: object) -> None:
        used.append(torch.get_num_threads())
        raise BitfrontError("the power went off")

    monkeypatch.setattr("bitfront.experiments.stages.supernet.train", failing)
    before = torch.get_num_threads()
    with pytest.raises(BitfrontError, match="power"):
        stage(begin(**SHORT, threads=2))
    assert used == [2]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        (
            {"batch_size": 8, "accumulation": 9},
            "supernet.accumulation = 9",
            "no more parts than images: give at most 8",
        ),
        (
            {"device": "cuda:1", "processes": 2},
            "supernet.device = cuda:1",
            "each on its own: give auto, cpu or cuda",
        ),
        ({"batch_size": 33, "processes": 2}, "supernet.batch_size = 33", "by 2 processes: give a multiple of 2"),
    ],
)
def test_settings_that_do_not_go_together(begin: Begin, changes: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(SpecError, match=f"{path}: .*{words}"):
        begin(**changes)


def test_a_device_that_is_not_there(begin: Begin) -> None:
    with pytest.raises(UnsupportedError, match="'gpu' is no device that trains"):
        stage(begin(**SHORT, device="gpu"))


# -- taken over --------------------------------------------------------------------------------------------


def test_weights_from_a_folder_are_taken_over(
    begin: Begin, heard: _Heard, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_training(monkeypatch)
    run = begin(weights=str(elsewhere))
    supernet_id, supernet = stage(run)
    folder = supernet_folder(run.home, supernet_id)
    assert same(supernet, elsewhere)
    for name in (WEIGHTS, MANIFEST):
        assert (folder / name).read_bytes() == (elsewhere / name).read_bytes()
    assert supernet_id != run.spec.supernet_hash(run.space().hash(), run.dataset().hash)[:16]
    assert any(
        f"weights from {elsewhere}, trained on digits for 0 epochs with seed 12" in line for line in heard.said
    )
    record = run.store.supernet(supernet_id)
    assert record is not None
    assert record.state == "ready"
    assert record.training == read_json(elsewhere / MANIFEST)["training"]

    heard.said.clear()
    again_id, again = stage(begin(weights=str(elsewhere)))
    assert again_id == supernet_id
    assert same(again, elsewhere)
    assert heard.said == [f"supernet {supernet_id} is there already"]


def test_a_resumed_experiment_does_not_look_for_its_folder(
    begin: Begin, heard: _Heard, elsewhere: Path, tmp_path: Path
) -> None:
    source = tmp_path / "moved"
    shutil.copytree(elsewhere, source)
    run = begin(weights=str(source))
    supernet_id, _ = stage(run)
    (source / WEIGHTS).write_bytes(b"of another training")
    again_id, again = stage(run)
    assert again_id == supernet_id
    assert same(again, elsewhere)
    shutil.rmtree(source)
    assert stage(run)[0] == supernet_id
    with pytest.raises(MissingFileError):
        stage(begin(weights=str(source)))


def test_settings_that_are_not_used_are_told(begin: Begin, heard: _Heard, elsewhere: Path) -> None:
    stage(begin(weights=str(elsewhere)))
    assert not any("are not used" in line for line in heard.said)
    stage(begin(weights=str(elsewhere), **SHORT))
    assert any("the settings of its training are not used" in line for line in heard.said)


def test_what_is_measured_otherwise_is_another_supernet(begin: Begin, elsewhere: Path) -> None:
    """Trials are kept by supernet, and calibration decides what they measure."""
    ids = {stage(begin(weights=str(elsewhere), calibration_images=n))[0] for n in (512, 64)}
    assert len(ids) == 2


def test_settings_of_a_training_do_not_matter_to_weights_that_are_given(begin: Begin, elsewhere: Path) -> None:
    assert stage(begin(weights=str(elsewhere)))[0] == stage(begin(weights=str(elsewhere), **SHORT))[0]


def test_the_home_stays_whole_without_the_folder(begin: Begin, elsewhere: Path, tmp_path: Path) -> None:
    source = tmp_path / "moved"
    shutil.copytree(elsewhere, source)
    run = begin(weights=str(source))
    supernet_id, _ = stage(run)
    shutil.rmtree(source)
    assert load_tensors(supernet_folder(run.home, supernet_id) / WEIGHTS)[0]


def test_a_path_is_seen_from_the_specs_file(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "spec.yaml").write_text(
        "space: digits\ndata: digits\ndevice: bitfusion\nsupernet: {weights: ../trained}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_spec(Path("deep/spec.yaml")).supernet.weights == str(tmp_path / "trained")


def test_weights_of_another_space_or_other_data_are_refused(begin: Begin, elsewhere: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="holds a supernet of space 'digits', and not of this 'fashion'"):
        stage(begin(space="fashion", weights=str(elsewhere)))
    other = tmp_path / "other"
    shutil.copytree(elsewhere, other)
    write_json(other / MANIFEST, {**read_json(other / MANIFEST), "data": "letters", "data_hash": "ab" * 32})
    with pytest.raises(UnsupportedError, match="of data 'letters', and not of this 'digits'"):
        stage(begin(weights=str(other)))


def test_a_folder_without_weights_is_refused(begin: Begin, elsewhere: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="nowhere"):
        stage(begin(weights=str(tmp_path / "nowhere")))
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(elsewhere / MANIFEST, half / MANIFEST)
    with pytest.raises(MissingFileError, match=r"half/supernet\.safetensors is missing"):
        stage(begin(weights=str(half)))


def test_damaged_weights_are_refused_and_nothing_is_copied(begin: Begin, elsewhere: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(elsewhere, damaged)
    content = bytearray((damaged / WEIGHTS).read_bytes())
    content[-50] ^= 0xFF
    (damaged / WEIGHTS).write_bytes(bytes(content))
    run = begin(weights=str(damaged))
    with pytest.raises(CorruptFileError, match="does not match its own digest"):
        stage(run)
    assert not list((run.home / "supernets").glob("*/*"))
    shutil.copy(elsewhere / WEIGHTS, damaged / WEIGHTS)  # mended
    assert same(stage(begin(weights=str(damaged)))[1], elsewhere)


# -- shipped -----------------------------------------------------------------------------------------------


@pytest.fixture
def assets(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of what comes with bitfront: one of digits, and one of something else."""
    folder = tmp_path / "assets"
    shutil.copytree(elsewhere, folder / "digits")
    shutil.copytree(elsewhere, folder / "another")
    write_json(folder / "another" / MANIFEST, {"space_hash": "ab" * 32, "data_hash": "cd" * 32})
    (folder / "__init__.py").write_text("")
    monkeypatch.setattr("bitfront.supernet.assets._FOLDER", folder)
    return folder


def test_the_shipped_supernet_of_this_space_and_data_is_found(assets: Path) -> None:
    space, data = load_space("digits").hash(), digits_data().hash
    assert shipped(space, data) == assets / "digits"
    assert shipped(space, space) is None
    assert shipped(data, data) is None
    assert shipped("ab" * 32, "cd" * 32) == assets / "another"


def test_what_ships_with_bitfront_is_whole() -> None:
    """Where there is any: its manifest is that of its weights, and says what they are of."""
    import bitfront.supernet.assets as package

    for manifest in sorted(package._FOLDER.glob(f"*/{MANIFEST}")):
        values = read_json(manifest)
        tensors, inside = load_tensors(manifest.parent / WEIGHTS)
        assert inside == values
        assert manifest.parent.joinpath(WEIGHTS).stat().st_size < 10e6
        Supernet(load_space(values["space"])).load_state_dict(tensors)
        assert shipped(values["space_hash"], values["data_hash"]) == manifest.parent


@pytest.mark.parametrize(
    "given", [{}, {"device": "cpu"}, {"threads": 2}, {"warmup_epochs": 8}, {"calibration_images": 32}]
)
def test_default_settings_start_from_what_is_shipped(
    begin: Begin, assets: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    no_training(monkeypatch)
    _, supernet = stage(begin(**given))
    assert same(supernet, assets / "digits")


@pytest.mark.parametrize(
    "given", [{"pretrained": False}, {"warmup_epochs": 7}, {"precision": "bf16"}, {"probes": 2}]
)
def test_other_settings_are_trained(
    begin: Begin, assets: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    def trains(*arguments: object, **options: object) -> None:
        raise BitfrontError("this one is trained")

    monkeypatch.setattr("bitfront.experiments.stages.supernet.train", trains)
    with pytest.raises(BitfrontError, match="this one is trained"):
        stage(begin(**given))


def test_data_that_are_varied_otherwise_are_trained(
    begin: Begin, assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trains(*arguments: object, **options: object) -> None:
        raise BitfrontError("this one is trained")

    monkeypatch.setattr("bitfront.experiments.stages.supernet.train", trains)
    with pytest.raises(BitfrontError, match="this one is trained"):
        stage(begin(data={"name": "digits", "augmentation": {"crop": 1}}))


# -- several processes -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ray
def test_two_processes_train_together_and_go_on_after_a_stop(
    begin: Begin, heard: _Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr("bitfront.experiments.stages.parallel_training._POLL_SECONDS", 0.02)
    ray.init(address="local", num_cpus=2, log_to_driver=False, include_dashboard=False)
    try:
        together = {**SHORT, "quantized_epochs": 4, "processes": 2}
        run = begin(**together)
        supernet_id, _ = stage(run)
        folder = supernet_folder(run.home, supernet_id)
        calm, manifest = load_tensors(folder / WEIGHTS)
        assert [report["epoch"] for report in manifest["history"]] == list(range(1, 7))
        assert len((folder / HISTORY).read_text().splitlines()) == 6
        assert (folder / "training.png").exists()
        shutil.rmtree(folder)
        with pytest.raises(MissingFileError):
            stage(begin(**together))

        stopped = begin(**together)

        def stop_soon(label: str) -> Progress:
            def listen(done: int, total: int) -> None:
                if done >= 2:
                    raise BitfrontError("enough")

            return listen

        monkeypatch.setattr(stopped, "progress", stop_soon)
        with pytest.raises(BitfrontError, match="enough"):
            stage(stopped)
        assert (folder / CHECKPOINT).exists()
        heard.said.clear()
        again_id, again = stage(begin(**together))
        assert again_id == supernet_id
        assert any(line.startswith("training goes on after epoch ") for line in heard.said)
        assert all(torch.equal(tensor, calm[name]) for name, tensor in again.state_dict().items())

        with pytest.raises(UnsupportedError, match="'gpu' is no device that trains"):
            stage(begin(**together, device="gpu", weight_decay=0.5))
        with pytest.raises(WorkerStartError, match="2 with 3 threads each need 6 CPUs, and the Ray cluster has 2"):
            stage(begin(**together, threads=3))
    finally:
        ray.shutdown()
