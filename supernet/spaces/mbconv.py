"""The family of MobileNet-style spaces: stages of inverted residual blocks (Sandler et al. 2018).

Genes: input resolution; per stage the depth; per block the kernel and the number of expansion (hidden)
channels, which is the pruning gene; per block the weight and activation formats of its two pointwise
convolutions (shared by both) and of its depthwise convolution; and the formats of stem and head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

from bitfront.supernet.errors import InvalidSpaceError
from bitfront.supernet.genes import FormatPair, Gene, Rule
from bitfront.supernet.space import SearchSpace, Slot
from bitfront.supernet.spaces.mbconv_blocks import build_block, build_first, build_head, build_stem
from bitfront.supernet.spaces.mbconv_config import BlockPlace, MBConvConfig, StageConfig, block_places
from bitfront.supernet.spaces.shapes import depth_condition, format_genes, format_names, format_pair

__all__ = ["BlockPlace", "MBConvConfig", "MBConvSpace", "StageConfig", "build_block"]

_CLASSIFIER = "classifier"


class MBConvSpace(SearchSpace):
    """Networks of inverted residual blocks in the frame of an `MBConvConfig`.

    Raises:
        InvalidSpaceError: the first block is to add its input, which has other channels.
    """

    def __init__(self, name: str, frame: MBConvConfig, rules: tuple[Rule, ...] = ()) -> None:
        if frame.first_block_residual and frame.first_block_channels != frame.stem_channels:
            raise InvalidSpaceError(
                f"space {name!r}",
                [
                    f"first_block_channels = {frame.first_block_channels}: must be stem_channels where "
                    f"first_block_residual: write {frame.stem_channels}, or leave first_block_residual out"
                ],
            )
        self.frame = frame
        self.places = tuple(block_places(frame))
        super().__init__(name, list(self._genes()), list(self._format_pairs()), rules)

    @property
    def config(self) -> Any:
        """The frame as plain JSON values; what is None is left out, so that spaces without it keep their hash."""
        return asdict(self.frame, dict_factory=_without_none)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Stem, every possible block, head."""
        frame = self.frame
        stem = ("resolution", *format_names("stem"))
        first = (Slot("first", stem, None, partial(build_first, frame)),) if frame.first_block_residual else ()
        own = () if frame.classifier_formats is None else format_names(_CLASSIFIER)
        head = ("resolution", *format_names("head"), *own)
        return (
            Slot("stem", stem, None, partial(build_stem, frame)),
            *first,
            *(self._block_slot(place) for place in self.places),
            Slot("head", head, None, partial(build_head, frame)),
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
        yield from format_genes("stem", frame.end_formats, frame.end_formats)
        for place in self.places:
            for part in ("pointwise", "depthwise"):
                formats = (frame.weight_formats, frame.activation_formats)
                yield from format_genes(f"{place.name}.{part}", *formats, self._condition(place))
        yield from format_genes("head", frame.end_formats, frame.end_formats)
        if frame.classifier_formats is not None:
            yield from format_genes(_CLASSIFIER, *frame.classifier_formats)

    def _format_pairs(self) -> Iterator[FormatPair]:
        yield format_pair("conv", "stem")
        if self.frame.first_block_channels is not None:
            yield format_pair("depthwise", "stem")
            yield format_pair("pointwise", "stem")
        for place in self.places:
            yield format_pair("pointwise", f"{place.name}.pointwise")
            yield format_pair("depthwise", f"{place.name}.depthwise")
        yield format_pair("pointwise", "head")
        yield format_pair("linear", "head" if self.frame.classifier_formats is None else _CLASSIFIER)

    def _condition(self, place: BlockPlace) -> tuple[str, int] | None:
        return depth_condition(f"stage{place.stage}.depth", self.frame.stages[place.stage].depths, place.index)

    def _block_slot(self, place: BlockPlace) -> Slot:
        genes = (
            "resolution",
            f"{place.name}.kernel",
            f"{place.name}.width",
            *format_names(f"{place.name}.pointwise"),
            *format_names(f"{place.name}.depthwise"),
        )
        return Slot(place.name, genes, self._condition(place), partial(build_block, place))


def _without_none(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in items if value is not None}
