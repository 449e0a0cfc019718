"""Which samples are measured next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfront.predictors.acquisition import ACQUISITIONS, acquired, below_front, costs
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.surrogate import Surrogate
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.spaces.mbconv import MBConvSpace

SIZES = st.integers(1, 25)


@pytest.fixture(scope="module")
def surrogate(tiny_space: MBConvSpace) -> Surrogate:
    """It knows what small networks are worth."""
    genomes = tiny_space.sample(300, np.random.default_rng(0), "sizes")
    small = np.unique(genomes[np.argsort(costs(tiny_space, genomes)[0])[:60]], axis=0)
    architecture = [not gene.is_policy for gene in tiny_space.genes]
    gain = (small * tiny_space.active(small))[:, architecture].sum(axis=1)
    return Surrogate.fit(tiny_space, Pairs(small, 0.5 + 0.4 * gain / gain.max()))


@settings(max_examples=20)
@given(SIZES, st.integers(0, 25), st.sampled_from(sorted(ACQUISITIONS)))
def test_they_are_different_and_as_many_as_wanted(
    surrogate: Surrogate, tiny_space: MBConvSpace, n: int, random: int, name: str
) -> None:
    candidates = np.unique(tiny_space.sample(20, np.random.default_rng(1)), axis=0)
    rows = acquired(surrogate, candidates, n, ACQUISITIONS[name], random, np.random.default_rng(2))
    assert len(rows) == len(set(rows.tolist())) == min(n, len(candidates))
    drawn = np.random.default_rng(2).permutation(len(candidates))[: min(random, len(rows))]
    assert rows[: len(drawn)].tolist() == drawn.tolist()


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_each_teaches_most_about_those_that_matter(
    surrogate: Surrogate, tiny_space: MBConvSpace, name: str
) -> None:
    """By brute force: suppose each to be measured, and look what is then left."""
    candidates = np.unique(tiny_space.sample(40, np.random.default_rng(3), "sizes"), axis=0)
    matter = ACQUISITIONS[name](surrogate, candidates, surrogate.outlook(candidates))
    assert matter.sum() > 0
    rows = acquired(surrogate, candidates, 6, ACQUISITIONS[name], 2, np.random.default_rng(4))
    for place in range(2, 6):
        left = []
        for row in range(len(candidates)):
            outlook = surrogate.outlook(candidates)
            for measured in (*rows[:place], row):
                outlook.measure(int(measured))
            left.append(float(outlook.measured_variance @ matter))
        best = np.setdiff1d(np.arange(len(candidates)), rows[:place])
        assert left[rows[place]] == pytest.approx(min(np.array(left)[best]), rel=1e-9)


def test_disagreement_takes_what_is_hardly_known(surrogate: Surrogate, tiny_space: MBConvSpace) -> None:
    """Which are the large networks, as the surrogate knows small ones."""
    candidates = np.unique(tiny_space.sample(200, np.random.default_rng(3), "sizes"), axis=0)
    rows = acquired(surrogate, candidates, 20, ACQUISITIONS["disagreement"], 0, np.random.default_rng(4))
    sizes = costs(tiny_space, candidates)[0]
    assert sizes[rows].mean() > sizes.mean() + 0.3 * sizes.std()


def test_twins_are_not_both_chosen(surrogate: Surrogate, tiny_space: MBConvSpace) -> None:
    """The fp32 surrogate can not tell them apart: once one is chosen, nothing is learned from the other."""
    candidates = np.unique(tiny_space.sample(30, np.random.default_rng(5)), axis=0)
    widest = int(np.argmax(surrogate.outlook(candidates).half_width))
    twin = tiny_space.assign(candidates[[widest]], {"weight_format": "int8", "activation_format": "int6"})
    both = np.concatenate([candidates, twin])
    rows = acquired(surrogate, both, 10, ACQUISITIONS["disagreement"], 0, np.random.default_rng(6))
    assert np.isin([widest, len(candidates)], rows).sum() == 1


def test_front_takes_what_is_near_the_predicted_front(surrogate: Surrogate, tiny_space: MBConvSpace) -> None:
    candidates = np.unique(tiny_space.sample(300, np.random.default_rng(7), "sizes"), axis=0)
    mean = surrogate.mean(candidates)
    below = np.min([below_front(mean, cost) for cost in costs(tiny_space, candidates)], axis=0)
    rows = acquired(surrogate, candidates, 30, ACQUISITIONS["front"], 0, np.random.default_rng(8))
    assert below[rows].mean() < 0.7 * below.mean()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_below_front_is_what_brute_force_says(values: list[tuple[int, int]]) -> None:
    accuracy, cost = np.array(values, float).T
    expected = [max(a for a, c in values if c <= own) - mine for mine, own in values]
    assert below_front(accuracy, cost).tolist() == expected


def test_costs_are_those_of_the_networks(tiny_space: MBConvSpace) -> None:
    """Operations exactly; bytes up to gates and biases, which are counted as fp32."""
    genomes = tiny_space.sample(20, np.random.default_rng(9))
    macs, sizes = costs(tiny_space, genomes)
    for row, genome in enumerate(genomes):
        layers = [layer for block in tiny_space.blocks(genome) for layer in block.layers]
        assert np.exp(macs[row]) == pytest.approx(sum(layer.macs for layer in layers), rel=1e-5)
        kept = sum(
            layer.weights * FORMATS.get(layer.weight_format).storage_bits / 32 + layer.out_channels
            for layer in layers
        )
        assert np.exp(sizes[row]) == pytest.approx(kept, rel=1e-4)
