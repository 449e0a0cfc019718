import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.predictors.numeric import NumericFeatures
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

_FULL_BITS = 32


@pytest.fixture(scope="module", params=["digits", "fashion", "proxyless", "mobilenet_v3_cifar", "resnet50_cifar"])
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES.get(request.param)()


def by_hand(space: SearchSpace, genome: NDArray[np.uint8]) -> tuple[float, float, float]:
    """(operations, parameters, bits that formats with a choice save) of the network, layer by layer."""
    layers = space.layers(genome)
    saved = 0.0
    for layer in layers:
        if ".se." not in layer.name:  # gates follow the depthwise layer's formats and have no gene of their own
            saved += layer.weights * (_FULL_BITS - FORMATS.get(layer.weight_format).storage_bits)
    operations = sum(layer.macs for layer in layers)
    return operations, sum(layer.weights + layer.out_channels for layer in layers), saved


def test_equals_sums_over_the_layers(space: SearchSpace) -> None:
    numbers = NumericFeatures(space)
    genomes = space.sample(40, np.random.default_rng(0), "sizes")
    architecture, policy = numbers(genomes)
    for row, genome in enumerate(genomes):
        operations, parameters, saved = by_hand(space, genome)
        assert architecture[row] == pytest.approx(np.log([operations, parameters]), rel=1e-6)
        if space.name != "proxyless":  # its fixed layers are at 8 bits without a choice
            whole = _FULL_BITS * parameters
            assert policy[row, 0] == pytest.approx(np.log2(whole / (whole - saved)), rel=1e-5, abs=1e-6)


def test_narrower_weights_never_weigh_more(space: SearchSpace) -> None:
    numbers, rng = NumericFeatures(space), np.random.default_rng(1)
    genomes = space.sample(30, rng)
    for i, gene in enumerate(space.genes):
        if gene.kind == "weight_format" and len(gene.choices) > 1:
            narrow, wide = genomes.copy(), genomes.copy()
            narrow[:, i], wide[:, i] = len(gene.choices) - 1, 0
            active = space.active(genomes)[:, i]
            apart = numbers(narrow)[1][:, 0] - numbers(wide)[1][:, 0]
            assert (apart[active] > 0).all(), gene.name
            assert (apart >= 0).all(), gene.name


def test_activations_weigh_nothing(space: SearchSpace) -> None:
    genomes = space.sample(20, np.random.default_rng(2))
    other = genomes.copy()
    for i, gene in enumerate(space.genes):
        if gene.kind == "activation_format":
            other[:, i] = (other[:, i] + 1) % len(gene.choices)
    assert np.array_equal(NumericFeatures(space)(genomes)[1], NumericFeatures(space)(other)[1])


def test_one_genome_is_as_many(space: SearchSpace) -> None:
    genomes = space.sample(5, np.random.default_rng(3))
    together = NumericFeatures(space)(genomes)
    for row in range(5):
        alone = NumericFeatures(space)(genomes[row : row + 1])
        assert np.allclose(alone[0][0], together[0][row])
        assert np.allclose(alone[1][0], together[1][row])
