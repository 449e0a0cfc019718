"""What a picture of a device shows: what a block costs there by kernel, width and number formats.

One panel a place in the network; places at which the same blocks can stand share one. Of the formats, those
are shown that a person can tell apart: weights and activations alike, unless the device has none such, and where
even these make too many combinations, the same ones in all layers of a block.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bitfront.latency_lut.device import Device
from bitfront.latency_lut.op_key import op_key
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.genes import Choice, GeneKind
from bitfront.supernet.layers import Block
from bitfront.supernet.space import SearchSpace, Slot

UNITS = {"latency_ms": "Latency in ms", "energy_mj": "Energy in mJ"}

_MOST_FORMATS = 6

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """Costs over widths (hidden channels) with one kernel and one combination of formats, in words."""

    formats: str
    kernel: int
    widths: tuple[int, ...]
    costs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One or more places with the same blocks: their names, the blocks' shape in words, and the lines."""

    places: tuple[str, ...]
    shape: str
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """The names of the places, such as ``stage1 block1 to block2``."""
        first, last = self.places[0].split("."), self.places[-1].split(".")
        if len(self.places) == 1:
            return " ".join(first)
        return f"{' '.join(first)} to {last[-1] if first[:-1] == last[:-1] else ' '.join(last)}"


@dataclass(frozen=True, slots=True)
class DevicePicture:
    """A device in a space: ``cost`` is a metric such as ``latency_ms``, ``resolution`` the input's in pixels."""

    device: str
    space: str
    cost: str
    resolution: int
    batch: int | None
    panels: tuple[Panel, ...]

    @property
    def heading(self) -> str:
        """What is seen."""
        call = "" if self.batch is None else f", a call with {self.batch} image{'s' * (self.batch != 1)}"
        return f"{self.device} on {self.space}: blocks at input resolution {self.resolution}{call}"

    @property
    def formats(self) -> list[str]:
        """All combinations of formats, in the order in which they first come."""
        return list(dict.fromkeys(line.formats for panel in self.panels for line in panel.lines))

    @property
    def kernels(self) -> list[int]:
        """All kernels, ascending."""
        return sorted({line.kernel for panel in self.panels for line in panel.lines})


def device_picture(device: Device, space: SearchSpace, table: Table) -> DevicePicture:
    """The picture of ``table``, which is the device's for ``space`` (restricted to the device).

    Raises:
        UnsupportedError: no block of the space has a kernel and a width to choose.
    """
    cost = device.costs[0]
    panels: dict[tuple[str, ...], Panel] = {}
    for slot in space.slots:
        kinds = _kinds(space, slot)
        if {"kernel", "width"} <= kinds.keys():
            keys, panel = _panel(device, space, slot, table, cost)
            before = panels.get(keys)
            panels[keys] = Panel((*before.places, *panel.places), before.shape, before.lines) if before else panel
    if not panels:
        raise UnsupportedError(
            f"space {space.name!r} has no blocks whose kernel and width are chosen: nothing to draw"
        )
    resolution = max(
        int(one) for gene in space.genes if gene.kind == "resolution" for one in _allowed(space, gene.name)
    )
    batch = table.provenance.get("batch")
    return DevicePicture(device.name, space.name, cost, resolution, batch, tuple(panels.values()))


def _kinds(space: SearchSpace, slot: Slot) -> Mapping[GeneKind, str]:
    return {space.genes[space.position[name]].kind: name for name in slot.genes}


def _allowed(space: SearchSpace, gene: str) -> tuple[Choice, ...]:
    return space.allowed_choices(gene)


def _panel(
    device: Device, space: SearchSpace, slot: Slot, table: Table, cost: str
) -> tuple[tuple[str, ...], Panel]:
    """The panel of one slot, and the op keys that tell whether another slot has the same."""
    keys: list[str] = []
    lines: list[Line] = []
    kinds = _kinds(space, slot)
    block: Block | None = None
    for formats, genes in _format_choices(device, space, slot):
        for kernel in _allowed(space, kinds["kernel"]):
            points: list[tuple[int, float]] = []
            for width in _allowed(space, kinds["width"]):
                block = _build(space, slot, {**genes, kinds["kernel"]: kernel, kinds["width"]: width})
                keys.append(op_key(block))
                row = table.cost_of(keys[-1], block)
                if row is not None:
                    points.append((int(width), row[cost]))
            if points:
                widths, costs = zip(*points, strict=True)
                lines.append(Line(formats, int(kernel), widths, costs))
    return tuple(keys), Panel((slot.name,), _shape(block) if block else "", tuple(lines))


def _build(space: SearchSpace, slot: Slot, chosen: Mapping[str, Choice]) -> Block:
    """The block with these choices; genes that are not named take their last one, the largest."""
    return slot.build(tuple(chosen.get(name, _allowed(space, name)[-1]) for name in slot.genes))


def _shape(block: Block) -> str:
    first, last = block.layers[0], block.layers[-1]
    stride = ", stride 2" if any(layer.stride == 2 for layer in block.layers) else ""
    return f"{first.in_channels} to {last.out_channels} channels, {first.in_size} px{stride}"


def _format_choices(device: Device, space: SearchSpace, slot: Slot) -> Iterator[tuple[str, dict[str, Choice]]]:
    """(in words, format gene to its choice) of the combinations that are shown."""
    parts = {
        (pair.weight_gene, pair.activation_gene): pair.op
        for pair in space.format_pairs
        if pair.weight_gene in slot.genes and pair.activation_gene in slot.genes
    }
    pairs = [_pairs(device, space, op, genes) for genes, op in parts.items()]
    chosen = list(itertools.product(*pairs))
    if len(chosen) > _MOST_FORMATS:
        chosen = [one for one in chosen if len(set(one)) == 1][:_MOST_FORMATS] or chosen[:_MOST_FORMATS]
    for combination in chosen:
        values: dict[str, Choice] = {}
        for genes, pair in zip(parts, combination, strict=True):
            values.update(zip(genes, pair, strict=True))
        yield _in_words(list(parts.values()), combination), values


def _pairs(device: Device, space: SearchSpace, op: str, genes: tuple[str, str]) -> list[Pair]:
    weights, activations = (_allowed(space, name) for name in genes)
    runs = [(str(w), str(a)) for w in weights for a in activations if (str(w), str(a)) in device.executable(op)]
    return [pair for pair in runs if pair[0] == pair[1]] or runs


def _in_words(ops: Sequence[str], pairs: Sequence[Pair]) -> str:
    texts = [weight if weight == activation else f"{weight} x {activation}" for weight, activation in pairs]
    if len(set(texts)) == 1:
        return texts[0]
    return ", ".join(f"{op} {text}" for op, text in zip(ops, texts, strict=True))
