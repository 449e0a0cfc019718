"""The Gaussian process beside the networks, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from bitfront.predictors import process as module
from bitfront.predictors.distance import by_gene, by_gene_and_role, roles
from bitfront.predictors.features import FeatureMap
from bitfront.predictors.process import LearnedProcess, Process, learned_process
from bitfront.supernet.spaces.mbconv import MBConvSpace

Columns = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def pairs(space: MBConvSpace, n: int, seed: int) -> tuple[Columns, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    rng = np.random.default_rng(seed)
    genomes = np.unique(space.sample(3 * n, rng), axis=0)[:n]
    encoded = space.encode(genomes)
    gain = encoded @ np.random.default_rng(0).uniform(0, 1, encoded.shape[1])
    values = 0.9 - 0.4 * np.exp(-gain / 8) + 0.003 * rng.standard_normal(len(genomes))
    return FeatureMap(space).raw(genomes), values


def fitted(space: MBConvSpace, n: int, seed: int, relevant: bool = False) -> LearnedProcess:
    features = FeatureMap(space)
    distance = by_gene(features, with_policy=True) if relevant else by_gene_and_role(features)
    kinds = roles(features, with_policy=True) if relevant else None
    return learned_process(*pairs(space, n, seed), distance, torch.Generator().manual_seed(seed), kinds)


def theirs(found: LearnedProcess, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> GaussianProcessRegressor:
    kernel = Matern(found.kernel.length, nu=1.5)
    made = GaussianProcessRegressor(kernel, alpha=found.kernel.noise, optimizer=None)
    return made.fit(found.points[rows], found.residuals[rows])


@pytest.fixture(scope="module")
def found(tiny_space: MBConvSpace) -> LearnedProcess:
    return fitted(tiny_space, 80, 0)


def test_it_says_what_scikit_learn_says(found: LearnedProcess, tiny_space: MBConvSpace) -> None:
    new, _ = pairs(tiny_space, 50, 1)
    distance = by_gene_and_role(FeatureMap(tiny_space))
    learned = distance.points(pairs(tiny_space, 80, 0)[0])
    scale = np.linalg.norm(found.points[0] - found.points[1]) / np.linalg.norm(learned[0] - learned[1])
    said = theirs(found, np.arange(80)).predict(distance.points(new) * scale)
    assert found.process.outputs(new) == pytest.approx(found.process.offset + said, abs=2e-6)


def test_what_matters_is_learned(tiny_space: MBConvSpace) -> None:
    """Where accuracy depends on kernels alone, they weigh more, and more is known of new candidates."""
    features, rng = FeatureMap(tiny_space), np.random.default_rng(0)
    genomes = np.unique(tiny_space.sample(400, rng), axis=0)
    kernels = [i for i, gene in enumerate(tiny_space.genes) if gene.name.endswith("kernel")]
    active = tiny_space.active(genomes)[:, kernels]
    values = ((1.0 + genomes[:, kernels]) * active).sum(axis=1) + 0.1 * rng.standard_normal(len(genomes))
    columns, distance, kinds = features.raw(genomes), by_gene(features, True), roles(features, True)
    known, new = np.arange(100), np.arange(100, len(genomes))
    errors = []
    for learned in (None, kinds):
        generator = torch.Generator().manual_seed(0)
        made = learned_process(columns[known], values[known], distance, generator, learned).process
        errors.append(np.mean(np.square(made.outputs(columns[new]) - values[new])))
    assert errors[1] < 0.7 * errors[0]


def test_single_precision_is_enough_for_a_thousand_pairs(tiny_space: MBConvSpace) -> None:
    """Little noise makes large weights, whose sums lose digits."""
    found = fitted(tiny_space, 900, 2, relevant=True)
    exact = found.kernel.between(found.points, found.points) @ found.process.solved
    assert found.process.outputs(pairs(tiny_space, 900, 2)[0]) == pytest.approx(
        found.process.offset + exact, abs=2e-5
    )


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
    kept = np.flatnonzero(fold != 3)
    values = found.process.offset + found.residuals
    others = theirs(found, kept).fit(found.points[kept], values[kept] - values[kept].mean())
    said = values[kept].mean() + others.predict(found.points[fold == 3])
    assert unseen[fold == 3] == pytest.approx(said, abs=1e-9)
    alone = found.unseen(pairs(tiny_space, 80, 0)[0], np.zeros(80, dtype=np.intp))
    assert alone == pytest.approx(np.full(80, found.process.offset))


def test_of_many_pairs_it_learns_some(tiny_space: MBConvSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", 30)
    columns, values = pairs(tiny_space, 80, 0)
    found = fitted(tiny_space, 80, 0)
    assert len(found.process.learned) == len(np.unique(found.rows)) == 30
    assert found.process.offset == pytest.approx(values[found.rows].mean())
    others = np.setdiff1d(np.arange(80), found.rows)
    distance = by_gene_and_role(FeatureMap(tiny_space))
    alone = learned_process(columns[found.rows], values[found.rows], distance, torch.Generator())
    assert found.unseen(columns)[others] == pytest.approx(alone.process.outputs(columns[others]), abs=1e-6)
    assert found.unseen(columns)[found.rows] == pytest.approx(alone.unseen(columns[found.rows]), abs=1e-6)


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


@pytest.mark.parametrize("relevant", [True, False])
def test_equal_values_are_learned(tiny_space: MBConvSpace, relevant: bool) -> None:
    features = FeatureMap(tiny_space)
    columns, _ = pairs(tiny_space, 20, 0)
    kinds = roles(features, True) if relevant else None
    generator = torch.Generator().manual_seed(0)
    flat = learned_process(columns, np.full(20, 0.5), by_gene(features, True), generator, kinds)
    assert flat.process.outputs(columns) == pytest.approx(np.full(20, 0.5))
