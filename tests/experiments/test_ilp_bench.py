"""What the bench of integer programs compares: policies of one network within the same number of bytes."""

from __future__ import annotations

import numpy as np
import pytest

from bitfront.experiments.benchmarks import ilp
from bitfront.experiments.benchmarks.policies import Policies, masked, total
from bitfront.supernet.quantization.policy import size_bytes
from bitfront.supernet.sensitivity import Sensitivity
from bitfront.supernet.spaces.mbconv import MBConvSpace

FORMATS = ("int8", "int6", "int4")


@pytest.fixture
def policies(tiny_space: MBConvSpace) -> Policies:
    return Policies.of(tiny_space, tiny_space.extremes()[1], FORMATS)


def test_layers_are_tied_as_their_genes_are(policies: Policies) -> None:
    layers = [layer.name for layer in policies.layers]
    group = dict(zip(layers, policies.group_of.tolist(), strict=True))
    assert group["stage0.block0.expand"] == group["stage0.block0.project"] != group["stage0.block0.depthwise"]
    assert policies.allowed[layers.index("stem")].tolist() == [True, False, False]
    assert policies.allowed[layers.index("stage0.block0.expand")].all()


def test_sums_of_bytes_are_those_of_the_networks(policies: Policies, rng: np.random.Generator) -> None:
    choices = policies.sample(20, rng)
    genomes = policies.genomes(choices)
    assert policies.space.valid(genomes).all()
    found = total(policies.bytes(), policies, choices)
    expected = [size_bytes(policies.space.layers(genome)) for genome in genomes]
    np.testing.assert_allclose(found, expected)
    for genome, choice in zip(genomes, choices, strict=True):
        for layer, column in zip(policies.space.layers(genome), choice[policies.group_of], strict=True):
            assert layer.weight_format == layer.activation_format == FORMATS[column]


def test_rivals_fill_what_the_program_may_use(policies: Policies, rng: np.random.Generator) -> None:
    sizes = policies.bytes()
    limit = (np.nanmin(sizes, axis=1).sum() + np.nanmax(sizes, axis=1).sum()) / 2
    rivals = ilp._random(policies, sizes, limit, 30, rng)
    taken = total(sizes, policies, rivals)
    assert len(rivals) == 30
    assert ((taken <= limit) & (taken >= 0.95 * limit)).all()
    values = rng.random((len(policies.layers), len(FORMATS))).cumsum(axis=1)
    names = tuple(layer.name for layer in policies.layers)
    chosen = ilp._allocated(policies, Sensitivity(names, FORMATS, values), sizes, limit)
    table = masked(values, policies)
    assert total(sizes, policies, chosen[None])[0] <= limit
    assert total(table, policies, chosen[None])[0] <= total(table, policies, rivals).min() + 1e-9


def test_made_up_programs_have_a_solution() -> None:
    figures = ilp._speed(1)
    assert 0 < figures["median_cpu_seconds"] <= figures["slowest_seconds"] * 2
