"""Devices that are modelled layer by layer: a block costs the sum of its layers."""

from __future__ import annotations

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
from bitfront.supernet.space import SearchSpace

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Work:
    """A layer to be costed; ``reads_image`` where its input is the network's own."""

    layer: Layer
    reads_image: bool

    @property
    def key(self) -> str:
        """Equal exactly for work that costs the same."""
        return layer_key(self.layer) + ("@image" if self.reads_image else "")


def work_of(block: Block) -> list[Work]:
    """The layers of a block, as work."""
    return [Work(layer, block.kind == "stem" and layer is block.layers[0]) for layer in block.layers]


class AnalyticDevice(Device):
    """A device whose costs are computed; each different layer once."""

    is_measured = False

    @abstractmethod
    def layer_costs(self, works: Sequence[Work]) -> NDArray[np.float64]:
        """Costs of layers, shape (n, len(self.costs)), for one call, in the order and units of ``self.costs``.

        Raises:
            UnsupportedError: a layer can not run on this device.
        """

    def table(
        self, space: SearchSpace, path: Path, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        """Compute the table and write it to ``path``; nothing here is random."""
        blocks = {key: work_of(block) for key, block in unique_blocks(space, self).items()}
        unique = {work.key: work for works in blocks.values() for work in works}
        costs = self._costed(unique, progress or silent)
        entries = {}
        for key, works in blocks.items():
            total = np.sum([costs[work.key] for work in works], axis=0)
            entries[key] = dict(zip(self.costs, total.tolist(), strict=True))
        table = Table(self.name, space.hash(), self.costs, entries, self.provenance())
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
