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

from bitfront.supernet.genes import Choice, FormatPair, Gene, Rule
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.space import SearchSpace, Slot


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage: ``depths`` are block counts in ascending order, ``widths`` hidden channels likewise.

    ``first_widths`` are those of its first block, which has another input than the rest; None: the same.
    """

    out_channels: int
    stride: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    kernels: tuple[int, ...] = (3, 5, 7)
    first_widths: tuple[int, ...] | None = None

    def widths_of(self, index: int) -> tuple[int, ...]:
        """The hidden channels of the stage's block number ``index``."""
        return self.first_widths if index == 0 and self.first_widths is not None else self.widths


@dataclass(frozen=True, slots=True)
class MBConvConfig:
    """The fixed frame of a space: everything that no gene changes.

    ``first_block_channels``: the stem goes on with a depthwise and a pointwise convolution to so many channels
    (the block without expansion at the beginning of MobileNetV2); None: it does not. ``classifier_formats``: the
    classifier has genes of its own with these (weight formats, activation formats); None: it shares the head's.
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

    @property
    def residual(self) -> bool:
        """Whether input and output have one shape, so that they are added."""
        return self.stride == 1 and self.in_channels == self.out_channels


_CLASSIFIER = "classifier"


def _after(size: int, strides: tuple[int, ...]) -> int:
    for stride in strides:
        size = (size - 1) // stride + 1  # odd kernels with 'same' padding
    return size


class MBConvSpace(SearchSpace):
    """Networks of inverted residual blocks in the frame of an `MBConvConfig`."""

    def __init__(self, name: str, frame: MBConvConfig, rules: tuple[Rule, ...] = ()) -> None:
        self.frame = frame
        self.places = tuple(_places(frame))
        super().__init__(name, list(self._genes()), list(self._format_pairs()), rules)

    @property
    def config(self) -> Any:
        """The frame as plain JSON values; what is None is left out, so that spaces without it keep their hash."""
        return asdict(self.frame, dict_factory=_without_none)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Stem, every possible block, head."""
        stem = ("resolution", "stem.weight_format", "stem.activation_format")
        head = ("resolution", "head.weight_format", "head.activation_format", *self._classifier_genes())
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
            yield Gene(f"{place.name}.width", "width", stage.widths_of(place.index), when)
        yield from self._end_genes("stem", (frame.end_formats, frame.end_formats))
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
        yield from self._end_genes("head", (frame.end_formats, frame.end_formats))
        if frame.classifier_formats is not None:
            yield from self._end_genes(_CLASSIFIER, frame.classifier_formats)

    def _end_genes(self, end: str, formats: tuple[tuple[str, ...], tuple[str, ...]]) -> Iterator[Gene]:
        yield Gene(f"{end}.weight_format", "weight_format", formats[0])
        yield Gene(f"{end}.activation_format", "activation_format", formats[1])

    def _classifier_genes(self) -> tuple[str, ...]:
        if self.frame.classifier_formats is None:
            return ()
        return (f"{_CLASSIFIER}.weight_format", f"{_CLASSIFIER}.activation_format")

    def _format_pairs(self) -> Iterator[FormatPair]:
        yield _pair("conv", "stem")
        if self.frame.first_block_channels is not None:
            yield _pair("depthwise", "stem")
            yield _pair("pointwise", "stem")
        for place in self.places:
            yield _pair("pointwise", f"{place.name}.pointwise")
            yield _pair("depthwise", f"{place.name}.depthwise")
        yield _pair("pointwise", "head")
        yield _pair("linear", "head" if self.frame.classifier_formats is None else _CLASSIFIER)

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
        return Block("stem", "stem", (layer, *_first_block(frame, layer)))

    def _build_head(self, values: tuple[Choice, ...]) -> Block:
        frame, (resolution, weight, activation, *own) = self.frame, values
        size = _after(int(resolution), (frame.stem_stride, *(stage.stride for stage in frame.stages)))
        mix = Layer(
            "head.mix", "pointwise", frame.stages[-1].out_channels, frame.head_channels, 1, 1, size,
            str(weight), str(activation), signed_input=True, relu=True,
        )  # fmt: skip
        weight, activation = own or (weight, activation)
        classifier = Layer(
            "head.classifier", "linear", frame.head_channels, frame.classes, 1, 1, 1,
            str(weight), str(activation), signed_input=False, relu=False,
        )  # fmt: skip
        return Block("head", "head", (mix, classifier))


def _without_none(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in items if value is not None}


def _first_block(frame: MBConvConfig, stem: Layer) -> tuple[Layer, ...]:
    """What the stem goes on with, in the formats of its convolution."""
    if frame.first_block_channels is None:
        return ()
    channels, size = stem.out_channels, stem.out_size
    weight, activation = stem.weight_format, stem.activation_format
    depthwise = Layer(
        "stem.depthwise", "depthwise", channels, channels, 3, 1, size,
        weight, activation, signed_input=False, relu=True,
    )  # fmt: skip
    project = Layer(
        "stem.project", "pointwise", channels, frame.first_block_channels, 1, 1, size,
        weight, activation, signed_input=False, relu=False,
    )  # fmt: skip
    return depthwise, project


def _pair(op: str, prefix: str) -> FormatPair:
    return FormatPair(op, f"{prefix}.weight_format", f"{prefix}.activation_format")


def _places(frame: MBConvConfig) -> Iterator[BlockPlace]:
    channels, signed = frame.stem_channels, False  # the stem's convolution ends in a ReLU
    if frame.first_block_channels is not None:
        channels, signed = frame.first_block_channels, True
    strides: tuple[int, ...] = (frame.stem_stride,)
    for s, stage in enumerate(frame.stages):
        for b in range(max(stage.depths)):
            stride = stage.stride if b == 0 else 1
            yield BlockPlace(f"stage{s}.block{b}", s, b, channels, stage.out_channels, stride, strides, signed)
            channels, strides, signed = stage.out_channels, (*strides, stride), True


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
        pw_weight, pw_activation, signed_input=place.signed_input, relu=True,
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
