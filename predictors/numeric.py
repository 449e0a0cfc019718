"""What a network weighs, as inputs of a predictor: operations, parameters and bytes, of whole batches by look-up.

Sums over a network's blocks are no linear function of its one-hot encoding, since a block's size is a product of
several genes. Accuracy follows the logarithm of such sums closely, so that few pairs teach it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Block
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace, Slot

_FULL_BITS = 32
Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class _Table:
    """One slot's rows, one for each combination of its architecture ``genes``, which ``radix`` numbers.

    ``weights`` has a column for each of ``formats``: the weights whose format that gene says.
    """

    genes: NDArray[np.intp]
    radix: NDArray[np.int64]
    macs: Floats
    parameters: Floats
    weights: Floats
    formats: tuple[int, ...]


@dataclass(frozen=True)
class NumericFeatures:
    """Logarithms of sums over a network's layers, for canonical genomes of ``space``.

    Of weights, only those whose format a gene chooses are ever less than 32 bits here; gates and biases are not.
    """

    space: SearchSpace

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """Names of the network's parts whose bytes are told apart, from input to output."""
        return tuple(dict.fromkeys(_stage(slot) for slot in self.space.slots))

    def __call__(self, genomes: Genomes) -> tuple[Floats32, Floats32]:
        """Features of architecture, (n, 2): log of multiply-accumulates and of parameters; and of the policy,
        (n, 1 + stages): log2 of how many times smaller than in fp32 the weights are, in all and per stage, so that
        all are 0 where every weight is fp32.
        """
        tables = self._tables
        rows = tables.rows(genomes)
        parameters = tables.parameters[rows] @ tables.stage_of_slot
        architecture = np.log(np.stack([tables.macs[rows].sum(axis=1), parameters.sum(axis=1)], axis=1))
        saved = tables.weights[rows[:, tables.slot_of_format], tables.column_of_format]
        saved *= tables.saved[genomes[:, tables.formats], np.arange(len(tables.formats))]
        kept = parameters - saved @ tables.stage_of_slot[tables.slot_of_format]
        ratios = np.empty((len(genomes), 1 + len(self.stages)))
        ratios[:, 0] = parameters.sum(axis=1) / kept.sum(axis=1)
        ratios[:, 1:] = (parameters + 1.0) / (kept + 1.0)
        return architecture.astype(np.float32), np.log2(ratios).astype(np.float32)

    @cached_property
    def _tables(self) -> _Tables:
        return _Tables.of(self.space, self.stages)


@dataclass(frozen=True)
class _Tables:
    """The tables of all slots, one below the other, and a last row of zeros for what does not exist.

    ``place`` (n_genes, slots) and ``first`` (slots,) number the rows; ``saved`` (choices, formats) has what share
    of the 32 bits each choice saves.
    """

    place: Floats
    first: NDArray[np.intp]
    owners: NDArray[np.intp]
    thresholds: NDArray[np.int64]
    macs: Floats
    parameters: Floats
    weights: Floats
    stage_of_slot: Floats
    formats: NDArray[np.intp]
    slot_of_format: NDArray[np.intp]
    column_of_format: NDArray[np.intp]
    saved: Floats

    @classmethod
    def of(cls, space: SearchSpace, stages: tuple[str, ...]) -> _Tables:
        """Those of a space."""
        tables = [_tabulated(space, slot) for slot in space.slots]
        place = np.zeros((space.n_genes, len(tables)))
        for slot, table in enumerate(tables):
            place[table.genes, slot] = table.radix
        columns = [(slot, column) for slot, table in enumerate(tables) for column in range(len(table.formats))]
        formats = np.array([gene for table in tables for gene in table.formats], dtype=np.intp)
        return cls(
            place=place,
            first=np.cumsum([0, *(len(table.macs) for table in tables[:-1])]),
            owners=np.array([space.position[slot.active_if[0]] if slot.active_if else 0 for slot in space.slots]),
            thresholds=np.array([slot.active_if[1] if slot.active_if else 0 for slot in space.slots]),
            macs=np.concatenate([*(table.macs for table in tables), [0.0]]),
            parameters=np.concatenate([*(table.parameters for table in tables), [0.0]]),
            weights=_below([table.weights for table in tables]),
            stage_of_slot=np.array([[_stage(slot) == stage for stage in stages] for slot in space.slots], float),
            formats=formats,
            slot_of_format=np.array([slot for slot, _ in columns], dtype=np.intp),
            column_of_format=np.array([column for _, column in columns], dtype=np.intp),
            saved=_saved(space, formats),
        )

    def rows(self, genomes: Genomes) -> NDArray[np.intp]:
        """Which row each slot of each genome takes, (n, slots)."""
        numbers = (genomes.astype(np.float64) @ self.place).astype(np.intp)
        return np.where(genomes[:, self.owners] >= self.thresholds, numbers + self.first, len(self.macs) - 1)


def _below(tables: Sequence[Floats]) -> Floats:
    """Tables of different widths one below the other, and a row of zeros."""
    joined = np.zeros((sum(map(len, tables)) + 1, max(table.shape[1] for table in tables)))
    row = 0
    for table in tables:
        joined[row : row + len(table), : table.shape[1]] = table
        row += len(table)
    return joined


def _saved(space: SearchSpace, formats: NDArray[np.intp]) -> Floats:
    saved = np.zeros((max((len(space.genes[i].choices) for i in formats), default=0), len(formats)))
    for column, i in enumerate(formats):
        bits = [FORMATS.get(str(choice)).storage_bits for choice in space.genes[i].choices]
        saved[: len(bits), column] = 1 - np.array(bits) / _FULL_BITS
    return saved


def _stage(slot: Slot) -> str:
    """``stage2`` of ``stage2.block1``."""
    return re.split(r"\.", slot.name)[0]


def _tabulated(space: SearchSpace, slot: Slot) -> _Table:
    """Every combination of the slot's architecture genes, built once with formats as they come first."""
    positions = [space.position[name] for name in slot.genes]
    architecture = [i for i in positions if not space.genes[i].is_policy]
    formats = tuple(i for i in positions if space.genes[i].kind == "weight_format")
    sizes = [len(space.genes[i].choices) for i in architecture]
    follows = {gene: _followers(space, slot, gene) for gene in formats}
    macs, parameters, weights = [], [], []
    for picks in itertools.product(*map(range, sizes)):
        layers = _built(space, slot, dict(zip(architecture, picks, strict=True))).layers
        macs.append(sum(layer.macs for layer in layers))
        parameters.append(sum(layer.weights + layer.out_channels for layer in layers))
        weights.append([sum(one.weights for one in layers if one.name in follows[gene]) for gene in formats])
    radix = [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]
    return _Table(
        np.array(architecture, dtype=np.intp),
        np.array(radix, dtype=np.int64),
        np.array(macs, dtype=np.float64),
        np.array(parameters, dtype=np.float64),
        np.array(weights, dtype=np.float64).reshape(len(macs), len(formats)),
        formats,
    )


def _followers(space: SearchSpace, slot: Slot, gene: int) -> frozenset[str]:
    """Names of the layers whose weights have the format that the gene says."""
    last = len(space.genes[gene].choices) - 1
    base, other = _built(space, slot, {}), _built(space, slot, {gene: last})
    return frozenset(
        one.name
        for one, two in zip(base.layers, other.layers, strict=True)
        if one.weight_format != two.weight_format
    )


def _built(space: SearchSpace, slot: Slot, picks: dict[int, int]) -> Block:
    """The slot's block; genes that are not picked have their first choice."""
    positions = (space.position[name] for name in slot.genes)
    return slot.build(tuple(space.genes[i].choices[picks.get(i, 0)] for i in positions))
