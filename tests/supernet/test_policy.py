"""Which outputs are quantized, and how many bytes a policy takes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.layers import Layer
from bitfront.supernet.quantization.policy import (
    is_integer,
    is_integer_layer,
    layer_bytes,
    quantized_outputs,
    size_bytes,
)
from bitfront.supernet.spaces.mbconv import MBConvSpace

S0B0, S0B1, S1B0 = "stage0.block0", "stage0.block1", "stage1.block0"


def _layer(weight_format: str = "fp32", activation_format: str = "fp32") -> Layer:
    return Layer("x", "conv", 3, 8, 5, 2, 9, weight_format, activation_format, True, "relu")


def test_which_formats_are_integers() -> None:
    assert [is_integer(name) for name in ("fp32", "int8", "int6", "int4")] == [False, True, True, True]
    with pytest.raises(UnknownNameError, match="int4"):
        is_integer("int44")


def test_an_integer_layer_has_integers_on_both_sides() -> None:
    for weight, activation in itertools.product(("fp32", "int8", "int4"), repeat=2):
        expected = weight != "fp32" and activation != "fp32"
        assert is_integer_layer(_layer(weight, activation)) == expected


def _outputs(space: MBConvSpace, **formats: str) -> frozenset[str]:
    """The rules on a network of two blocks in stage 0 (the second one residual) and one in stage 1."""
    choices: dict[str, str | int] = {"stage0.depth": 2}
    for name, formats_ in formats.items():
        weight, activation = formats_.split("/")
        prefix = name.replace("__", ".")
        choices |= {f"{prefix}.weight_format": weight, f"{prefix}.activation_format": activation}
    return quantized_outputs(space.blocks(space.genome(choices)))


def test_a_float_network_quantizes_no_output(tiny_space: MBConvSpace) -> None:
    assert _outputs(tiny_space) == frozenset()


def test_an_integer_layer_before_a_float_layer_stores_int8(tiny_space: MBConvSpace) -> None:
    names = _outputs(tiny_space, stage0__block0__depthwise="int4/int8")
    assert names == {f"{S0B0}.depthwise"}


def test_a_half_integer_layer_does_not(tiny_space: MBConvSpace) -> None:
    assert _outputs(tiny_space, stage0__block0__depthwise="int4/fp32") == frozenset()
    assert _outputs(tiny_space, stage0__block0__depthwise="fp32/int8") == frozenset()


def test_no_output_is_quantized_where_the_consumer_does_it(tiny_space: MBConvSpace) -> None:
    names = _outputs(tiny_space, stage0__block0__pointwise="int8/int8", stage0__block0__depthwise="int8/int8")
    assert names == {f"{S0B0}.project"}  # the next block's expansion takes floats


def test_before_an_addition_the_output_is_quantized_anyway(tiny_space: MBConvSpace) -> None:
    parts = {
        f"stage{s}__block{b}__{part}": "int8/int8"
        for s, b in ((0, 0), (0, 1), (1, 0))
        for part in ("pointwise", "depthwise")
    }
    assert _outputs(tiny_space, **parts) == {f"{S0B1}.project", f"{S1B0}.project"}  # the head takes floats
    whole = _outputs(tiny_space, **parts, stem="int8/int8", head="int8/int8")
    assert whole == {f"{S0B1}.project", "head.mix"}  # the addition and the pooling


def test_logits_are_never_quantized(tiny_space: MBConvSpace, rng: np.random.Generator) -> None:
    for genome in tiny_space.sample(100, rng):
        assert "head.classifier" not in quantized_outputs(tiny_space.blocks(genome))


@pytest.mark.parametrize(("weight_format", "bits", "scales"), [("fp32", 32, 0), ("int8", 8, 8), ("int4", 4, 8)])
def test_bytes_of_a_layer(weight_format: str, bits: int, scales: int) -> None:
    """3 x 8 x 25 weights, 8 biases, a scale for each of 8 channels if they are integers."""
    assert layer_bytes(_layer(weight_format=weight_format)) == 600 * bits / 8 + 8 * 4 + scales * 4


def test_bytes_of_a_network_are_those_of_its_layers(tiny_space: MBConvSpace, rng: np.random.Generator) -> None:
    for genome in tiny_space.sample(10, rng):
        layers = tiny_space.layers(genome)
        assert size_bytes(layers) == sum(layer_bytes(layer) for layer in layers)
        assert size_bytes(layers) == size_bytes(iter(layers))
