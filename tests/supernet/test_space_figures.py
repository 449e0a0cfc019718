"""Parameters, MACs and bytes of many networks at once, against one network at a time."""

from __future__ import annotations

import numpy as np
import pytest

from bitfront.supernet.quantization.policy import size_bytes
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.figures import figure_genomes, network_figures


@pytest.mark.parametrize("name", SPACES.names())
def test_figures_are_those_of_each_network(name: str) -> None:
    space = SPACES.get(name)()
    genomes = figure_genomes(space, 40, np.random.default_rng(0))
    figures = network_figures(space, genomes)
    for i, genome in enumerate(genomes):
        layers = space.layers(genome)
        assert figures["parameters"][i] == sum(layer.weights + layer.out_channels for layer in layers)
        assert figures["macs"][i] == sum(layer.macs for layer in layers)
        assert figures["size_bytes"][i] == pytest.approx(size_bytes(layers))


@pytest.mark.parametrize("name", SPACES.names())
def test_no_sample_lies_outside_the_extremes(name: str) -> None:
    space = SPACES.get(name)()
    genomes = figure_genomes(space, 200, np.random.default_rng(1))
    for values in network_figures(space, space.check(genomes)).values():
        samples, extremes = values[:200], values[200:]
        assert extremes.min() <= samples.min()
        assert samples.max() <= extremes.max()
