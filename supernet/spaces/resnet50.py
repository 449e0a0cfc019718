"""Once-for-All's ResNet-50 (Cai et al., ICLR 2020): elastic depth, bottlenecks, output channels and resolution.

Widths, depths and the stem are those of its published supernet ``ofa_resnet50``, which has ResNet-D's stem and
shortcuts (He et al. 2019): width multipliers 0.65, 0.8 and 1 of the stem's two widths and of every stage, blocks
from 2, 2, 4, 2 to two more in each stage, bottlenecks of 20, 25 or 35 per cent. Every number format is added per
block. Width multipliers that round to the same channels are one choice.
"""

from __future__ import annotations

from bitfront.supernet.spaces.bottleneck import BottleneckConfig, BottleneckSpace, BottleneckStage
from bitfront.supernet.spaces.shapes import divisible

_FORMATS = ("fp32", "bf16", "int8", "int6", "int4")
_END_FORMATS = ("fp32", "bf16", "int8")
WIDTH_MULTIPLIERS = (0.65, 0.8, 1.0)
"""Of the stem's two widths and of every stage's output channels."""

_EXPAND_PERCENTS = (20, 25, 35)
_BLOCKS = (2, 2, 4, 2)
_MORE_BLOCKS = (0, 1, 2)
_STEM = 64


def resnet50(*, classes: int = 1000, in_channels: int = 3) -> BottleneckSpace:
    """Once-for-All's ResNet-50, for 128 to 224 pixels."""
    frame = _frame(
        (classes, in_channels), widths=(256, 512, 1024, 2048), strides=(1, 2, 2, 2),
        stem_stride=2, stem_pool=True, resolutions=(128, 160, 192, 224),
    )  # fmt: skip
    return BottleneckSpace("resnet50", frame)


def resnet50_cifar(*, classes: int = 10, in_channels: int = 3) -> BottleneckSpace:
    """Once-for-All's ResNet-50 for 24 to 32 pixels: the stem keeps the size, stages have 3/4 of the channels."""
    frame = _frame(
        (classes, in_channels), widths=(192, 384, 768, 1536), strides=(1, 2, 2, 2),
        stem_stride=1, stem_pool=False, resolutions=(24, 28, 32),
    )  # fmt: skip
    return BottleneckSpace("resnet50_cifar", frame)


def stem_widths() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the width multipliers make of the stem's first convolutions and of its last one."""
    out = _scaled(_STEM)
    return tuple(dict.fromkeys(divisible(channels // 2) for channels in out)), out


def _frame(
    task: tuple[int, int],
    widths: tuple[int, ...],
    strides: tuple[int, ...],
    stem_stride: int,
    stem_pool: bool,
    resolutions: tuple[int, ...],
) -> BottleneckConfig:
    (classes, in_channels), (stem, stem_out) = task, stem_widths()
    return BottleneckConfig(
        in_channels=in_channels,
        classes=classes,
        stem_channels=stem,
        stem_out_channels=stem_out,
        stem_stride=stem_stride,
        stem_pool=stem_pool,
        stages=tuple(
            BottleneckStage(_scaled(width), stride, tuple(blocks + more for more in _MORE_BLOCKS))
            for width, stride, blocks in zip(widths, strides, _BLOCKS, strict=True)
        ),
        expand_percents=_EXPAND_PERCENTS,
        resolutions=resolutions,
        weight_formats=_FORMATS,
        activation_formats=_FORMATS,
        end_formats=_END_FORMATS,
    )


def _scaled(channels: int) -> tuple[int, ...]:
    return tuple(divisible(multiplier * channels) for multiplier in WIDTH_MULTIPLIERS)
