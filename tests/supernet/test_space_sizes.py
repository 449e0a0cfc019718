"""Sampling uniformly over sizes: valid, each group uniform by itself, and from the smallest to the largest."""

import numpy as np
import pytest
from scipy.stats import chisquare

from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace

N = 4000


def leans(space: MBConvSpace, genomes: Genomes, policy: bool) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How far each genome leans to large choices, 0..1, over genes that are always active."""
    columns = [i for i, g in enumerate(space.genes) if g.is_policy == policy and g.active_if is None]
    result: np.ndarray[tuple[int], np.dtype[np.float64]] = (
        genomes[:, columns] / (space.cardinalities[columns] - 1)
    ).mean(axis=1)
    return result


@pytest.mark.parametrize("restricted", [False, True])
def test_samples_are_canonical_valid_and_repeatable(restricted: bool) -> None:
    space = bitfusion().restrict(digits()) if restricted else digits()
    genomes = space.sample(N, np.random.default_rng(3), "sizes")
    assert space.valid(genomes).all()
    assert np.array_equal(space.canonical(genomes), genomes)
    assert np.array_equal(space.sample(N, np.random.default_rng(3), "sizes"), genomes)


def test_every_group_by_itself_is_uniform() -> None:
    space = bitfusion().restrict(digits())
    genomes = space.sample(N, np.random.default_rng(4), "sizes")
    for group in space.groups:
        if space.genes[group.members[0]].active_if is None and len(group.rows) > 1:
            _, counts = np.unique(genomes[:, group.members], axis=0, return_counts=True)
            assert len(counts) == len(group.rows)
            assert chisquare(counts).pvalue > 1e-4


def test_genomes_lean_one_way_and_formats_apart_from_them() -> None:
    space = digits()
    sizes = space.sample(N, np.random.default_rng(5), "sizes")
    genes = space.sample(N, np.random.default_rng(5), "genes")
    for policy in (False, True):
        assert leans(space, sizes, policy).std() > 1.4 * leans(space, genes, policy).std()
    together = np.corrcoef(leans(space, sizes, False), leans(space, sizes, True))[0, 1]
    assert abs(together) < 0.06


def test_both_genes_of_a_tied_pair_lean() -> None:
    space = bitfusion().restrict(digits())
    genomes = space.sample(N, np.random.default_rng(6), "sizes")
    for kind in ("weight_format", "activation_format"):
        columns = [
            i
            for i, gene in enumerate(space.genes)
            if gene.kind == kind and gene.active_if is None and len(space.allowed_choices(gene.name)) > 2
        ]
        correlations = np.asarray(np.corrcoef(genomes[:, columns].T))[np.triu_indices(len(columns), k=1)]
        assert correlations.min() > 0.25, kind


def test_sizes_reach_further_than_genes() -> None:
    space = digits()
    macs = {
        mode: [
            sum(layer.macs for layer in space.layers(g)) for g in space.sample(300, np.random.default_rng(7), mode)
        ]
        for mode in ("genes", "sizes")
    }
    assert np.ptp(np.log(macs["sizes"])) > 1.2 * np.ptp(np.log(macs["genes"]))


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'sizes'"):
        digits().sample(2, np.random.default_rng(0), "size")  # type: ignore[arg-type]
