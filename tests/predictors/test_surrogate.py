"""The Gaussian process that decides about samples, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.predictors.metrics import pairwise_accuracy
from bitfront.predictors.surrogate import Inputs, Surrogate
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.mbconv import MBConvSpace


def drawn(space: MBConvSpace, n: int, seed: int) -> Genomes:
    return np.unique(space.sample(2 * n, np.random.default_rng(seed), "sizes"), axis=0)[:n]


def measured(space: MBConvSpace, genomes: Genomes, noise: float = 0.003) -> Pairs:
    """Accuracy that grows with active genes and saturates, and noise."""
    gain = (genomes * space.active(genomes)) @ np.random.default_rng(0).uniform(0.2, 1, space.n_genes)
    errors = noise * np.random.default_rng(1).standard_normal(len(genomes))
    return Pairs(genomes, np.clip(0.9 - 0.4 * np.exp(-gain / 8) + errors, 0, 1))


def process_of(fitted: Surrogate) -> GaussianProcessRegressor:
    kernel = Matern(fitted.kernel.length, nu=1.5)
    return GaussianProcessRegressor(kernel, alpha=fitted.kernel.noise, optimizer=None)


@pytest.fixture(scope="module")
def fitted(tiny_space: MBConvSpace) -> Surrogate:
    return Surrogate.fit(tiny_space, measured(tiny_space, drawn(tiny_space, 60, 0)))


def test_it_predicts_what_scikit_learn_predicts(fitted: Surrogate, tiny_space: MBConvSpace) -> None:
    theirs = process_of(fitted)
    theirs.fit(fitted.points, fitted.residuals)
    candidates = drawn(tiny_space, 40, 1)
    mean, std = theirs.predict(fitted.inputs(candidates), return_std=True)
    assert fitted.mean(candidates) == pytest.approx(fitted.offset + mean, abs=1e-9)
    expected = 1.6448536 * np.sqrt((std**2 + fitted.kernel.noise) * fitted.variance)
    assert fitted.outlook(candidates).half_width == pytest.approx(expected, rel=1e-6)


def test_left_out_is_what_a_fit_without_both_says(fitted: Surrogate) -> None:
    said = fitted.left_out()
    for one, other in ((0, 7), (7, 0), (58, 59)):
        others = np.delete(np.arange(60), [one, other])
        theirs = process_of(fitted)
        theirs.fit(fitted.points[others], fitted.residuals[others])
        first, second = theirs.predict(fitted.points[[one, other]])
        assert said[one, other] == pytest.approx(first - second, abs=1e-9)


def test_accuracy_left_out_is_that_of_new_pairs(fitted: Surrogate, tiny_space: MBConvSpace) -> None:
    new = measured(tiny_space, drawn(tiny_space, 400, 9))
    expected = pairwise_accuracy(fitted.mean(new.genomes), new.accuracy)
    assert fitted.left_out_accuracy(np.arange(60)) == pytest.approx(expected, abs=0.05)


def test_noise_is_guessed(tiny_space: MBConvSpace) -> None:
    """With one left out at a time it would be put in the wrong order, nearly always."""
    found = []
    for seed in range(10):
        noise = np.random.default_rng(seed).uniform(0, 1, 60)
        surrogate = Surrogate.fit(tiny_space, Pairs(drawn(tiny_space, 60, seed), noise))
        found.append(surrogate.left_out_accuracy(np.arange(60)))
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_accuracy_left_out_of_some(fitted: Surrogate) -> None:
    expected, measured = fitted.left_out(), fitted.pairs.accuracy
    rows = np.array([3, 8, 20, 41])
    right = [(expected[i, j] > 0) == (measured[i] > measured[j]) for i in rows for j in rows if i < j]
    assert fitted.left_out_accuracy(rows) == pytest.approx(np.mean(right))
    chosen = np.isin(np.arange(60), rows)
    assert fitted.left_out_accuracy(chosen) == fitted.left_out_accuracy(rows)
    assert fitted.left_out_accuracy(rows[:1]) == 0.5


def test_a_part_says_what_scikit_learn_says_that_knows_it(fitted: Surrogate) -> None:
    rows, others = np.arange(25), np.arange(30, 60)
    theirs = process_of(fitted)
    said = theirs.fit(fitted.points[rows], fitted.residuals[rows]).predict(fitted.points[others])
    expected = pairwise_accuracy(said, fitted.pairs.accuracy[others])
    assert fitted.part_accuracy(rows, others) == pytest.approx(expected)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 39), min_size=1, max_size=6, unique=True))
def test_supposing_is_like_learning(fitted: Surrogate, tiny_space: MBConvSpace, rows: list[int]) -> None:
    """Half widths after supposing are those of a process with these points too, whatever is measured there."""
    candidates = drawn(tiny_space, 40, 2)
    outlook = fitted.outlook(candidates)
    for row in rows:
        outlook.measure(row)
    known = np.concatenate([fitted.points, fitted.inputs(candidates[rows])])
    theirs = process_of(fitted)
    _, std = theirs.fit(known, np.zeros(len(known))).predict(fitted.inputs(candidates), return_std=True)
    expected = 1.6448536 * np.sqrt((std**2 + fitted.kernel.noise) * fitted.variance)
    assert outlook.half_width == pytest.approx(expected, rel=1e-4)


def test_it_learns_and_transfers(tiny_space: MBConvSpace) -> None:
    genomes = drawn(tiny_space, 400, 3)
    real = np.unique(tiny_space.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"}), axis=0)
    before = Surrogate.fit(tiny_space, measured(tiny_space, real[:100]))
    pairs = measured(tiny_space, np.random.default_rng(4).permutation(genomes))
    known, held_out = pairs.take(np.arange(60)), pairs.take(np.arange(200, 400))
    transferred = Surrogate.fit(tiny_space, known, before)
    accuracy = pairwise_accuracy(transferred.mean(held_out.genomes), held_out.accuracy)
    assert accuracy > 0.8
    assert accuracy > pairwise_accuracy(before.mean(held_out.genomes), held_out.accuracy) + 0.02


def test_policy_counts_only_after_transfer(fitted: Surrogate, tiny_space: MBConvSpace) -> None:
    genomes = drawn(tiny_space, 30, 5)
    real = tiny_space.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"})
    assert fitted.mean(genomes) == pytest.approx(fitted.mean(real))
    joined = Inputs.of(tiny_space, genomes, policy=True)
    assert not np.allclose(joined(genomes), joined(real))


def test_constant_accuracies_are_learned(tiny_space: MBConvSpace) -> None:
    genomes = drawn(tiny_space, 20, 6)
    constant = Surrogate.fit(tiny_space, Pairs(genomes, np.full(20, 0.5)))
    assert constant.mean(genomes) == pytest.approx(np.full(20, 0.5))
    assert np.isfinite(constant.outlook(genomes).half_width).all()


def test_one_genome_is_too_little(tiny_space: MBConvSpace) -> None:
    genomes = np.repeat(drawn(tiny_space, 1, 7), 5, axis=0)
    with pytest.raises(InvalidPairsError):
        Surrogate.fit(tiny_space, Pairs(genomes, np.full(5, 0.5)))
