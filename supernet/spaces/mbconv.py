"""The family of MobileNet-style spaces: stages of inverted residual blocks (Sandler et al. 2018).

Genes: input resolution; per stage the depth; per block the kernel and the number of expansion (hidden)
channels, which is the pruning gene; per block the weight and activation formats of its two pointwise
convolutions (shared by both) and of its depthwise convolution; and the formats of stem and head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from bitfront.supernet.genes import Choice, FormatPair, Gene, PairRule
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.space import SearchSpace, Slot


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage: ``depths`` are block counts in ascending order, ``widths`` hidden channels likewise."""

    out_channels: int
    stride: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    kernels: tuple[int, ...] = (3, 5, 7)


@dataclass(frozen=True, slots=True)
class MBConvConfig:
    """The fixed frame of a space: everything that no gene changes."""

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


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block stands: its fixed channels and stride, and the product of strides before it."""

    name: str
    stage: int
    index: int
    in_channels: int
    out_channels: int
    stride: int
    reduction: tuple[int, ...]

    @property
    def residual(self) -> bool:
        """Whether input and output have one shape, so that they are added."""
        return self.stride == 1 and self.in_channels == self.out_channels


def _after(size: int, strides: tuple[int, ...]) -> int:
    for stride in strides:
        size = (size - 1) // stride + 1  # odd kernels with 'same' padding
    return size


class MBConvSpace(SearchSpace):
    """Networks of inverted residual blocks in the frame of an `MBConvConfig`."""

    def __init__(self, name: str, frame: MBConvConfig, rules: tuple[PairRule, ...] = ()) -> None:
        self.frame = frame
        self.places = tuple(_places(frame))
        super().__init__(name, list(self._genes()), list(self._format_pairs()), rules)

    @property
    def config(self) -> Any:
        """The frame as plain JSON values."""
        return asdict(self.frame)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Stem, every possible block, head."""
        stem = ("resolution", "stem.weight_format", "stem.activation_format")
        head = ("resolution", "head.weight_format", "head.activation_format")
        return (
            Slot("stem", stem, None, self._build_stem),
            *(self._block_slot(place) for place in self.places),
            Slot("head", head, None, self._build_head),
        )

    def _genes(self) -> Iterator[Gene]:
        frame = self.frame
        yield Gene("resolution", "resolution", frame.resolutions)
        for s, stage in enumerate(frame.stages):
            yield Gene(f"stage{s}.depth", "depth", stage.depths)
        for place in self.places:
            stage, when = frame.stages[place.stage], self._condition(place)
            yield Gene(f"{place.name}.kernel", "kernel", stage.kernels, when)
            yield Gene(f"{place.name}.width", "width", stage.widths, when)
        yield from self._end_genes("stem")
        for place in self.places:
            when = self._condition(place)
            for part in ("pointwise", "depthwise"):
                yield Gene(f"{place.name}.{part}.weight_format", "weight_format", frame.weight_formats, when)
                yield Gene(
                    f"{place.name}.{part}.activation_format",
                    "activation_format",
                    frame.activation_formats,
                    when,
                )
        yield from self._end_genes("head")

    def _end_genes(self, end: str) -> Iterator[Gene]:
        yield Gene(f"{end}.weight_format", "weight_format", self.frame.end_formats)
        yield Gene(f"{end}.activation_format", "activation_format", self.frame.end_formats)

    def _format_pairs(self) -> Iterator[FormatPair]:
        yield _pair("conv", "stem")
        for place in self.places:
            yield _pair("pointwise", f"{place.name}.pointwise")
            yield _pair("depthwise", f"{place.name}.depthwise")
        yield _pair("pointwise", "head")
        yield _pair("linear", "head")

    def _condition(self, place: BlockPlace) -> tuple[str, int] | None:
        depths = self.frame.stages[place.stage].depths
        index = next(i for i, depth in enumerate(depths) if depth > place.index)
        return (f"stage{place.stage}.depth", index) if index else None

    def _block_slot(self, place: BlockPlace) -> Slot:
        genes = (
            "resolution",
            f"{place.name}.kernel",
            f"{place.name}.width",
            f"{place.name}.pointwise.weight_format",
            f"{place.name}.pointwise.activation_format",
            f"{place.name}.depthwise.weight_format",
            f"{place.name}.depthwise.activation_format",
        )
        return Slot(place.name, genes, self._condition(place), lambda values: build_block(place, values))

    def _build_stem(self, values: tuple[Choice, ...]) -> Block:
        frame, (size, weight, activation) = self.frame, values
        layer = Layer(
            "stem", "conv", frame.in_channels, frame.stem_channels, 3, frame.stem_stride, int(size),
            str(weight), str(activation), signed_input=True, relu=True,
        )  # fmt: skip
        return Block("stem", "stem", (layer,))

    def _build_head(self, values: tuple[Choice, ...]) -> Block:
        frame, (resolution, weight, activation) = self.frame, values
        size = _after(int(resolution), (frame.stem_stride, *(stage.stride for stage in frame.stages)))
        mix = Layer(
            "head.mix", "pointwise", frame.stages[-1].out_channels, frame.head_channels, 1, 1, size,
            str(weight), str(activation), signed_input=True, relu=True,
        )  # fmt: skip
        classifier = Layer(
            "head.classifier", "linear", frame.head_channels, frame.classes, 1, 1, 1,
            str(weight), str(activation), signed_input=False, relu=False,
        )  # fmt: skip
        return Block("head", "head", (mix, classifier))


def _pair(op: str, prefix: str) -> FormatPair:
    return FormatPair(op, f"{prefix}.weight_format", f"{prefix}.activation_format")


def _places(frame: MBConvConfig) -> Iterator[BlockPlace]:
    channels = frame.stem_channels
    strides: tuple[int, ...] = (frame.stem_stride,)
    for s, stage in enumerate(frame.stages):
        for b in range(max(stage.depths)):
            stride = stage.stride if b == 0 else 1
            yield BlockPlace(f"stage{s}.block{b}", s, b, channels, stage.out_channels, stride, strides)
            channels, strides = stage.out_channels, (*strides, stride)


def build_block(place: BlockPlace, values: tuple[Choice, ...]) -> Block:
    """One inverted residual block: expand, depthwise, project.

    ``values``: resolution, kernel, width, pointwise weight and activation format, depthwise weight and
    activation format.
    """
    resolution, kernel, width = (int(value) for value in values[:3])
    pw_weight, pw_activation, dw_weight, dw_activation = (str(value) for value in values[3:])
    size = _after(resolution, place.reduction)
    expand = Layer(
        f"{place.name}.expand", "pointwise", place.in_channels, width, 1, 1, size,
        pw_weight, pw_activation, signed_input=place.name != "stage0.block0", relu=True,
    )  # fmt: skip
    depthwise = Layer(
        f"{place.name}.depthwise", "depthwise", width, width, kernel, place.stride, size,
        dw_weight, dw_activation, signed_input=False, relu=True,
    )  # fmt: skip
    project = Layer(
        f"{place.name}.project", "pointwise", width, place.out_channels, 1, 1, depthwise.out_size,
        pw_weight, pw_activation, signed_input=False, relu=False,
    )  # fmt: skip
    return Block(place.name, "mbconv", (expand, depthwise, project), place.residual)
