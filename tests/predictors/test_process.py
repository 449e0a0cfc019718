"""The Gaussian process beside the networks, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from bitfront.predictors import process as module
from bitfront.predictors.process import LearnedProcess, Process, learned_process
from bitfront.supernet.spaces.mbconv import MBConvSpace

Encoded = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def pairs(space: MBConvSpace, n: int, seed: int) -> tuple[Encoded, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    rng = np.random.default_rng(seed)
    genomes = np.unique(space.sample(3 * n, rng), axis=0)[:n]
    encoded = space.encode(genomes)
    gain = encoded @ np.random.default_rng(0).uniform(0, 1, encoded.shape[1])
    return encoded, 0.9 - 0.4 * np.exp(-gain / 8) + 0.003 * rng.standard_normal(len(genomes))


def theirs(found: LearnedProcess, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> GaussianProcessRegressor:
    kernel = Matern(found.kernel.length, nu=1.5)
    made = GaussianProcessRegressor(kernel, alpha=found.kernel.noise, optimizer=None)
    return made.fit(found.points[rows], found.residuals[rows])


@pytest.fixture(scope="module")
def found(tiny_space: MBConvSpace) -> LearnedProcess:
    return learned_process(*pairs(tiny_space, 80, 0), torch.Generator().manual_seed(0))


def test_it_says_what_scikit_learn_says(found: LearnedProcess, tiny_space: MBConvSpace) -> None:
    new, _ = pairs(tiny_space, 50, 1)
    scale = found.points.max() / found.process.learned.max()
    expected = found.process.offset + theirs(found, np.arange(80)).predict(new.astype(np.float64) * scale)
    assert found.process.outputs(new) == pytest.approx(expected, abs=2e-6)


def test_single_precision_is_enough_for_a_thousand_pairs(tiny_space: MBConvSpace) -> None:
    """Little noise makes large weights, whose sums lose digits."""
    encoded, values = pairs(tiny_space, 900, 2)
    found = learned_process(encoded, values, torch.Generator().manual_seed(0))
    exact = found.kernel.between(found.points, found.points) @ found.process.solved
    assert found.process.outputs(encoded) == pytest.approx(found.process.offset + exact, abs=2e-5)


def test_left_alone_is_what_a_fit_without_it_says(found: LearnedProcess, tiny_space: MBConvSpace) -> None:
    unseen = found.unseen(pairs(tiny_space, 80, 0)[0])
    for row in (0, 41, 79):
        said = theirs(found, np.delete(np.arange(80), row)).predict(found.points[[row]])[0]
        assert unseen[row] == pytest.approx(found.process.offset + said, abs=1e-9)


def test_left_out_by_folds_is_what_a_fit_without_the_fold_says(
    found: LearnedProcess, tiny_space: MBConvSpace
) -> None:
    fold = np.arange(80) % 5
    unseen = found.unseen(pairs(tiny_space, 80, 0)[0], fold)
    said = theirs(found, np.flatnonzero(fold != 3)).predict(found.points[fold == 3])
    assert unseen[fold == 3] == pytest.approx(found.process.offset + said, abs=1e-9)
    alone = found.unseen(pairs(tiny_space, 80, 0)[0], np.zeros(80, dtype=np.intp))
    assert alone == pytest.approx(np.full(80, found.process.offset))


def test_of_many_pairs_it_learns_some(tiny_space: MBConvSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", 30)
    encoded, values = pairs(tiny_space, 80, 0)
    found = learned_process(encoded, values, torch.Generator().manual_seed(3))
    assert len(found.process.learned) == len(np.unique(found.rows)) == 30
    assert found.process.offset == pytest.approx(values[found.rows].mean())
    others = np.setdiff1d(np.arange(80), found.rows)
    assert np.array_equal(found.unseen(encoded)[others], found.process.outputs(encoded)[others])
    assert found.unseen(encoded)[found.rows] == pytest.approx(found.left_out)


def test_shrunk_to_nothing_is_the_mean(found: LearnedProcess, tiny_space: MBConvSpace) -> None:
    new, _ = pairs(tiny_space, 50, 1)
    assert found.process.shrunk(0.0).outputs(new) == pytest.approx(np.full(len(new), found.process.offset))
    half = found.process.shrunk(0.5).outputs(new) - found.process.offset
    assert half == pytest.approx((found.process.outputs(new) - found.process.offset) / 2, abs=1e-7)


def test_it_comes_back_from_its_tensors(found: LearnedProcess, tiny_space: MBConvSpace) -> None:
    new, _ = pairs(tiny_space, 50, 1)
    back = Process.restored(found.process.tensors("a"), "a")
    assert np.array_equal(back.outputs(new), found.process.outputs(new))
    with pytest.raises(KeyError):
        Process.restored({}, "a")


def test_equal_values_are_learned(tiny_space: MBConvSpace) -> None:
    encoded, _ = pairs(tiny_space, 20, 0)
    flat = learned_process(encoded, np.full(20, 0.5), torch.Generator().manual_seed(0))
    assert flat.process.outputs(encoded) == pytest.approx(np.full(20, 0.5))
