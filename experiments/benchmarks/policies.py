"""The policies of one network of a space with one format, for weights and inputs, per group of tied layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bitfront.search.constraints import Floats
from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Layer
from bitfront.supernet.quantization.policy import layer_bytes
from bitfront.supernet.space import SearchSpace

Choices = NDArray[np.intp]


@dataclass(frozen=True)
class Policies:
    """What formats a network's layers can have.

    Attributes:
        space: where the network is from.
        genome: the network in any policy, (n_genes,).
        formats: the formats that are chosen from.
        genes: where the genes of weights and of inputs are that decide the formats of a group, (n_groups, 2).
        indices: the choices of these genes that mean a format, (n_groups, n_formats, 2); -1 where there is none.
        group_of: each layer's group, (n_layers,).
    """

    space: SearchSpace
    genome: NDArray[np.uint8]
    formats: tuple[str, ...]
    genes: NDArray[np.intp]
    indices: NDArray[np.intp]
    group_of: NDArray[np.intp]

    @classmethod
    def of(cls, space: SearchSpace, genome: NDArray[np.uint8], formats: Sequence[str]) -> Self:
        """Those of a network in which genes decide the format of each layer."""
        active = space.active(genome[None])[0]
        named = dict.fromkeys((pair.weight_gene, pair.activation_gene) for pair in space.format_pairs)
        pairs = [[space.position[name] for name in pair] for pair in named]
        genes = np.array([pair for pair in pairs if active[pair].all()], dtype=np.intp)
        indices = np.array([[_indices(space, genome, pair, name) for name in formats] for pair in genes])
        group_of = np.full(len(space.layers(genome)), -1)
        for i in range(len(genes)):
            group_of[_shaped(space, genome, genes[i])] = i
        assert (group_of >= 0).all(), "genes decide the format of each layer"
        return cls(space, genome, tuple(formats), genes, indices, group_of)

    @property
    def can_have(self) -> NDArray[np.bool_]:
        """Whether a group can have a format, (n_groups, n_formats)."""
        result: NDArray[np.bool_] = self.indices[..., 0] >= 0
        return result

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The network's layers in their first formats."""
        return self.space.layers(self.genome)

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Whether a layer can have a format, (n_layers, n_formats)."""
        result: NDArray[np.bool_] = self.can_have[self.group_of]
        return result

    def bytes(self) -> Floats:
        """Of the layers' parameters, (n_layers, n_formats); NaN where a layer can not have the format."""
        table = np.full(self.allowed.shape, np.nan)
        for column in range(len(self.formats)):
            choice = np.where(self.can_have[:, column], column, self.can_have.argmax(axis=1))
            layers = self.space.layers(self.genomes(choice[None])[0])
            own = self.allowed[:, column]
            table[own, column] = [layer_bytes(layer) for layer, is_own in zip(layers, own, strict=True) if is_own]
        return table

    def sample(self, n: int, rng: np.random.Generator) -> Choices:
        """Formats drawn uniformly for each group from what it can have, (n, n_groups)."""
        drawn = np.where(self.can_have, rng.random((n, *self.can_have.shape)), -1.0)
        return np.asarray(drawn.argmax(axis=2), dtype=np.intp)

    def genomes(self, choices: Choices) -> Genomes:
        """Networks (n, n_genes) whose groups have formats (n, n_groups)."""
        result = np.repeat(self.genome[None], len(choices), axis=0)
        for i, genes in enumerate(self.genes):
            result[:, genes] = self.indices[i, choices[:, i]]
        return result


def _shaped(space: SearchSpace, genome: NDArray[np.uint8], pair: NDArray[np.intp]) -> list[int]:
    """The layers whose formats two genes decide, by trying all their choices."""
    before, found = _formats(space, genome), set()
    for indices in np.ndindex(*space.cardinalities[pair]):
        changed = genome.copy()
        changed[pair] = indices
        now = _formats(space, changed) if space.valid(changed[None])[0] else before
        found |= {i for i, (one, other) in enumerate(zip(before, now, strict=True)) if one != other}
    return sorted(found)


def _formats(space: SearchSpace, genome: NDArray[np.uint8]) -> list[tuple[str, str]]:
    return [(layer.weight_format, layer.activation_format) for layer in space.layers(genome)]


def _indices(
    space: SearchSpace, genome: NDArray[np.uint8], pair: NDArray[np.intp], format_name: str
) -> tuple[int, int]:
    """Of the choices of both genes that mean a format; -1 where one has none or the space does not allow both."""
    choices = [space.genes[i].choices for i in pair]
    if not all(format_name in names for names in choices):
        return -1, -1
    found = choices[0].index(format_name), choices[1].index(format_name)
    changed = genome[None].copy()
    changed[0, pair] = found
    return found if space.valid(changed)[0] else (-1, -1)


def masked(values: Floats, policies: Policies) -> Floats:
    """A table (n_layers, n_formats) with NaN where a layer can not have the format."""
    return np.where(policies.allowed, values, np.nan)


def total(table: Floats, policies: Policies, choices: Choices) -> Floats:
    """Sums over the layers of policies (n, n_groups), each (n,)."""
    columns = choices[:, policies.group_of]
    summed: Floats = table[np.arange(len(table)), columns].sum(axis=1)
    return summed
