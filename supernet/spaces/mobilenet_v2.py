"""Spaces of MobileNetV2's shape (Sandler et al. 2018) with every number format, for phones and CPUs.

Stem, stages and strides follow MobileNetV2; depth, kernel and hidden channels are searched as in Once-for-All (Cai
et al. 2020). The hidden channels of a stage are listed as they are, not as multiples of a block's input.
"""

from __future__ import annotations

from functools import partial

from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

_FORMATS = ("fp32", "bf16", "int8", "int6", "int4")
_END_FORMATS = ("fp32", "bf16", "int8")
# Runtimes have kernels for packed weights and real activations in linear layers alone.
_CLASSIFIER_FORMATS = (("fp32", "bf16", "int8", "int4"), ("fp32", "bf16", "int8"))
_DEPTHS = (2, 3, 4)


def _stages(*strides: int) -> tuple[StageConfig, ...]:
    shapes = (
        (24, (48, 72, 96)),
        (40, (96, 144, 240)),
        (80, (160, 240, 480)),
        (112, (320, 480, 672)),
        (160, (448, 672, 960)),
    )
    return tuple(
        StageConfig(out_channels=channels, stride=stride, depths=_DEPTHS, widths=widths)
        for (channels, widths), stride in zip(shapes, strides, strict=True)
    )


def mobilenet_v2(*, classes: int = 1000, in_channels: int = 3) -> MBConvSpace:
    """MobileNetV2 with elastic depth, kernel and hidden channels, for 160, 192 or 224 pixels."""
    frame = _frame(
        in_channels=in_channels,
        classes=classes,
        stem_channels=32,
        stem_stride=2,
        stages=_stages(2, 2, 2, 1, 2),
        head_channels=1280,
        resolutions=(160, 192, 224),
    )
    return MBConvSpace("mobilenet_v2", frame)


def mobilenet_v2_cifar(*, classes: int = 10, in_channels: int = 3) -> MBConvSpace:
    """MobileNetV2 for 32 pixels: less is strided away."""
    frame = _frame(
        in_channels=in_channels,
        classes=classes,
        stem_channels=24,
        stem_stride=1,
        stages=_stages(1, 2, 2, 1, 2),
        head_channels=640,
        resolutions=(32,),
    )
    return MBConvSpace("mobilenet_v2_cifar", frame)


# What both have in common.
_frame = partial(
    MBConvConfig,
    weight_formats=_FORMATS,
    activation_formats=_FORMATS,
    end_formats=_END_FORMATS,
    classifier_formats=_CLASSIFIER_FORMATS,
)
