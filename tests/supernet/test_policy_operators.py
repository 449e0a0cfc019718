"""Which outputs are quantized around gates, smooth functions, sums and maxima, each case by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitfront.supernet.layers import Activation, Block, Layer
from bitfront.supernet.quantization.policy import quantized_outputs, reads_as_quantized

INT8, FP32 = ("int8", "int8"), ("fp32", "fp32")
Formats = tuple[str, str]


def pointwise(name: str, formats: Formats, act: Activation = "none", size: int = 6) -> Layer:
    return Layer(name, "pointwise", 8, 8, 1, 1, size, *formats, signed_input=True, act=act)


def gated(depthwise: Formats, gates: Formats, project: Formats, act: Activation = "relu") -> Block:
    mapped = replace(pointwise("depthwise", depthwise, act), op="depthwise", kernel=3)
    reduce = replace(pointwise("reduce", gates, "relu", 1), source="pooled")
    expand = replace(pointwise("expand", gates, "hsigmoid", 1), gate=True)
    return Block("a", "mbconv", (mapped, reduce, expand, pointwise("project", project)))


def bottleneck(
    shortcut: Formats | None, act: Activation = "relu", others: Formats = INT8, stride: int = 1
) -> Block:
    layers = [
        pointwise("in", others, "relu"),
        replace(pointwise("spatial", others, "relu"), op="conv", kernel=3, stride=stride),
        pointwise("out", others, size=6 // stride),
    ]
    if shortcut is not None:
        layers.append(replace(pointwise("shortcut", shortcut, size=6 // stride), source="block"))
    return Block("b", "bottleneck", tuple(layers), residual=True, sum_act="relu")


def follower(formats: Formats = INT8) -> Block:
    return Block("next", "conv", (pointwise("follower", formats),))


@pytest.mark.parametrize(
    ("block", "names"),
    [
        # The map goes into a mean and a product: stored. The reduction's consumer quantizes for itself.
        (gated(INT8, INT8, INT8), {"depthwise", "expand"}),
        # Of h-swish the values before it, once.
        (gated(INT8, INT8, INT8, "hswish"), {"depthwise", "expand"}),
        (gated(FP32, FP32, INT8), set()),
        (gated(FP32, FP32, FP32), set()),
        (gated(INT8, INT8, FP32), {"depthwise", "expand"}),
        # No integer layer, although it reads integers.
        (gated(("fp32", "int8"), FP32, INT8), set()),
    ],
)
def test_around_gates(block: Block, names: set[str]) -> None:
    assert quantized_outputs([block, follower()]) == names


@pytest.mark.parametrize("act", ["hswish", "hsigmoid"])
def test_smooth_functions_read_stored_values(act: Activation) -> None:
    smooth = Block("a", "conv", (pointwise("smooth", INT8, act),))
    for after in (INT8, FP32):
        assert "smooth" in quantized_outputs([smooth, follower(after)])
    assert quantized_outputs([smooth]) == {"smooth"}
    real = Block("a", "conv", (pointwise("smooth", FP32, act),))
    assert quantized_outputs([real, follower()]) == set()


@pytest.mark.parametrize(
    ("block", "names"),
    [
        (bottleneck(None), {"out"}),
        (bottleneck(INT8), {"out", "shortcut"}),
        (bottleneck(FP32), {"out"}),
        (bottleneck(INT8, others=FP32), {"shortcut"}),
        (bottleneck(FP32, others=FP32), set()),
    ],
)
def test_both_sides_of_a_sum(block: Block, names: set[str]) -> None:
    assert quantized_outputs([block, follower()]) == names
    assert quantized_outputs([block]) == names


def test_a_shortcut_is_no_consumer_of_the_chain() -> None:
    """In the order of layers it follows the chain's end; what decides is that a sum follows."""
    block = replace(bottleneck(FP32), residual=False)
    assert quantized_outputs([block, follower()]) == set()


def test_a_maximum_reads_stored_values() -> None:
    plain = Block("a", "conv", (pointwise("conv", INT8, "relu"),))
    assert quantized_outputs([plain, follower()]) == set()
    assert quantized_outputs([replace(plain, max_pool=True), follower()]) == {"conv"}


@pytest.mark.parametrize(("hidden", "names"), [("relu", {"mix"}), ("hswish", {"mix", "hidden"})])
def test_a_hidden_linear_layer_is_not_pooled_for(hidden: Activation, names: set[str]) -> None:
    mix = pointwise("mix", INT8, "relu")
    first = Layer("hidden", "linear", 8, 8, 1, 1, 1, *INT8, signed_input=False, act=hidden)
    last = Layer("classifier", "linear", 8, 8, 1, 1, 1, *INT8, signed_input=False, act="none")
    assert quantized_outputs([Block("head", "head", (mix, first, last))]) == names


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (bottleneck(INT8), True),
        (bottleneck(INT8, stride=2), False),
        (bottleneck(("int8", "int4")), False),
        (bottleneck(FP32, others=FP32), True),
    ],
)
def test_a_shortcut_reads_what_the_first_layer_quantized(block: Block, expected: bool) -> None:
    assert [reads_as_quantized(block, layer) for layer in block.layers] == [False, False, False, expected]
