"""What the benchmarks of predictors compare."""

import re
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from bitfront.experiments.benchmarks import predictor_real, predictor_speed, transfer
from bitfront.experiments.benchmarks.intervals import half_interval, summarised
from bitfront.experiments.benchmarks.pools import Pool
from bitfront.experiments.benchmarks.predictor_speed import bare_products, transferred
from bitfront.experiments.benchmarks.predictor_speed_plot import speed_bars
from bitfront.experiments.benchmarks.samples_plot import Panel, samples_figure
from bitfront.experiments.benchmarks.transfer import Scores, samples_needed
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.metrics import kendall_tau
from bitfront.predictors.options import OptionValue
from bitfront.predictors.predictor import AccuracyPredictor, Prediction
from bitfront.supernet.genes import Genomes
from bitfront.supernet.registry import Registry
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace

SPACE = digits()
SIZES = (25, 50, 100, 200, 400)


def additive(space: SearchSpace, n: int, rng: np.random.Generator) -> Pairs:
    """Accuracies that grow with every active gene, and a little noise."""
    genomes = space.sample(n, rng)
    weights = np.random.default_rng(0).uniform(0.2, 1, space.n_genes)
    gain = (genomes * space.active(genomes)) @ weights
    return Pairs(genomes, 0.6 + 0.3 * gain / gain.max() + 0.002 * rng.standard_normal(n))


def scores(transferred_at_50: float, scratch: list[float]) -> Scores:
    flat = {kind: np.full((2, 5), 0.6) for kind in transfer._KINDS}
    flat["transferred"] = np.full((2, 5), transferred_at_50)
    flat["scratch"] = np.array([scratch, scratch])
    return Scores(SIZES, flat, np.full((2, 5), 0.9))


def test_samples_needed_is_interpolated_over_the_logarithm() -> None:
    assert samples_needed(scores(0.8, [0.6, 0.7, 0.75, 0.85, 0.9])) == pytest.approx(100 * 2**0.5)
    assert samples_needed(scores(0.75, [0.6, 0.7, 0.75, 0.85, 0.9])) == pytest.approx(100)


def test_samples_needed_at_the_ends() -> None:
    assert samples_needed(scores(0.5, [0.6, 0.7, 0.75, 0.85, 0.9])) == 25
    assert samples_needed(scores(0.95, [0.6, 0.7, 0.75, 0.85, 0.9])) == 400


def test_what_transfer_has_to_hold() -> None:
    worse = scores(0.7, [0.6, 0.65, 0.66, 0.69, 0.71])
    worse.accuracy["svr"][:, 1] = 0.72
    figures, goals = transfer._figures("digits", worse)
    assert figures["digits_gain_over_scratch_400"] == pytest.approx(-0.01)
    assert figures["digits_gain_over_scikit_learn_50"] == pytest.approx(-0.02)
    assert figures["digits_gain_over_scikit_learn_25"] == pytest.approx(0.1)
    assert "digits_gain_over_scikit_learn_50 >= 0" in goals
    assert set(re.findall(r"(\w+) [<>]", " ".join(goals))) <= set(figures)


def test_the_interval_is_students() -> None:
    values = np.array([1.0, 2.0, 3.0])
    assert half_interval(values) == pytest.approx(4.302652729911275 * 1.0 / 3**0.5)
    assert half_interval(values[:1]) == 0
    assert summarised("a", values) == {"a": 2.0, "a_half_interval": half_interval(values)}
    assert summarised("a", values[:1]) == {"a": 1.0}


@pytest.mark.parametrize("kind", ["ridge", "svr"])
def test_cross_validated_regressors_learn(kind: str, rng: np.random.Generator) -> None:
    known, held_out = additive(SPACE, 80, rng), additive(SPACE, 200, rng)
    grid = predictor_real._grids()[kind]
    small = (grid[0], {name: values[:2] for name, values in grid[1].items()})
    ask = predictor_real.cross_validated(small, SPACE, known, 0)
    assert kendall_tau(ask(held_out), held_out.accuracy) > 0.6
    assert np.abs(ask(held_out) - held_out.accuracy).mean() < 0.05


def test_the_best_of_both_is_what_the_predictor_has_to_beat() -> None:
    taus = {"mlp": np.array([[0.9], [0.9]]), "ridge": np.array([[0.8], [0.9]]), "svr": np.array([[0.9], [0.88]])}
    figures, goals = predictor_real._figures(taus, np.array([[0.9], [0.8]]), (100,))
    assert figures["tau_gain_100"] == pytest.approx(0.01)
    assert figures["coverage_100"] == pytest.approx(0.85)
    assert goals == ["tau_gain_100 > 0", "coverage_100 >= 0.85", "coverage_100 <= 0.95"]


def test_bare_products_are_those_of_the_predictor(tiny_space: MBConvSpace, rng: np.random.Generator) -> None:
    """As many multiplications as its weights say, and none more."""
    options: dict[str, OptionValue] = {"members": 1, "hidden": 8, "epochs": 1, "steps": 1, "process": False}
    predictor = transferred(tiny_space, rng, options)
    genomes = tiny_space.sample(3, rng)
    bare_products(predictor, genomes)()
    features = predictor._features
    shapes = [tuple(weight.shape) for weight, _ in predictor._asked_first.members[0]]
    assert shapes == [(features.raw_architecture, 8), (8, 8), (8, 8), (8, 1)]
    assert predictor._asked_second is not None
    assert predictor._asked_second.members[0][0][0].shape == (features.raw(genomes).shape[1] + 1, 8)


def test_ratios_are_taken_turn_by_turn() -> None:
    """A slow spell in the middle of a run slows all ways, and moves no ratio."""
    spell = np.array([1.0, 1.0, 5.0, 5.0, 1.0])
    taken = {"products": spell, "single": 1.1 * spell, "ensemble": 2.2 * spell, "five_of_400": 5.5 * spell}
    figures = predictor_speed._ratios("a", [taken, taken])
    assert figures["a_single_over_products"] == pytest.approx(1.1)
    assert figures["a_ensemble_over_single"] == pytest.approx(2)
    assert figures["a_five_of_400_over_single"] == pytest.approx(5)


def test_every_way_is_timed(tiny_space: MBConvSpace) -> None:
    taken = predictor_speed._seconds(tiny_space, 0, 2)
    assert {way: seconds.shape for way, seconds in taken.items()} == dict.fromkeys(
        ("products", "single", "ensemble", "five_of_400"), (2,)
    )


class Spy(AccuracyPredictor):
    """Remembers what it learned, and says the same of all."""

    kind = "spy"
    lessons: ClassVar[list[Pairs]] = []

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    @classmethod
    def fit(cls, space: SearchSpace, pairs: Pairs, *_: object) -> Self:
        cls.lessons.append(pairs)
        return cls(space)

    @classmethod
    def from_scratch(cls, space: SearchSpace, pairs: Pairs, *_: object) -> Self:
        return cls.fit(space, pairs)

    def transfer(self, pairs: Pairs, *_: object) -> Self:
        self.lessons.append(pairs)
        return self

    @classmethod
    def suggest(cls, trial: object) -> dict[str, OptionValue]:
        return {}

    def predict(self, genomes: Genomes) -> Prediction:
        return Prediction(np.full(len(genomes), 0.5), np.full(len(genomes), 0.1))

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        raise NotImplementedError

    @classmethod
    def _restored(cls, *_: object) -> Self:
        raise NotImplementedError


def known(pairs: Pairs) -> set[bytes]:
    return {genome.tobytes() for genome in pairs.genomes}


def test_transfer_judges_by_what_nobody_learned(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    Spy.lessons.clear()
    pool = Pool(SPACE, *(additive(SPACE, n, rng) for n in (30, 10, 40, 20)))
    monkeypatch.setattr(transfer, "MLPPredictor", Spy)
    monkeypatch.setattr(
        transfer, "PREDICTORS", Registry("predictor", dict.fromkeys(transfer._KINDS, f"{__name__}:Spy"))
    )
    monkeypatch.setattr(transfer, "_tuned", lambda *_: [(name, {}) for name in transfer._KINDS])
    asked: list[Pairs] = []
    judge = transfer.Task.judge

    def watched(task: transfer.Task, predictor: AccuracyPredictor) -> dict[str, float]:
        asked.append(task.held_out)
        return judge(task, predictor)

    monkeypatch.setattr(transfer.Task, "judge", watched)
    scores = transfer.scored(pool, (25, 40), 1, 2, lambda *_: None)
    assert scores.accuracy["transferred"].shape == (2, 2)
    assert len(asked) == 2 * 2 * (2 + len(transfer._KINDS))
    held_out = [known(asked[0]), known(asked[-1])]
    assert held_out[0] != held_out[1]
    assert all(len(one) == 20 for one in held_out)
    lessons = [lesson for lesson in Spy.lessons if known(lesson) != known(pool.fp32)]
    first, second = lessons[: len(lessons) // 2], lessons[len(lessons) // 2 :]
    for seen, taught in zip(held_out, (first, second), strict=True):
        assert {len(lesson) for lesson in taught} == {25, 40}
        assert all(not known(lesson) & seen for lesson in taught)


def test_published_rows_are_judged_by_what_is_left(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    Spy.lessons.clear()
    monkeypatch.setattr(predictor_real, "MLPPredictor", Spy)
    taught: list[Pairs] = []
    asked: list[Pairs] = []

    def ask(held_out: Pairs) -> NDArray[np.float64]:
        asked.append(held_out)
        return held_out.accuracy

    def stub(_: object, __: object, pairs: Pairs, ___: int) -> Callable[[Pairs], NDArray[np.float64]]:
        taught.append(pairs)
        return ask

    monkeypatch.setattr(predictor_real, "cross_validated", stub)
    pairs = additive(SPACE, 60, rng)
    scores = predictor_real._scores(SPACE, pairs, 40, rng)
    assert scores["ridge"] == pytest.approx(1)
    for lesson in (*taught, *Spy.lessons):
        assert len(lesson) == 40
        assert not known(lesson) & known(asked[0])
    assert len(asked[0]) == 20


def test_pictures_are_pngs() -> None:
    lines = {"one": np.array([[0.7, 0.8], [0.72, 0.83]]), "two": np.array([[0.6, 0.8], [0.62, 0.81]])}
    assert samples_figure([Panel("a", (25, 50), lines)], "tau", "b").startswith(b"\x89PNG")
    assert speed_bars({"a": {"one": 1e3, "two": 2e3}, "b": {"one": 1e3, "two": 2e3}}).startswith(b"\x89PNG")
