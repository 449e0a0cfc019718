"""Once-for-All's space (Cai et al., ICLR 2020): MobileNetV3 with elastic depth, kernel, expansion and resolution.

Channels, strides, activation functions and squeeze-and-excitation are those of its published supernets
``ofa_mbv3_d234_e346_k357_w1.0`` and ``_w1.2``; every number format is added per block. Hidden channels are three,
four or six times a block's input. Published resolutions go from 128 to 224 in steps of 4; here are five of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from bitfront.supernet.layers import Activation
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig
from bitfront.supernet.spaces.shapes import divisible

_FORMATS = ("fp32", "bf16", "int8", "int6", "int4")
_END_FORMATS = ("fp32", "bf16", "int8")
# Runtimes have kernels for packed weights and real activations in linear layers alone.
_CLASSIFIER_FORMATS = (("fp32", "bf16", "int8", "int4"), ("fp32", "bf16", "int8"))
_DEPTHS, _KERNELS, _EXPANSIONS = (2, 3, 4), (3, 5, 7), (3, 4, 6)
_STEM = 16
_CHANNELS = (24, 40, 80, 112, 160)
_ACTS: tuple[Activation, ...] = ("relu", "relu", "hswish", "hswish", "hswish")
_GATED = (False, True, False, True, True)
_MIX, _HIDDEN = 960, 1280


def mobilenet_v3(*, classes: int = 1000, in_channels: int = 3, width_multiplier: float = 1.0) -> MBConvSpace:
    """Once-for-All's MobileNetV3, for 128 to 224 pixels; ``width_multiplier`` 1.0 and 1.2 were published."""
    frame = _frame(
        (classes, in_channels), width_multiplier, stem_stride=2, strides=(2, 2, 2, 1, 2),
        ends=(_MIX, _HIDDEN), resolutions=(128, 160, 176, 192, 224),
    )  # fmt: skip
    return MBConvSpace("mobilenet_v3", frame)


def mobilenet_v3_cifar(*, classes: int = 10, in_channels: int = 3, width_multiplier: float = 1.0) -> MBConvSpace:
    """Once-for-All's MobileNetV3 for 24 to 32 pixels: two stages halve the size, the head is smaller."""
    frame = _frame(
        (classes, in_channels), width_multiplier, stem_stride=1, strides=(1, 2, 2, 1, 1),
        ends=(_MIX, None), resolutions=(24, 28, 32),
    )  # fmt: skip
    return MBConvSpace("mobilenet_v3_cifar", frame)


def _frame(
    task: tuple[int, int],
    multiplier: float,
    stem_stride: int,
    strides: tuple[int, ...],
    ends: tuple[int, int | None],
    resolutions: tuple[int, ...],
) -> MBConvConfig:
    (classes, in_channels), (mix, hidden) = task, ends
    stem = divisible(_STEM * multiplier)
    return MBConvConfig(
        in_channels=in_channels,
        classes=classes,
        stem_channels=stem,
        stem_stride=stem_stride,
        stages=tuple(_stages(stem, [divisible(channels * multiplier) for channels in _CHANNELS], strides)),
        head_channels=divisible(mix * multiplier),
        resolutions=resolutions,
        weight_formats=_FORMATS,
        activation_formats=_FORMATS,
        end_formats=_END_FORMATS,
        first_block_channels=stem,
        classifier_formats=_CLASSIFIER_FORMATS,
        first_block_residual=True,
        hidden_channels=None if hidden is None else divisible(hidden * multiplier),
        stem_act="hswish",
        head_act="hswish",
    )


def _stages(before: int, channels: list[int], strides: tuple[int, ...]) -> Iterator[StageConfig]:
    for out, stride, act, gated in zip(channels, strides, _ACTS, _GATED, strict=True):
        yield StageConfig(out, stride, _DEPTHS, _hidden(out), _KERNELS, _hidden(before), act=act, se=gated or None)
        before = out


def _hidden(channels: int) -> tuple[int, ...]:
    return tuple(divisible(expansion * channels) for expansion in _EXPANSIONS)
