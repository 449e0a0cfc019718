"""The stage that fits predictors: what it leaves, what it tells, and that it is done once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bitfront.experiments.details import files
from bitfront.experiments.reporter import Reporter, Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.stages.predicting import fitted_predictor
from bitfront.experiments.stages.samples import Samples
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import SupernetRecord
from bitfront.predictors import load_predictor
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.metrics import judged
from bitfront.predictors.stored import read
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.spaces.digits import digits

SPACE = digits()
Begin = Callable[..., Run]


class Heard(Reporter):
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, title: str) -> None:
        pass

    def say(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, label: str) -> Progress:
        return silent


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def begin(tmp_path: Path, heard: Heard) -> Iterator[Begin]:
    """Begin an experiment with such a predictor; all are of one home."""
    with ExitStack() as stack:

        def made(**predictor: Any) -> Run:
            values = {"space": "digits", "data": "digits", "device": "bitfusion", "predictor": predictor}
            spec, home = spec_from(values, home=tmp_path), tmp_path / "home"
            store = stack.enter_context(open_store(home))
            experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
            store.claim(experiment.id)
            store.put_supernet(SupernetRecord("net", "digits", SPACE.hash(), "digits", "", {}, "", {}, "ready"))
            return Run(store, home, experiment.id, spec, Reporters(heard))

        yield made


@pytest.fixture(scope="module")
def samples() -> Samples:
    rng = np.random.default_rng(0)
    quantized = SPACE.sample(300, rng, "sizes")
    real = np.unique(SPACE.assign(quantized, {"weight_format": "fp32", "activation_format": "fp32"}), axis=0)
    drawn = np.concatenate([rng.permutation(real)[:80], quantized[:80]])
    pairs = Pairs(drawn, 0.6 + 0.01 * SPACE.active(drawn).sum(axis=1) / 2 - 0.002 * drawn[:, 20:].sum(axis=1) / 10)
    parts = (pairs.take(np.arange(*bounds)) for bounds in ((0, 60), (60, 80), (80, 140), (140, 160)))
    return Samples(*parts)


def test_it_leaves_two_predictors_with_their_metrics_and_a_picture(
    begin: Begin, heard: Heard, samples: Samples
) -> None:
    run = begin(kind="ridge")
    predictor = fitted_predictor(run, "net", SPACE, samples)
    held_out = samples.quantized_held_out
    found = judged(predictor.predict(held_out.genomes), held_out.accuracy)
    real, transferred = run.store.predictors("net")
    assert transferred.metrics == found | {"from": real.id}
    assert run.store.get(run.experiment_id).predictor_id == transferred.id
    for record in (real, transferred):
        metrics = {name: value for name, value in record.metrics.items() if name != "from"}
        assert read(Path(record.path))[1]["metrics"] == metrics
        assert (
            f"the {record.kind} predictor: on held-out pairs Kendall tau {metrics['kendall_tau']:.3f}"
            in "\n".join(heard.lines)
        )
    assert load_predictor(Path(transferred.path), SPACE).pairs.hash() == samples.quantized.checked(SPACE).hash()
    picture = files(run.home, run.experiment_id)["predictor.png"]
    assert Image.open(picture).size == (1120, 1120)


def test_it_is_fitted_once_for_all_experiments_that_want_the_same(
    begin: Begin, heard: Heard, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fitted_predictor(begin(kind="ridge"), "net", SPACE, samples)
    monkeypatch.setattr(type(first), "fit", lambda *_: pytest.fail("fitted again"))
    run = begin(kind="ridge")
    second = fitted_predictor(run, "net", SPACE, samples)
    genomes = samples.fp32.genomes
    assert np.array_equal(first.predict(genomes).mean, second.predict(genomes).mean)
    assert heard.lines[-1].startswith("found the transferred predictor: on held-out pairs Kendall tau ")
    assert (run.folder / "predictor.png").is_file()
    assert len(run.store.predictors()) == 2


def test_other_options_are_another_predictor(begin: Begin, samples: Samples) -> None:
    genomes = samples.quantized_held_out.genomes
    usual, other = (
        fitted_predictor(begin(kind="ridge", options=options), "net", SPACE, samples).predict(genomes).mean
        for options in ({}, {"alpha": 5.0})
    )
    assert not np.allclose(usual, other)


def test_a_lost_file_is_made_again(begin: Begin, samples: Samples) -> None:
    run = begin(kind="ridge")
    before = fitted_predictor(run, "net", SPACE, samples)
    path = Path(run.store.predictors()[-1].path)
    path.unlink()
    after = fitted_predictor(run, "net", SPACE, samples)
    assert path.is_file()
    genomes = samples.quantized_held_out.genomes
    assert np.array_equal(before.predict(genomes).half_width, after.predict(genomes).half_width)


def test_options_are_tuned_where_that_is_wanted(begin: Begin, heard: Heard, samples: Samples) -> None:
    run = begin(kind="ridge", options={"features": "one_hot"}, tune=3)
    predictor = fitted_predictor(run, "net", SPACE, samples)
    (line,) = (line for line in heard.lines if line.startswith("tuned the ridge predictor in 3 trials"))
    assert f"features {predictor.options.features}" in line
    assert predictor.options.features == "one_hot"
    record = run.store.predictors()[-1]
    assert json.loads(Path(record.path).with_suffix(".json").read_text())["options"]["features"] == "one_hot"


def test_the_number_of_trials_makes_another_predictor_of_the_same_study(
    begin: Begin, heard: Heard, samples: Samples
) -> None:
    for tune in (2, 3):
        fitted_predictor(begin(kind="ridge", tune=tune), "net", SPACE, samples)
    run = begin(kind="ridge")
    fitted_predictor(run, "net", SPACE, samples)
    assert len(run.store.predictors()) == 3 * 2
    assert any("3 trials" in line and "2 of them known from before" in line for line in heard.lines)
    assert (run.home / "tuning.sqlite").is_file()


def test_repeated_samples_are_told(begin: Begin, heard: Heard, samples: Samples) -> None:
    twice = Pairs(
        np.concatenate([samples.fp32.genomes, samples.fp32.genomes[:1]]),
        np.concatenate([samples.fp32.accuracy, [0.0]]),
    )
    again = Samples(twice, samples.fp32_held_out, samples.quantized, samples.quantized_held_out)
    fitted_predictor(begin(kind="ridge"), "net", SPACE, again)
    assert any(line.startswith("fp32 samples: 1 row repeats a genome, and 1 genome has") for line in heard.lines)
