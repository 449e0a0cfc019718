"""How far candidates are from each other."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bitfront.predictors.distance import by_gene, by_gene_and_role, roles
from bitfront.predictors.features import FeatureMap
from bitfront.supernet.spaces.mbconv import MBConvSpace


def test_without_numbers_it_counts_the_genes_that_differ(tiny_space: MBConvSpace) -> None:
    features = FeatureMap(tiny_space, numeric=False)
    genomes = tiny_space.sample(20, np.random.default_rng(0))
    points = by_gene(features, with_policy=True).points(features.raw(genomes))
    squared = np.square(points[:, None] - points).sum(axis=2)
    active = tiny_space.active(genomes)
    values = np.where(active, genomes.astype(int), -1)
    both = active[:, None] & active
    differing = (values[:, None] != values) & both
    one_active = active[:, None] ^ active
    assert squared == pytest.approx(2 * differing.sum(axis=2) + one_active.sum(axis=2))


def test_the_policy_moves_no_architecture(tiny_space: MBConvSpace) -> None:
    features = FeatureMap(tiny_space)
    genomes = tiny_space.sample(10, np.random.default_rng(0))
    int4, fp32 = (
        features.raw(tiny_space.assign(genomes, {"weight_format": name, "activation_format": name}))
        for name in ("int4", "fp32")
    )
    kept = features.raw_architecture
    alone = by_gene(features, with_policy=False)
    assert alone.diagonal.shape == (kept,)
    assert np.array_equal(alone.points(int4[:, :kept]), alone.points(fp32[:, :kept]))
    both = by_gene_and_role(features)
    assert not np.allclose(both.points(int4), both.points(fp32))


def test_different_candidates_are_apart(tiny_space: MBConvSpace) -> None:
    features = FeatureMap(tiny_space)
    genomes = np.unique(tiny_space.sample(100, np.random.default_rng(0)), axis=0)
    points = by_gene_and_role(features).points(features.raw(genomes))
    squared = np.square(points[:, None] - points).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    assert squared.min() > 0.5


@pytest.mark.parametrize("with_policy", [False, True])
def test_roles_are_those_of_the_genes(tiny_space: MBConvSpace, with_policy: bool) -> None:
    features = FeatureMap(tiny_space)
    found = roles(features, with_policy)
    assert len(found) == len(by_gene(features, with_policy).diagonal)
    genes = [gene for gene in tiny_space.genes if with_policy or not gene.is_policy]
    names = {re.sub(r"\d+", "", gene.name) for gene in genes}
    assert len(np.unique(found)) == len(names) + (2 if with_policy else 1)
    sizes = features.numbers(tiny_space.extremes()[:1])[0].shape[1]
    place = sizes
    seen: dict[str, set[int]] = {}
    for gene in genes:
        ids = set(found[place : place + len(gene.choices)].tolist())
        assert len(ids) == 1
        assert seen.setdefault(re.sub(r"\d+", "", gene.name), ids) == ids
        place += len(gene.choices)


def test_a_role_counts_by_what_it_does_on_average(tiny_space: MBConvSpace) -> None:
    """Two layers that change by the same step are further apart than two that change by opposite ones."""
    features = FeatureMap(tiny_space, numeric=False)
    rng = np.random.default_rng(0)
    columns = np.zeros((3, features.raw(tiny_space.sample(1, rng)).shape[1]), np.float32)
    formats = [
        int(column)
        for gene, column in zip(tiny_space.genes, tiny_space.columns, strict=True)
        if gene.name.endswith("pointwise.weight_format")
    ]
    one, other = formats[:2]
    columns[0, [one, other + 1]] = columns[1, [one + 1, other]] = 1
    columns[2, [one, other]] = 1
    points = by_gene_and_role(features).points(columns)
    swapped, both = (np.square(points[0] - points[k]).sum() for k in (1, 2))
    plain = by_gene(features, with_policy=True).points(columns)
    assert swapped == pytest.approx(np.square(plain[0] - plain[1]).sum())
    assert both > np.square(plain[0] - plain[2]).sum()


def test_scaled_distances_are_scaled(tiny_space: MBConvSpace) -> None:
    features = FeatureMap(tiny_space)
    distance, columns = by_gene_and_role(features), features.raw(tiny_space.sample(5, np.random.default_rng(0)))
    assert distance.scaled(3.0).points(columns) == pytest.approx(3 * distance.points(columns), rel=1e-6)
    factors = np.random.default_rng(1).uniform(0.5, 2, columns.shape[1])
    scaled = distance.scaled(factors).points(columns)
    assert scaled == pytest.approx(distance.points((columns * factors).astype(np.float32)), abs=1e-5)
