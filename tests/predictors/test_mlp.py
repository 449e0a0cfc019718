import dataclasses
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from bitfront.predictors import ensemble
from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.predictors.features import FeatureMap
from bitfront.predictors.metrics import kendall_tau
from bitfront.predictors.mlp import MLPPredictor
from bitfront.predictors.options import OptionValue
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits

SPACE = digits()
_BITS_LOST = {"fp32": 0.0, "int8": 0.0, "int6": 0.15, "int4": 1.0}


class Truth:
    """Saturating gains of architecture, drops by format that differ from layer to layer, and noise."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        rng = np.random.default_rng(seed)
        roles = sorted({re.sub(r"\d+", "", gene.name) for gene in space.genes})
        of_role = dict(zip(roles, rng.uniform(0.3, 1.5, len(roles)), strict=True))
        self.space = space
        self.rng = rng
        self.weight = np.array([of_role[re.sub(r"\d+", "", g.name)] * rng.uniform(0.3, 1.7) for g in space.genes])

    def __call__(self, genomes: Genomes, noise: float = 0.003) -> NDArray[np.float64]:
        gain, drop = np.zeros(len(genomes)), np.zeros(len(genomes))
        active = self.space.active(genomes)
        for i, gene in enumerate(self.space.genes):
            if gene.is_policy:
                lost = np.array([_BITS_LOST[str(choice)] for choice in gene.choices])[genomes[:, i]]
                drop += self.weight[i] * lost * active[:, i]
            else:
                gain += self.weight[i] * (genomes[:, i] + active[:, i] * 0.3) / len(gene.choices)
        clean = 0.97 - 0.35 * np.exp(-gain / 6) - 0.05 * (1 - np.exp(-drop / 8))
        return np.clip(clean + noise * self.rng.standard_normal(len(genomes)), 0, 1)


def fp32(genomes: Genomes) -> Genomes:
    return SPACE.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"})


@pytest.fixture(scope="module")
def fitted() -> tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs]:
    """(fp32, transferred, from scratch, held-out quantized pairs) on one made-up truth."""
    return fit_all(0, True)


@pytest.fixture(scope="module")
def networks() -> tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs]:
    """The same without processes."""
    return fit_all(0, False)


@cache
def fit_all(seed: int, process: bool) -> tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs]:
    options: dict[str, OptionValue] = {"process": process}
    rng, truth = np.random.default_rng(seed), Truth(SPACE, seed)
    real, quantized, held_out = fp32(SPACE.sample(300, rng)), SPACE.sample(100, rng), SPACE.sample(400, rng)
    first = MLPPredictor.fit(SPACE, Pairs(real, truth(real)), rng, options)
    few = Pairs(quantized, truth(quantized))
    transferred = first.transfer(few, rng)
    scratch = MLPPredictor.from_scratch(SPACE, few, rng, options)
    return first, transferred, scratch, Pairs(held_out, truth(held_out))


def tau(predictor: MLPPredictor, held_out: Pairs) -> float:
    return kendall_tau(predictor.predict(held_out.genomes).mean, held_out.accuracy)


@pytest.mark.slow
@pytest.mark.parametrize(("process", "gain", "least"), [(False, 0.05, 0.6), (True, 0.02, 0.85)])
def test_transfer_beats_scratch_at_a_hundred_pairs(process: bool, gain: float, least: float) -> None:
    """On a truth that networks alone learn badly from scratch, and processes well."""
    taus = []
    for seed in range(3):
        _, transferred, scratch, held_out = fit_all(seed, process)
        taus.append((tau(transferred, held_out), tau(scratch, held_out)))
    mean = np.mean(taus, axis=0)
    assert mean[0] > mean[1] + gain, taus
    assert mean[0] > least, taus


def test_the_fp32_predictor_is_blind_to_bits_and_the_transferred_one_is_not(
    fitted: tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs],
) -> None:
    first, transferred, _, held_out = fitted
    narrow = SPACE.assign(held_out.genomes, {"weight_format": "int4", "activation_format": "int4"})
    wide = fp32(held_out.genomes)
    assert np.array_equal(first.predict(narrow).mean, first.predict(wide).mean)
    assert transferred.predict(narrow).mean.mean() < transferred.predict(wide).mean.mean()


def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitting leaves the first weights as they are."""
    monkeypatch.setattr("bitfront.predictors.network.fit", lambda weights, *_: weights)


def test_finetuning_begins_at_the_fp32_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, truth = np.random.default_rng(0), Truth(SPACE, 0)
    real, held_out = fp32(SPACE.sample(60, rng)), SPACE.sample(40, rng)
    first = MLPPredictor.fit(
        SPACE, Pairs(real, truth(real)), rng, {"transfer": "finetune", "epochs": 5, "steps": 1}
    )
    untouched(monkeypatch)
    second = first.transfer(Pairs(held_out, truth(held_out)), rng)
    assert second.predict(held_out).mean == pytest.approx(first.predict(held_out).mean, abs=1e-6)


def test_a_drop_that_says_nothing_true_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, truth = np.random.default_rng(0), Truth(SPACE, 0)
    real, held_out = fp32(SPACE.sample(60, rng)), SPACE.sample(40, rng)
    first = MLPPredictor.fit(SPACE, Pairs(real, truth(real)), rng, {"epochs": 5, "steps": 1})
    measured = np.clip(first.mean(held_out) - 0.05 + 0.01 * rng.standard_normal(40), 0, 1)
    second = first.transfer(Pairs(held_out, measured), rng)
    new = SPACE.sample(40, rng)
    lost = first.mean(new) - second.mean(new)
    assert lost == pytest.approx(np.full(40, 0.05), abs=0.012)


def test_the_drop_of_networks_is_added_to_the_fp32_prediction(
    networks: tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs],
) -> None:
    """`predict` by folded matrices against the features and networks that were fitted."""
    first, transferred, _, held_out = networks
    architecture, _ = FeatureMap(SPACE)(held_out.genomes)
    assert first.first.network is not None
    before = first.first.network.outputs(architecture)
    assert first.mean(held_out.genomes) == pytest.approx(before.mean(axis=0), abs=1e-6)
    assert transferred.second is not None
    assert transferred.second.network is not None
    features = transferred._drop_features(held_out.genomes, before)
    both = before + transferred.second.network.outputs(features)
    assert transferred.mean(held_out.genomes) == pytest.approx(both.mean(axis=0), abs=1e-6)


def test_networks_and_process_say_the_mean_together_and_the_process_the_drop(
    fitted: tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs],
) -> None:
    first, transferred, _, held_out = fitted
    # On this truth networks are so much better that the share that was found is 0.
    lesson = dataclasses.replace(first.first, share=0.4)
    first = MLPPredictor(SPACE, first.options, lesson)
    transferred = MLPPredictor(SPACE, first.options, lesson, transferred.second)
    features = FeatureMap(SPACE)
    raw, (architecture, _) = features.raw(held_out.genomes), features(held_out.genomes)
    assert first.first.network is not None
    assert first.first.process is not None
    said = first.first.process.outputs(raw[:, : features.raw_architecture])
    before = first.first.network.outputs(architecture)
    mean = (1 - first.first.share) * before.mean(axis=0) + first.first.share * said
    assert first.mean(held_out.genomes) == pytest.approx(mean, abs=1e-6)
    assert transferred.second is not None
    assert transferred.second.process is not None
    both = mean + transferred.second.process.outputs(raw)
    assert transferred.mean(held_out.genomes) == pytest.approx(both, abs=1e-6)


def test_scratch_predicts_by_its_joined_features(
    networks: tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs],
) -> None:
    _, _, scratch, held_out = networks
    features = np.concatenate(FeatureMap(SPACE)(held_out.genomes), axis=1)
    assert scratch.first.network is not None
    expected = scratch.first.network.outputs(features).mean(axis=0)
    assert scratch.mean(held_out.genomes) == pytest.approx(expected, abs=1e-6)


def test_finetuning_goes_without_a_process() -> None:
    rng, truth = np.random.default_rng(0), Truth(SPACE, 0)
    real = fp32(SPACE.sample(30, rng))
    options: dict[str, OptionValue] = {"transfer": "finetune", "epochs": 1, "steps": 1}
    assert MLPPredictor.fit(SPACE, Pairs(real, truth(real)), rng, options).first.process is None


def test_transfer_leaves_the_fp32_predictor_as_it_was(
    fitted: tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs],
) -> None:
    first, _, _, held_out = fitted
    before = first.predict(held_out.genomes).mean
    first.transfer(held_out.take(np.arange(20)), np.random.default_rng(0))
    assert np.array_equal(first.predict(held_out.genomes).mean, before)


def test_intervals_hold_about_what_they_promise(
    fitted: tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs],
) -> None:
    _, transferred, _, held_out = fitted
    prediction = transferred.predict(held_out.genomes)
    covered = np.abs(prediction.mean - held_out.accuracy) <= prediction.half_width
    assert 0.85 <= covered.mean() <= 0.95


def test_a_diverging_loss_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pairs = Pairs(fp32(SPACE.sample(40, rng)), rng.uniform(0, 1, 40))

    def broken(*shape: Any) -> list[torch.Tensor]:
        weights = ensemble.new_weights(*shape)
        weights[0].fill_(torch.nan)
        return weights

    monkeypatch.setattr("bitfront.predictors.network.new_weights", broken)
    with pytest.raises(NumericalError, match="nan"):
        MLPPredictor.fit(SPACE, pairs, rng)


def test_too_few_pairs_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidPairsError, match="at least 10"):
        MLPPredictor.fit(SPACE, Pairs(SPACE.sample(5, rng), rng.uniform(0, 1, 5)), rng)


def test_no_member_sees_what_it_leaves_out() -> None:
    generator = torch.Generator().manual_seed(0)
    fold, leaves = ensemble.folds(23, 5, generator), torch.tensor([0, 1, 2, 3, 4, 0, -1])
    rows = ensemble._equal_rows(fold, leaves, generator)
    assert len({len(r) for r in rows}) == 1
    for left, chosen in zip(leaves, rows, strict=True):
        assert set(chosen.tolist()) == set(torch.nonzero(fold != left)[:, 0].tolist())


@pytest.mark.parametrize("members", [1, 3, 5, 7])
@pytest.mark.parametrize(("transfer", "process"), [("drop", True), ("drop", False), ("finetune", False)])
def test_any_number_of_members(members: int, transfer: str, process: bool) -> None:
    rng, truth = np.random.default_rng(0), Truth(SPACE, 0)
    real, quantized = fp32(SPACE.sample(30, rng)), SPACE.sample(20, rng)
    options: dict[str, OptionValue] = {
        "members": members,
        "epochs": 2,
        "steps": 1,
        "hidden": 16,
        "transfer": transfer,
        "process": process,
    }
    first = MLPPredictor.fit(SPACE, Pairs(real, truth(real)), rng, options)
    second = first.transfer(Pairs(quantized, truth(quantized)), rng)
    for predictor in (first, second):
        assert predictor.first.network is not None
        assert predictor.first.network.members == members
        prediction = predictor.predict(quantized)
        assert (prediction.half_width > 0).all()
        assert (np.ptp(prediction.half_width) > 0) == (members >= 5)


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 3, 5, 10])
def test_intervals_hold_what_they_promise_with_any_number_of_members(members: int) -> None:
    held = []
    for seed in range(4):
        rng, truth = np.random.default_rng(seed), Truth(SPACE, seed)
        known, new = SPACE.sample(100, rng), SPACE.sample(500, rng)
        options: dict[str, OptionValue] = {"members": members, "hidden": 64}
        predictor = MLPPredictor.from_scratch(SPACE, Pairs(known, truth(known)), rng, options)
        prediction = predictor.predict(new)
        held.append(np.mean(np.abs(prediction.mean - truth(new)) <= prediction.half_width))
    assert 0.85 <= np.mean(held) <= 0.95, held


@pytest.mark.parametrize("transfer", ["drop", "finetune"])
def test_what_was_learned_calibrates_nothing(transfer: str) -> None:
    """A second transfer starts from the first lesson, and pairs of the first lesson are left out of it."""
    rng, truth = np.random.default_rng(0), Truth(SPACE, 0)
    known, more = SPACE.sample(40, rng), SPACE.sample(30, rng)
    known_pairs, all_pairs = (Pairs(g, truth(g)) for g in (known, np.concatenate([known, more])))
    options: dict[str, OptionValue] = {"transfer": transfer, "hidden": 16, "epochs": 2, "steps": 1}
    first = MLPPredictor.from_scratch(SPACE, known_pairs, rng, options)
    with pytest.raises(InvalidPairsError, match="40 of 40 genomes were learned before"):
        first.transfer(known_pairs, rng)
    second = first.transfer(all_pairs, np.random.default_rng(1))
    assert np.array_equal(second.pairs.genomes, more)
    assert second.earlier is not None
    assert np.array_equal(second.earlier.genomes, known)
    third = second.transfer(all_pairs, np.random.default_rng(1))
    assert np.array_equal(third.predict(more).mean, second.predict(more).mean)
    assert [one.how for one in (first, second)] == ["from scratch", "transferred"]


@given(
    outputs=arrays(np.float32, (2, 7), elements=st.floats(-3, 3, width=32)),
    targets=arrays(np.float32, (2, 7), elements=st.floats(-3, 3, width=32)),
)
def test_ranking_loss_equals_counting(outputs: NDArray[np.float32], targets: NDArray[np.float32]) -> None:
    expected = 0.0
    for member in range(2):
        out, true = outputs[member].astype(float), targets[member].astype(float)
        terms = [
            np.logaddexp(0, -(out[i] - out[j]) * np.sign(true[i] - true[j])) * abs(true[i] - true[j])
            for i in range(7)
            for j in range(i + 1, 7)
        ]
        expected += np.mean((out - true) ** 2) + 0.5 * np.mean(terms)
    found = ensemble._loss(torch.from_numpy(outputs), torch.from_numpy(targets), 0.5)
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)
