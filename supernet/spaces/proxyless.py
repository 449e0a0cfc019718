"""APQ's space (Wang et al., CVPR 2020): ProxylessNAS's blocks with channels and bits chosen per block.

21 inverted residual blocks at 224 pixels, in five stages of up to four and one more block. Hidden channels go from
four to six times a block's input in steps of 8. Each block has a bit-width for the weights and one for the
activations of its pointwise convolutions, and two more for its depthwise one. The first convolution and block, the
feature mix and the classifier stay at 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterator

from bitfront.supernet.genes import Choice, Rule
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

_FORMATS = ("int8", "int6", "int4")
_STEM, _FIRST = 32, 16
_STAGES = ((24, 2), (40, 2), (80, 2), (96, 1), (192, 2))
_LAST = 320
_DEPTHS, _KERNELS = (2, 3, 4), (3, 5, 7)
_STEP = 8


def proxyless(*, classes: int = 1000, in_channels: int = 3) -> MBConvSpace:
    """APQ's space, for 224 pixels: hidden channels and 4, 6 or 8 bits are chosen block by block."""
    frame = MBConvConfig(
        in_channels=in_channels,
        classes=classes,
        stem_channels=_STEM,
        stem_stride=2,
        stages=tuple(_stages()),
        head_channels=1280,
        resolutions=(224,),
        weight_formats=_FORMATS,
        activation_formats=_FORMATS,
        end_formats=("int8",),
        first_block_channels=_FIRST,
    )
    return MBConvSpace("proxyless", frame, tuple(kernel_rules(frame)))


def _stages() -> Iterator[StageConfig]:
    before = _FIRST
    for channels, stride in _STAGES:
        yield StageConfig(channels, stride, _DEPTHS, _widths(channels), _KERNELS, first_widths=_widths(before))
        before = channels
    yield StageConfig(_LAST, 1, (1,), _widths(before), _KERNELS)


def _widths(channels: int) -> tuple[int, ...]:
    return tuple(range(4 * channels, 6 * channels + 1, _STEP))


def kernel_rules(frame: MBConvConfig) -> Iterator[Rule]:
    """No block has a kernel of 7 with 4-bit depthwise activations: the published table of BitFusion has none."""
    pairs: frozenset[tuple[Choice, Choice]] = frozenset(
        (kernel, bits) for kernel in _KERNELS for bits in _FORMATS if (kernel, bits) != (7, "int4")
    )
    for s, stage in enumerate(frame.stages):
        for b in range(max(stage.depths)):
            name = f"stage{s}.block{b}"
            yield Rule.pair(f"{name}.kernel", f"{name}.depthwise.activation_format", pairs)
