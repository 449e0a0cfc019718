"""Estimating what a table lacks from what it has of the same kind.

Entries are of one kind if their layers agree in everything but channels and sizes: operators, kernels, strides,
formats, activations, residual addition. Among those a cost is taken to be locally a power law of the shape: the
logarithm of cost per MAC is fitted, linearly in the logarithms of channels and size, to the nearest entries, with
weights that fall with the distance. That is exact where costs are products of powers, as roofs of compute and of
memory are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.op_key import layer_key, layers_in, op_key
from bitfront.latency_lut.table import Table
from bitfront.supernet.layers import Block, Layer

_NEIGHBOURS = 16
_MORE_THAN_UNKNOWNS = 2
# Beyond the neighbours a power law may end: their cost per MAC is left by this factor at most.
_MOST_BEYOND = 1.5
# Weak against real differences; it keeps slopes that the neighbours do not tell at 0.
_RIDGE = 1e-4
_NEAR = 0.1  # doublings of a channel count or a size

Floats = NDArray[np.float64]
Estimate = tuple[dict[str, float], list[str]]
"""Costs, and the keys of the entries behind them."""


@dataclass(frozen=True)
class _Kind:
    """Entries of one kind: keys, log2 shapes (n, features), MACs (n,) and costs (n, costs)."""

    keys: list[str]
    shapes: Floats
    macs: Floats
    costs: Floats

    @cached_property
    def unknowns(self) -> int:
        """Of a fit: an offset, and a slope for every direction in which shapes differ."""
        return 1 + int(np.linalg.matrix_rank(self.shapes - self.shapes.mean(0)))


class Interpolator:
    """Estimates of blocks and layers that a table lacks."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._kinds = {name: _kind(table, keys) for name, keys in _by_kind(table.entries).items()}
        self._found: dict[str, Estimate | None] = {}

    def estimate(self, block: Block) -> Estimate | None:
        """Costs of a block from similar blocks, or layer by layer from known and similar layers.

        None where there is too little of the same kind: a fit needs more entries than it has unknowns. The cost
        per MAC stays within 1.5 times the neighbours' range.
        """
        key = op_key(block)
        if key not in self._found:
            self._found[key] = self._from_similar(key) or self._from_layers(block)
        return self._found[key]

    def _from_layers(self, block: Block) -> Estimate | None:
        total = dict.fromkeys(self._table.costs, 0.0)
        sources: list[str] = []
        for key in map(layer_key, block.layers):
            if key in self._table.entries:
                costs: Mapping[str, float] = self._table.entries[key]
            elif (similar := self._from_similar(key)) is not None:
                costs = similar[0]
                sources += similar[1]
            else:
                return None
            total = {cost: total[cost] + costs[cost] for cost in total}
        return total, sources

    def _from_similar(self, key: str) -> Estimate | None:
        layers = layers_in(key)
        kind = self._kinds.get(_kind_of(key, layers))
        if kind is None or len(kind.keys) < kind.unknowns + _MORE_THAN_UNKNOWNS:
            return None
        difference = kind.shapes - _shape(layers)
        distance = np.sqrt((difference**2).sum(1))
        nearest = np.argsort(distance, kind="stable")[:_NEIGHBOURS]
        weight = 1 / (distance[nearest] + _NEAR)
        design = np.column_stack([np.ones(len(nearest)), difference[nearest]]) * weight[:, None]
        ridge = _RIDGE * np.eye(design.shape[1])
        ridge[0, 0] = 0
        logs = np.log(kind.costs[nearest] / kind.macs[nearest, None])
        right = logs * weight[:, None]
        solution, *_ = np.linalg.lstsq(
            np.vstack([design, ridge]), np.vstack([right, np.zeros((len(ridge), right.shape[1]))]), rcond=None
        )
        margin = np.log(_MOST_BEYOND)
        per_mac = np.clip(solution[0], logs.min(0) - margin, logs.max(0) + margin)
        costs = np.exp(per_mac) * _macs(layers)
        return dict(zip(self._table.costs, costs.tolist(), strict=True)), [kind.keys[i] for i in nearest]


def _by_kind(entries: Mapping[str, Mapping[str, float]]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for key, row in entries.items():
        if min(row.values()) > 0:  # what costs nothing follows no power law
            kinds.setdefault(_kind_of(key, layers_in(key)), []).append(key)
    return kinds


def _kind(table: Table, keys: list[str]) -> _Kind:
    layers = [layers_in(key) for key in keys]
    return _Kind(
        keys,
        np.array([_shape(one) for one in layers]),
        np.array([_macs(one) for one in layers]),
        np.array([[table.entries[key][cost] for cost in table.costs] for key in keys]),
    )


def _kind_of(key: str, layers: tuple[Layer, ...]) -> str:
    block, colon, _ = key.partition(":")
    parts = (
        f"{one.op},k{one.kernel},s{one.stride},{one.weight_format},{one.activation_format},{one.act},{one.source},"
        f"{one.gate}"
        for one in layers
    )
    return f"{block if colon else ''}:{';'.join(parts)}"


def _shape(layers: tuple[Layer, ...]) -> Floats:
    return np.log2(np.array(list(_sizes(layers)), dtype=np.float64))


def _sizes(layers: tuple[Layer, ...]) -> Iterator[int]:
    """Channels along the chain, then the side of the input."""
    yield layers[0].in_channels
    for one in layers:
        yield one.out_channels
    yield layers[0].in_size


def _macs(layers: tuple[Layer, ...]) -> float:
    return float(sum(one.macs for one in layers))
