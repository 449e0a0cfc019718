"""Whether blocks and number formats that come from outside make a network at all."""

from __future__ import annotations

import keyword
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from bitfront.supernet.folded import TensorQuant
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import IntegerFormat
from bitfront.supernet.quantization.policy import reads_as_quantized

_MOST_CHANNELS = 1 << 24
_MOST_SIDE = 1 << 14
_LEAST_SCALE, _MOST_SCALE = 2.0**-149, 2.0**127
_PART = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ANY_MODULE = nn.Module()
ENDINGS = ("_input", "_output")
"""What is added to a layer's `attribute` for that of the quantization of its input and output."""

Quants = Sequence[tuple[TensorQuant | None, TensorQuant | None]]


@dataclass(frozen=True, slots=True)
class _Map:
    """What flows between layers; ``size`` is None where it is no map, but one number per channel."""

    channels: int
    size: int | None


class _MisfitError(Exception):
    """Says what does not fit."""


def attribute(layer: Layer) -> str:
    """A layer's name as it stands in files: one that an attribute can have."""
    return layer.name.replace(".", "_")


def network_problem(
    blocks: Sequence[Block], quants: Quants, in_channels: int, resolution: int, classes: int
) -> str | None:
    """What keeps this from being a whole network from images to logits; None if nothing does.

    ``quants`` are the formats of input and output of each layer in order.
    """
    layers = [layer for block in blocks for layer in block.layers]
    if not layers or len(quants) != len(layers):
        return f"it has {len(layers)} layers, but formats of {len(quants)}"
    return next(_problems(blocks, layers, quants), None) or _misfit(blocks, _Map(in_channels, resolution), classes)


def _problems(blocks: Sequence[Block], layers: Sequence[Layer], quants: Quants) -> Iterator[str]:
    unfit = [block.name for block in blocks if not _is_plain(block.name)]
    unfit += [layer.name for layer in layers if not _is_name(layer)]
    if unfit:
        yield f"names that files can not have: {', '.join(map(repr, unfit))}. Use letters, digits, _ and dots"
    names = Counter(attribute(layer) + ending for layer in layers for ending in ("", *ENDINGS))
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        yield f"names that stand for two things in files: {', '.join(twice)}"
    each = iter(quants)
    for block in blocks:
        for layer in block.layers:
            yield from _layer_problems(block, layer, *next(each))


def _is_plain(name: str) -> bool:
    return all(_PART.fullmatch(part) for part in name.split("."))


def _is_name(layer: Layer) -> bool:
    name = attribute(layer)
    return _is_plain(layer.name) and not keyword.iskeyword(name) and not hasattr(_ANY_MODULE, name)


def _layer_problems(
    block: Block, layer: Layer, entry: TensorQuant | None, out: TensorQuant | None
) -> Iterator[str]:
    sizes = (layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.in_size)
    if min(sizes) < 1 or max(sizes) > _MOST_CHANNELS or max(sizes[2:]) > _MOST_SIDE:
        yield f"layer {layer.name!r} has sizes that can not be"
    unknown = {layer.weight_format, layer.activation_format} - set(FORMATS.names())
    if unknown:
        yield f"layer {layer.name!r} has formats that are not known: {', '.join(sorted(unknown))}"
        return
    number_format = FORMATS.get(layer.activation_format)
    wants = isinstance(number_format, IntegerFormat) and not reads_as_quantized(block, layer)
    fits = entry is None or entry.bits == number_format.storage_bits
    if wants != (entry is not None) or not fits:
        yield f"layer {layer.name!r} does not quantize its input as its format says"
    if not all(quant is None or _is_sound(quant) for quant in (entry, out)):
        yield f"layer {layer.name!r} has a scale, a zero point or bits that can not be"


def _is_sound(quant: TensorQuant) -> bool:
    in_range = 2 <= quant.bits <= 8 and 0 <= quant.zero_point < 2**quant.bits
    return in_range and math.isfinite(quant.scale) and _LEAST_SCALE <= quant.scale <= _MOST_SCALE


def _misfit(blocks: Sequence[Block], x: _Map, classes: int) -> str | None:
    try:
        for block in blocks:
            x = _block(block, x)
        _check(x == _Map(classes, None), f"it ends in {x}, not in {classes} logits")
    except _MisfitError as misfit:
        return str(misfit)
    return None


def _block(block: Block, x: _Map) -> _Map:
    shortcuts = [layer for layer in block.layers if layer.source == "block"]
    fits = len(shortcuts) <= block.residual and bool(block.layers) and block.layers[0].source != "block"
    fits = fits and not any(layer.gate for layer in shortcuts)
    _check(fits, f"block {block.name!r} has shortcuts that can not be")
    entry, x = _chain(block, x)
    if block.residual:
        for layer in shortcuts:
            entry = _layer(layer, _averaged(entry, block.stride))
        _check(entry == x and x.size is not None, f"block {block.name!r} adds what has another shape")
    if block.max_pool:
        _check(x.size is not None, f"block {block.name!r} takes maxima of what is no map")
        x = _Map(x.channels, _averaged(x, 2).size)
    return x


def _chain(block: Block, x: _Map) -> tuple[_Map, _Map]:
    """(What the first layer takes, which is what a residual block adds; what the last one gives.)"""
    entry, pooled = x, None
    for number, layer in enumerate(block.chain):
        if layer.source == "pooled":
            _check(layer.op != "linear", f"linear layer {layer.name!r} pools by itself, and reads the chain")
            pooled, x = x, _Map(x.channels, None if x.size is None else 1)
        entry = entry if number else x
        x = _layer(layer, x)
        if layer.gate:
            gates = pooled is not None and pooled.size is not None and x == _Map(pooled.channels, 1)
            _check(gates, f"layer {layer.name!r} does not fit what it gates")
            assert pooled is not None
            x = pooled
    return entry, x


def _averaged(x: _Map, stride: int) -> _Map:
    return _Map(x.channels, None if x.size is None else -(-x.size // stride))


def _layer(layer: Layer, x: _Map) -> _Map:
    _check(layer.in_channels == x.channels, f"layer {layer.name!r} does not fit the channels before it")
    if layer.op == "linear":
        plain = (layer.kernel, layer.stride, layer.in_size) == (1, 1, 1)
        _check(plain, f"linear layer {layer.name!r} has a kernel, a stride or a size besides 1")
        return _Map(layer.out_channels, None)
    _check(layer.in_size == x.size, f"layer {layer.name!r} does not fit the map before it")
    odd = layer.kernel % 2 == 1 and (layer.kernel == 1 or layer.op != "pointwise")
    _check(odd, f"layer {layer.name!r} has a kernel of {layer.kernel}, which its kind can not have")
    own = layer.op != "depthwise" or layer.out_channels == layer.in_channels
    _check(own, f"depthwise layer {layer.name!r} gives other channels than it takes")
    return _Map(layer.out_channels, layer.out_size)


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _MisfitError(otherwise)
