"""Which channels inside a block can be reordered without changing what it computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bitfront.supernet.layers import Block, Layer


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that layers of one block hand to each other.

    Reordering them means the same order for the output channels of all ``producers`` and the input channels of
    all ``consumers`` (names, as in `Layer.name`). The first consumer's weights say how important a channel is.
    """

    producers: tuple[str, ...]
    consumers: tuple[str, ...]


@dataclass
class _Open:
    producers: list[str]
    consumers: list[str] = field(default_factory=list)

    def closed(self, consumer: Layer) -> ChannelGroup:
        return ChannelGroup(tuple(self.producers), (consumer.name, *self.consumers))


def channel_groups(block: Block) -> tuple[ChannelGroup, ...]:
    """The hidden channels of a block from input to output; those of its input and output are not among them.

    A depthwise convolution keeps the order of its channels. So does squeeze and excitation, whose squeezed
    channels are a group of their own.
    """
    return tuple(_groups(block))


def _groups(block: Block) -> Iterator[ChannelGroup]:
    current: _Open | None = None
    gated: _Open | None = None
    is_gated = any(layer.gate for layer in block.layers)
    for layer in block.chain:
        if layer.op == "depthwise":
            if current is not None:
                current.producers.append(layer.name)
            continue
        if layer.source == "pooled" and is_gated:
            if current is not None:
                current.consumers.append(layer.name)
            gated, current = current, _Open([layer.name])
            continue
        if current is not None:
            yield current.closed(layer)
        current = _Open([layer.name])
        if layer.gate:
            current = gated
            if current is not None:
                current.producers.append(layer.name)
