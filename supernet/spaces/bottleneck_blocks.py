"""The fixed frame of ResNet-style spaces, and their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitfront.supernet.genes import Choice
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.spaces.shapes import divisible, size_after

STEM_DEPTHS = (2, 3)
"""Convolutions of the stem; the middle one of three can be skipped."""

_POOL_STRIDE = 2


@dataclass(frozen=True, slots=True)
class BottleneckStage:
    """One stage: choices of its output channels and block counts, both in ascending order."""

    out_channels: tuple[int, ...]
    stride: int
    depths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BottleneckConfig:
    """The fixed frame of a space: everything that no gene changes.

    The stem is a convolution with stride ``stem_stride`` to one of ``stem_channels``, one more of that width that
    can be skipped, one to one of ``stem_out_channels``, and a 3x3 maximum with stride 2 where ``stem_pool``.
    A block's bottleneck has one of ``expand_percents`` of its stage's output channels, made divisible by 8.
    """

    in_channels: int
    classes: int
    stem_channels: tuple[int, ...]
    stem_out_channels: tuple[int, ...]
    stem_stride: int
    stem_pool: bool
    stages: tuple[BottleneckStage, ...]
    expand_percents: tuple[int, ...]
    resolutions: tuple[int, ...]
    weight_formats: tuple[str, ...]
    activation_formats: tuple[str, ...]
    end_formats: tuple[str, ...]
    kernel: int = 3


@dataclass(frozen=True, slots=True)
class BottleneckPlace:
    """Where a block stands, its stride, and the strides before it."""

    name: str
    stage: int
    index: int
    stride: int
    reduction: tuple[int, ...]


def bottleneck_places(frame: BottleneckConfig) -> Iterator[BottleneckPlace]:
    """Every block that the stages of ``frame`` can have, from input to output."""
    strides: tuple[int, ...] = (frame.stem_stride, *((_POOL_STRIDE,) if frame.stem_pool else ()))
    for s, stage in enumerate(frame.stages):
        for b in range(max(stage.depths)):
            stride = stage.stride if b == 0 else 1
            yield BottleneckPlace(f"stage{s}.block{b}", s, b, stride, strides)
            strides = (*strides, stride)


def middle_channels(out: int, percent: int) -> int:
    """A bottleneck's channels: so many per cent of a stage's output channels, made divisible by 8."""
    return divisible(round(out * percent / 100))


def build_stem_conv(frame: BottleneckConfig, values: tuple[Choice, ...]) -> Block:
    """The stem's first convolution; ``values``: resolution, its channels, weight and activation format."""
    size, channels, weight, activation = int(values[0]), int(values[1]), str(values[2]), str(values[3])
    layer = Layer(
        "stem", "conv", frame.in_channels, channels, 3, frame.stem_stride, size,
        weight, activation, signed_input=True, act="relu",
    )  # fmt: skip
    return Block("stem", "stem", (layer,))


def build_deep_stem(frame: BottleneckConfig, values: tuple[Choice, ...]) -> Block:
    """The stem's convolution that can be skipped; ``values`` as in `build_stem_conv`."""
    first = build_stem_conv(frame, values).layers[0]
    layer = Layer(
        "stem.deep", "conv", first.out_channels, first.out_channels, 3, 1, first.out_size,
        first.weight_format, first.activation_format, signed_input=False, act="relu",
    )  # fmt: skip
    return Block("stem.deep", "conv", (layer,), residual=True)


def build_stem_out(frame: BottleneckConfig, values: tuple[Choice, ...]) -> Block:
    """The stem's last convolution; ``values``: resolution, channels in and out, weight and activation format."""
    resolution, before, channels, *formats = values
    first = build_stem_conv(frame, (resolution, before, *formats)).layers[0]
    layer = Layer(
        "stem.out", "conv", first.out_channels, int(channels), 3, 1, first.out_size,
        first.weight_format, first.activation_format, signed_input=False, act="relu",
    )  # fmt: skip
    return Block("stem.out", "conv", (layer,), max_pool=frame.stem_pool)


def build_bottleneck(frame: BottleneckConfig, place: BottleneckPlace, values: tuple[Choice, ...]) -> Block:
    """One bottleneck block: reduce, spatial, restore, and the shortcut's layer in a stage's first block.

    ``values``: resolution, channels in (in a stage's first block; else they are those out), channels out,
    bottleneck in per cent, pointwise weight and activation format, spatial weight and activation format.
    """
    size = size_after(int(values[0]), place.reduction)
    before, out, percent = int(values[1]), *(int(value) for value in values[-6:-4])
    pw_weight, pw_activation, weight, activation = (str(value) for value in values[-4:])
    middle = middle_channels(out, percent)
    reduce = Layer(
        f"{place.name}.reduce", "pointwise", before, middle, 1, 1, size,
        pw_weight, pw_activation, signed_input=False, act="relu",
    )  # fmt: skip
    spatial = Layer(
        f"{place.name}.spatial", "conv", middle, middle, frame.kernel, place.stride, size,
        weight, activation, signed_input=False, act="relu",
    )  # fmt: skip
    restore = Layer(
        f"{place.name}.restore", "pointwise", middle, out, 1, 1, spatial.out_size,
        pw_weight, pw_activation, signed_input=False, act="none",
    )  # fmt: skip
    shortcut = (_shortcut(place.name, reduce, restore),) if place.index == 0 else ()
    layers = (reduce, spatial, restore, *shortcut)
    return Block(place.name, "bottleneck", layers, residual=True, sum_act="relu")


def _shortcut(name: str, reduce: Layer, restore: Layer) -> Layer:
    return Layer(
        f"{name}.shortcut", "pointwise", reduce.in_channels, restore.out_channels, 1, 1, restore.in_size,
        reduce.weight_format, reduce.activation_format, signed_input=False, act="none", source="block",
    )  # fmt: skip


def build_linear_head(frame: BottleneckConfig, values: tuple[Choice, ...]) -> Block:
    """Pooling and the classifier; ``values``: channels in, weight and activation format."""
    channels, weight, activation = int(values[0]), str(values[1]), str(values[2])
    classifier = Layer(
        "head.classifier", "linear", channels, frame.classes, 1, 1, 1,
        weight, activation, signed_input=False, act="none",
    )  # fmt: skip
    return Block("head", "head", (classifier,))
