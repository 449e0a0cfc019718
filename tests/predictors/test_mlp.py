import re

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bitfront.predictors import ensemble
from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.predictors.features import FeatureMap
from bitfront.predictors.metrics import kendall_tau
from bitfront.predictors.mlp import MLPPredictor
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
    return fit_all(seed=0)


def fit_all(seed: int) -> tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs]:
    rng, truth = np.random.default_rng(seed), Truth(SPACE, seed)
    real, quantized, held_out = fp32(SPACE.sample(300, rng)), SPACE.sample(100, rng), SPACE.sample(400, rng)
    first = MLPPredictor.fit(SPACE, Pairs(real, truth(real)), rng)
    few = Pairs(quantized, truth(quantized))
    transferred = first.transfer(few, rng)
    return first, transferred, MLPPredictor.from_scratch(SPACE, few, rng), Pairs(held_out, truth(held_out))


def tau(predictor: MLPPredictor, held_out: Pairs) -> float:
    return kendall_tau(predictor.predict(held_out.genomes).mean, held_out.accuracy)


@pytest.mark.slow
def test_transfer_beats_scratch_at_a_hundred_pairs() -> None:
    taus = []
    for seed in range(3):
        _, transferred, scratch, held_out = fit_all(seed)
        taus.append((tau(transferred, held_out), tau(scratch, held_out)))
    mean = np.mean(taus, axis=0)
    assert mean[0] > mean[1] + 0.05, taus
    assert mean[0] > 0.6, taus


def test_the_fp32_predictor_is_blind_to_bits_and_the_transferred_one_is_not(
    fitted: tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs],
) -> None:
    first, transferred, _, held_out = fitted
    narrow = SPACE.assign(held_out.genomes, {"weight_format": "int4", "activation_format": "int4"})
    wide = fp32(held_out.genomes)
    assert np.array_equal(first.predict(narrow).mean, first.predict(wide).mean)
    assert transferred.predict(narrow).mean.mean() < transferred.predict(wide).mean.mean()


def test_transfer_begins_at_the_fp32_prediction(
    fitted: tuple[MLPPredictor, MLPPredictor, MLPPredictor, Pairs], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, _, held_out = fitted
    monkeypatch.setattr("bitfront.predictors.mlp.fit", lambda weights, *_: weights)
    untouched = first.transfer(held_out, np.random.default_rng(0))
    assert untouched.predict(held_out.genomes).mean == pytest.approx(
        first.predict(held_out.genomes).mean, abs=1e-6
    )


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
    assert 0.78 <= covered.mean() <= 0.99


def test_every_gene_moves_the_features_and_fp32_is_zero() -> None:
    features = FeatureMap(SPACE)
    genome = SPACE.extremes()[1:]
    for i, gene in enumerate(SPACE.genes):
        seen = set()
        for choice in range(len(gene.choices)):
            other = genome.copy()
            other[0, i] = choice
            seen.add(np.concatenate(features(SPACE.canonical(other)), axis=1).tobytes())
        assert len(seen) == len(gene.choices), gene.name
    assert not features(fp32(SPACE.sample(50, np.random.default_rng(0))))[1].any()


def test_a_diverging_loss_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pairs = Pairs(fp32(SPACE.sample(40, rng)), rng.uniform(0, 1, 40))

    def broken(members: int, inputs: int, generator: torch.Generator) -> list[torch.Tensor]:
        weights = ensemble.new_weights(members, inputs, generator)
        weights[0].fill_(torch.nan)
        return weights

    monkeypatch.setattr("bitfront.predictors.mlp.new_weights", broken)
    with pytest.raises(NumericalError, match="nan"):
        MLPPredictor.fit(SPACE, pairs, rng)


def test_too_few_pairs_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidPairsError, match="at least 10"):
        MLPPredictor.fit(SPACE, Pairs(SPACE.sample(5, rng), rng.uniform(0, 1, 5)), rng)


def test_no_member_sees_what_it_leaves_out() -> None:
    generator = torch.Generator().manual_seed(0)
    left_out = ensemble.folds(23, 5, generator)
    rows = ensemble._equal_rows(left_out, 5, generator)
    assert len({len(r) for r in rows}) == 1
    for member, chosen in enumerate(rows):
        assert set(chosen.tolist()) == set(torch.nonzero(left_out != member)[:, 0].tolist())
