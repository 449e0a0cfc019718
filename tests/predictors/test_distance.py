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
    points = features.raw(genomes) @ by_gene(features, with_policy=True)
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
    narrow = tiny_space.assign(genomes, {"weight_format": "int4", "activation_format": "int4"})
    wide = tiny_space.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"})
    kept = features.raw_architecture
    weights = by_gene(features, with_policy=False)
    assert weights.shape == (kept, kept)
    assert np.array_equal(features.raw(narrow)[:, :kept] @ weights, features.raw(wide)[:, :kept] @ weights)
    both = by_gene_and_role(features)
    assert not np.allclose(features.raw(narrow) @ both, features.raw(wide) @ both)


def test_different_candidates_are_apart(tiny_space: MBConvSpace) -> None:
    features = FeatureMap(tiny_space)
    genomes = np.unique(tiny_space.sample(100, np.random.default_rng(0)), axis=0)
    points = features.raw(genomes) @ by_gene_and_role(features)
    squared = np.square(points[:, None] - points).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    assert squared.min() > 0.5


@pytest.mark.parametrize("with_policy", [False, True])
def test_roles_are_those_of_the_genes(tiny_space: MBConvSpace, with_policy: bool) -> None:
    features = FeatureMap(tiny_space)
    found = roles(features, with_policy)
    assert len(found) == len(by_gene(features, with_policy))
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
