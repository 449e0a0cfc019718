"""The fixed frame of MobileNet-style spaces, and the places of its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitfront.supernet.layers import Activation


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage: ``depths`` are block counts in ascending order, ``widths`` hidden channels likewise.

    ``first_widths`` are those of its first block, which has another input than the rest; None: the same. ``act``
    follows every expansion and depthwise convolution; None: ReLU. ``se``: whether blocks have squeeze and
    excitation (Hu et al. 2018) after the depthwise convolution; None: no.
    """

    out_channels: int
    stride: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    kernels: tuple[int, ...] = (3, 5, 7)
    first_widths: tuple[int, ...] | None = None
    act: Activation | None = None
    se: bool | None = None

    def widths_of(self, index: int) -> tuple[int, ...]:
        """The hidden channels of the stage's block number ``index``."""
        return self.first_widths if index == 0 and self.first_widths is not None else self.widths


@dataclass(frozen=True, slots=True)
class MBConvConfig:
    """The fixed frame of a space: everything that no gene changes.

    ``first_block_channels``: the stem goes on with a depthwise and a pointwise convolution to so many channels
    (the block without expansion at the beginning of MobileNetV2); None: it does not. ``first_block_residual``:
    that block stands apart from the stem and adds its input to its output; it then has the stem's channels.
    ``classifier_formats``: the classifier has genes of its own with these (weight formats, activation formats);
    None: it shares the head's. ``hidden_channels``: a linear layer of so many channels comes between pooling and
    the classifier, in the classifier's formats; None: there is none. ``stem_act`` follows the stem's first
    convolution, ``head_act`` the head's layers before the classifier; None: ReLU.
    """

    in_channels: int
    classes: int
    stem_channels: int
    stem_stride: int
    stages: tuple[StageConfig, ...]
    head_channels: int
    resolutions: tuple[int, ...]
    weight_formats: tuple[str, ...]
    activation_formats: tuple[str, ...]
    end_formats: tuple[str, ...]
    first_block_channels: int | None = None
    classifier_formats: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    first_block_residual: bool | None = None
    hidden_channels: int | None = None
    stem_act: Activation | None = None
    head_act: Activation | None = None


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block stands: its fixed channels and stride, the strides before it, and the sign of its input."""

    name: str
    stage: int
    index: int
    in_channels: int
    out_channels: int
    stride: int
    reduction: tuple[int, ...]
    signed_input: bool
    act: Activation
    se: bool

    @property
    def residual(self) -> bool:
        """Whether input and output have one shape, so that they are added."""
        return self.stride == 1 and self.in_channels == self.out_channels


def block_places(frame: MBConvConfig) -> Iterator[BlockPlace]:
    """Every block that the stages of ``frame`` can have, from input to output."""
    channels, signed = frame.stem_channels, (frame.stem_act or "relu") != "relu"
    if frame.first_block_channels is not None:
        channels, signed = frame.first_block_channels, True
    strides: tuple[int, ...] = (frame.stem_stride,)
    for s, stage in enumerate(frame.stages):
        for b in range(max(stage.depths)):
            stride = stage.stride if b == 0 else 1
            yield BlockPlace(
                f"stage{s}.block{b}", s, b, channels, stage.out_channels, stride, strides, signed,
                stage.act or "relu", stage.se or False,
            )  # fmt: skip
            channels, strides, signed = stage.out_channels, (*strides, stride), True
