"""The blocks of MobileNet-style spaces: inverted residuals, and what stands before and after them."""

from __future__ import annotations

from bitfront.supernet.genes import Choice
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.spaces.mbconv_config import BlockPlace, MBConvConfig
from bitfront.supernet.spaces.shapes import divisible, size_after

_SQUEEZED = 4  # to so many times fewer channels, as in MobileNetV3 (Howard et al. 2019)


def build_block(place: BlockPlace, values: tuple[Choice, ...]) -> Block:
    """One inverted residual block: expand, depthwise, squeeze and excitation where the stage has it, project.

    ``values``: resolution, kernel, width, pointwise weight and activation format, depthwise weight and
    activation format.
    """
    resolution, kernel, width = (int(value) for value in values[:3])
    pw_weight, pw_activation, dw_weight, dw_activation = (str(value) for value in values[3:])
    size, signed = size_after(resolution, place.reduction), place.act != "relu"
    expand = Layer(
        f"{place.name}.expand", "pointwise", place.in_channels, width, 1, 1, size,
        pw_weight, pw_activation, signed_input=place.signed_input, act=place.act,
    )  # fmt: skip
    depthwise = Layer(
        f"{place.name}.depthwise", "depthwise", width, width, kernel, place.stride, size,
        dw_weight, dw_activation, signed_input=signed, act=place.act,
    )  # fmt: skip
    project = Layer(
        f"{place.name}.project", "pointwise", width, place.out_channels, 1, 1, depthwise.out_size,
        pw_weight, pw_activation, signed_input=signed, act="none",
    )  # fmt: skip
    gates = _squeeze_and_excite(place.name, depthwise) if place.se else ()
    return Block(place.name, "mbconv", (expand, depthwise, *gates, project), place.residual)


def _squeeze_and_excite(name: str, depthwise: Layer) -> tuple[Layer, Layer]:
    channels, weight_format = depthwise.out_channels, _gate_format(depthwise)
    squeezed = divisible(channels // _SQUEEZED)
    squeeze = Layer(
        f"{name}.se.reduce", "pointwise", channels, squeezed, 1, 1, 1, weight_format, weight_format,
        signed_input=depthwise.act != "relu", act="relu", source="pooled",
    )  # fmt: skip
    excite = Layer(
        f"{name}.se.expand", "pointwise", squeezed, channels, 1, 1, 1, weight_format, weight_format,
        signed_input=False, act="hsigmoid", gate=True,
    )  # fmt: skip
    return squeeze, excite


def _gate_format(depthwise: Layer) -> str:
    """Gates have few weights and are sensitive: they have no genes and stay at 8 bits, or as wide as can be."""
    formats = (depthwise.weight_format, depthwise.activation_format)
    if all(FORMATS.get(name).is_integer for name in formats):
        return "int8"
    return formats[0] if formats[0] == formats[1] else "fp32"


def build_stem(frame: MBConvConfig, values: tuple[Choice, ...]) -> Block:
    """The first convolution, and the first block where it is a part of the stem.

    ``values``: resolution, weight and activation format.
    """
    resolution, weight, activation = int(values[0]), str(values[1]), str(values[2])
    layer = Layer(
        "stem", "conv", frame.in_channels, frame.stem_channels, 3, frame.stem_stride, resolution,
        weight, activation, signed_input=True, act=frame.stem_act or "relu",
    )  # fmt: skip
    joined = frame.first_block_channels is not None and not frame.first_block_residual
    return Block("stem", "stem", (layer, *_first_layers(frame, layer)) if joined else (layer,))


def build_first(frame: MBConvConfig, values: tuple[Choice, ...]) -> Block:
    """The first block where it stands apart from the stem; ``values`` as in `build_stem`."""
    stem = build_stem(frame, values).layers[-1]
    return Block("first", "mbconv", _first_layers(frame, stem), residual=True)


def _first_layers(frame: MBConvConfig, stem: Layer) -> tuple[Layer, ...]:
    """The block without expansion, in the formats of the stem."""
    name = "first" if frame.first_block_residual else "stem"
    channels, size = stem.out_channels, stem.out_size
    weight, activation = stem.weight_format, stem.activation_format
    depthwise = Layer(
        f"{name}.depthwise", "depthwise", channels, channels, 3, 1, size,
        weight, activation, signed_input=stem.act != "relu", act="relu",
    )  # fmt: skip
    project = Layer(
        f"{name}.project", "pointwise", channels, frame.first_block_channels or channels, 1, 1, size,
        weight, activation, signed_input=False, act="none",
    )  # fmt: skip
    return depthwise, project


def build_head(frame: MBConvConfig, values: tuple[Choice, ...]) -> Block:
    """Feature mix, pooling, in some spaces a hidden linear layer, classifier.

    ``values``: resolution, weight and activation format, and again those of the classifier if it has its own.
    """
    resolution, (weight, activation, *own) = int(values[0]), (str(value) for value in values[1:])
    size = size_after(resolution, (frame.stem_stride, *(stage.stride for stage in frame.stages)))
    act = frame.head_act or "relu"
    mix = Layer(
        "head.mix", "pointwise", frame.stages[-1].out_channels, frame.head_channels, 1, 1, size,
        weight, activation, signed_input=True, act=act,
    )  # fmt: skip
    weight, activation = own or (weight, activation)
    hidden = _hidden(frame, weight, activation)
    classifier = Layer(
        "head.classifier", "linear", frame.hidden_channels or frame.head_channels, frame.classes, 1, 1, 1,
        weight, activation, signed_input=act != "relu", act="none",
    )  # fmt: skip
    return Block("head", "head", (mix, *hidden, classifier))


def _hidden(frame: MBConvConfig, weight: str, activation: str) -> tuple[Layer, ...]:
    if frame.hidden_channels is None:
        return ()
    act = frame.head_act or "relu"
    hidden = Layer(
        "head.hidden", "linear", frame.head_channels, frame.hidden_channels, 1, 1, 1,
        weight, activation, signed_input=act != "relu", act=act,
    )  # fmt: skip
    return (hidden,)
