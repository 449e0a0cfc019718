"""Devices that are modelled layer by layer: a block costs the sum of its layers."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.device import Device
from bitfront.latency_lut.op_key import layer_key
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.table import Table
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.quantization.policy import is_integer, is_integer_layer, is_pooled
from bitfront.supernet.space import SearchSpace

_CHUNK = 256
_STORED = "int8"
_LOGITS = _MIXED = "fp32"


@dataclass(frozen=True, slots=True)
class Work:
    """A layer to be costed.

    ``reads_image`` where its input is the network's own; ``output_format`` is the one that it writes.
    """

    layer: Layer
    reads_image: bool
    output_format: str

    @property
    def key(self) -> str:
        """Equal exactly for work that costs the same."""
        return f"{layer_key(self.layer)}>{self.output_format}" + ("@image" if self.reads_image else "")


def work_of(block: Block) -> list[Work]:
    """The layers of a block, as work."""
    consumers = {layer.name: consumer for layer, consumer in itertools.pairwise(block.chain) if not layer.gate}
    return [
        Work(layer, reads_image(block, layer), _output_format(layer, consumers.get(layer.name)))
        for layer in block.layers
    ]


def reads_image(block: Block, layer: Layer) -> bool:
    """Whether the layer is a network's first."""
    return block.kind == "stem" and layer is block.layers[0]


def _output_format(layer: Layer, consumer: Layer | None) -> str:
    """As `quantization.policy` has it; what follows a block, a gate or a shortcut does not ask for a format."""
    if consumer is not None and not is_pooled(layer, consumer) and is_integer(consumer.activation_format):
        return consumer.activation_format
    if consumer is None and layer.op == "linear":
        return _LOGITS
    if is_integer_layer(layer):
        return _STORED
    return layer.activation_format if layer.weight_format == layer.activation_format else _MIXED


class AnalyticDevice(Device):
    """A device whose costs are computed; each different layer once.

    Only weighted layers cost something: activation functions, sums, products with a gate and pooling are taken to
    happen on the way of a map to the next layer. The MACs of a layer are those of its weights.
    """

    is_measured = False

    @abstractmethod
    def layer_costs(self, works: Sequence[Work]) -> NDArray[np.float64]:
        """Costs of layers, shape (n, len(self.costs)), for one call, in the order and units of ``self.costs``.

        Raises:
            UnsupportedError: a layer can not run on this device.
        """

    def table(
        self, space: SearchSpace, path: Path | None, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        """Compute the table and write it to ``path``, if given; nothing here is random."""
        blocks = {key: work_of(block) for key, block in unique_blocks(space, self).items()}
        unique = {work.key: work for works in blocks.values() for work in works}
        costs = self._costed(unique, progress or silent)
        entries = {}
        for key, works in blocks.items():
            total = np.sum([costs[work.key] for work in works], axis=0)
            entries[key] = dict(zip(self.costs, total.tolist(), strict=True))
        table = Table(self.name, space.hash(), self.costs, entries, self.provenance())
        if path is not None:
            table.save(path)
        return table

    def _costed(self, unique: Mapping[str, Work], progress: Progress) -> dict[str, NDArray[np.float64]]:
        keys, works = list(unique), list(unique.values())
        costs: dict[str, NDArray[np.float64]] = {}
        for start in range(0, len(works), _CHUNK):
            chunk = self.layer_costs(works[start : start + _CHUNK])
            costs.update(zip(keys[start : start + _CHUNK], chunk, strict=True))
            progress(len(costs), len(works))
        return costs
