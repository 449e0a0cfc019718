"""The family of ResNet-style spaces: stages of bottleneck blocks (He et al. 2016) whose channels are elastic.

Genes: input resolution; depth of the stem and of every stage; output channels of the stem's convolutions and of
every stage; per block the bottleneck's width in per cent of the stage's output channels; per block the weight and
activation formats of its pointwise convolutions (shared by them and the shortcut) and of its spatial convolution;
and the formats of stem and head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

from bitfront.supernet.errors import InvalidSpaceError
from bitfront.supernet.genes import FormatPair, Gene, Rule
from bitfront.supernet.space import SearchSpace, Slot
from bitfront.supernet.spaces.bottleneck_blocks import (
    STEM_DEPTHS,
    BottleneckConfig,
    BottleneckPlace,
    BottleneckStage,
    bottleneck_places,
    build_bottleneck,
    build_deep_stem,
    build_linear_head,
    build_stem_conv,
    build_stem_out,
    middle_channels,
)
from bitfront.supernet.spaces.shapes import depth_condition, format_genes, format_names, format_pair

__all__ = ["BottleneckConfig", "BottleneckPlace", "BottleneckSpace", "BottleneckStage"]

_STEM_WIDTH, _STEM_OUT = "stem.width", "stem.out.width"


class BottleneckSpace(SearchSpace):
    """Networks of bottleneck blocks in the frame of a `BottleneckConfig`.

    Raises:
        InvalidSpaceError: two percentages make bottlenecks of one width.
    """

    def __init__(self, name: str, frame: BottleneckConfig, rules: tuple[Rule, ...] = ()) -> None:
        if problems := list(_equal_bottlenecks(frame)):
            raise InvalidSpaceError(f"space {name!r}", problems)
        self.frame = frame
        self.places = tuple(bottleneck_places(frame))
        super().__init__(name, list(self._genes()), list(self._format_pairs()), rules)

    @property
    def config(self) -> Any:
        """The frame as plain JSON values."""
        return asdict(self.frame)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """The stem's two or three convolutions, every possible block, head."""
        frame, formats = self.frame, format_names("stem")
        stem, out = ("resolution", _STEM_WIDTH, *formats), ("resolution", _STEM_WIDTH, _STEM_OUT, *formats)
        head = (f"stage{len(frame.stages) - 1}.width", *format_names("head"))
        return (
            Slot("stem", stem, None, partial(build_stem_conv, frame)),
            Slot("stem.deep", stem, ("stem.depth", 1), partial(build_deep_stem, frame)),
            Slot("stem.out", out, None, partial(build_stem_out, frame)),
            *(self._block_slot(place) for place in self.places),
            Slot("head", head, None, partial(build_linear_head, frame)),
        )

    def _genes(self) -> Iterator[Gene]:
        frame = self.frame
        yield Gene("resolution", "resolution", frame.resolutions)
        yield Gene("stem.depth", "depth", STEM_DEPTHS)
        for s, stage in enumerate(frame.stages):
            yield Gene(f"stage{s}.depth", "depth", stage.depths)
        yield Gene(_STEM_WIDTH, "width", frame.stem_channels)
        yield Gene(_STEM_OUT, "width", frame.stem_out_channels)
        for s, stage in enumerate(frame.stages):
            yield Gene(f"stage{s}.width", "width", stage.out_channels)
        for place in self.places:
            yield Gene(f"{place.name}.expand_percent", "width", frame.expand_percents, self._condition(place))
        yield from format_genes("stem", frame.end_formats, frame.end_formats)
        for place in self.places:
            for part in ("pointwise", "spatial"):
                formats = (frame.weight_formats, frame.activation_formats)
                yield from format_genes(f"{place.name}.{part}", *formats, self._condition(place))
        yield from format_genes("head", frame.end_formats, frame.end_formats)

    def _format_pairs(self) -> Iterator[FormatPair]:
        yield format_pair("conv", "stem")
        for place in self.places:
            yield format_pair("pointwise", f"{place.name}.pointwise")
            yield format_pair("conv", f"{place.name}.spatial")
        yield format_pair("linear", "head")

    def _condition(self, place: BottleneckPlace) -> tuple[str, int] | None:
        return depth_condition(f"stage{place.stage}.depth", self.frame.stages[place.stage].depths, place.index)

    def _block_slot(self, place: BottleneckPlace) -> Slot:
        genes = (
            "resolution",
            *((self._input_width(place),) if place.index == 0 else ()),
            f"stage{place.stage}.width",
            f"{place.name}.expand_percent",
            *format_names(f"{place.name}.pointwise"),
            *format_names(f"{place.name}.spatial"),
        )
        return Slot(place.name, genes, self._condition(place), partial(build_bottleneck, self.frame, place))

    def _input_width(self, place: BottleneckPlace) -> str:
        """The gene that chooses the channels that come into a stage."""
        return f"stage{place.stage - 1}.width" if place.stage else _STEM_OUT


def _equal_bottlenecks(frame: BottleneckConfig) -> Iterator[str]:
    """Percentages that are one choice: two genomes would build one network."""
    for out in dict.fromkeys(channels for stage in frame.stages for channels in stage.out_channels):
        for one, other in pairwise(frame.expand_percents):
            middle = middle_channels(out, one)
            if middle == middle_channels(out, other):
                yield (
                    f"expand_percents = {list(frame.expand_percents)}: {one} and {other} per cent of {out} "
                    f"channels both make {middle} channels: leave one of them out, or give the stage more"
                )
