"""Networks that were found for one device, in formats that another one executes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.genes import GeneGroup, Genomes
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace

_AT_ONCE = 64


def promoted(space: SearchSpace, genomes: Genomes) -> Genomes:
    """The same architectures, each layer in the cheapest formats of ``space`` that have at least as many bits.

    Weights and activations of a layer are often executed in certain pairs only: the cheapest pair is that with the
    fewest bits together in which neither has fewer bits than before; of several, the one that changes less. fp32
    has the most bits of all, and is the last resort. Where a device executes nothing as fine, such as an
    accelerator of integers that is given fp32, as few bits are lost as possible. Networks that are of ``space``
    stay as they are.

    Args:
        space: what the other device executes of a space (`Device.restrict`, or `restrict_to_all`).
        genomes: canonical genomes (n, n_genes) of that space, however it is restricted.

    Returns:
        Canonical, valid genomes of ``space``, (n, n_genes), in the same order; some may have become equal.

    Raises:
        UnsupportedError: ``space`` lacks an architecture in every format; its genes are named.
    """
    result, active = genomes.copy(), space.active(genomes)
    for group in space.groups:
        if not group.valid.all():
            rows = np.flatnonzero(active[:, group.members[0]])
            result[np.ix_(rows, group.members)] = _promoted(space, group, genomes[np.ix_(rows, group.members)])
    return space.canonical(result)


def _promoted(space: SearchSpace, group: GeneGroup, combinations: Genomes) -> Genomes:
    """Rows of the group (n, n_members) for combinations (n, n_members) of which the space may lack some."""
    different, place = np.unique(combinations, axis=0, return_inverse=True)
    chosen = [
        _cheapest(space, group, different[start : start + _AT_ONCE])
        for start in range(0, len(different), _AT_ONCE)
    ]
    return np.concatenate([different[:0], *chosen])[place.reshape(-1)]


def _cheapest(space: SearchSpace, group: GeneGroup, combinations: Genomes) -> Genomes:
    genes = [space.genes[i] for i in group.members]
    policy = np.array([gene.is_policy for gene in genes])
    differs = combinations[:, None] != group.rows[None]
    foreign = differs[:, :, ~policy].any(axis=2)
    if foreign.all(axis=1).any():
        row = combinations[int(np.argmax(foreign.all(axis=1)))]
        lacking = {gene.name: gene.choices[i] for gene, i in zip(genes, row, strict=True) if not gene.is_policy}
        raise UnsupportedError(
            f"the device executes {lacking} of space {space.name!r} in no format: leave such networks out"
        )
    wanted, offered = _bits(space, group, combinations), _bits(space, group, group.rows)
    lost = np.maximum(wanted[:, None] - offered[None], 0).sum(axis=2)
    # Bits of all genes of a group together, and how many genes there are, stay below these factors.
    score = (lost * 4096 + offered.sum(axis=1)) * 64 + differs.sum(axis=2)
    best = np.argmin(np.where(foreign, np.iinfo(np.int64).max, score), axis=1)
    chosen: Genomes = group.rows[best]
    return chosen


def _bits(space: SearchSpace, group: GeneGroup, rows: Genomes) -> NDArray[np.int64]:
    """Bits of each format of combinations (n, n_members); 0 where a gene is of the architecture."""
    bits = np.zeros(rows.shape, dtype=np.int64)
    for column, i in enumerate(group.members):
        gene = space.genes[i]
        if gene.is_policy:
            by_choice = np.array([FORMATS.get(str(name)).storage_bits for name in gene.choices])
            bits[:, column] = by_choice[rows[:, column]]
    return bits
