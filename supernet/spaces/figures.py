"""What networks weigh: parameters, multiply-accumulate operations and bytes of many candidates at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.genes import Genomes
from bitfront.supernet.layers import Block
from bitfront.supernet.quantization.policy import size_bytes
from bitfront.supernet.space import SearchSpace, Slot

FIGURES = ("parameters", "macs", "size_bytes")


def network_figures(space: SearchSpace, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
    """Figures of canonical genomes (n, n_genes), each of shape (n,).

    ``parameters`` are weights and biases (batch norm folded), ``macs`` those for one image, ``size_bytes`` the
    parameters at the genome's number formats. Equal blocks are built once.
    """
    total = np.zeros((len(genomes), len(FIGURES)))
    for slot in space.slots:
        rows = np.flatnonzero(_exists(space, slot, genomes))
        columns = [space.position[name] for name in slot.genes]
        different, place = np.unique(genomes[rows][:, columns], axis=0, return_inverse=True)
        built = np.array([_figures(_build(space, slot, picks)) for picks in different.tolist()])
        if len(built):
            total[rows] += built[place.reshape(-1)]
    return dict(zip(FIGURES, total.T, strict=True))


def figure_genomes(space: SearchSpace, n: int, rng: np.random.Generator) -> Genomes:
    """``n`` uniform samples, and the smallest and largest networks in their widest and narrowest formats."""
    widest = space.extremes()
    narrowest = widest.copy()
    for i, gene in enumerate(space.genes):
        if gene.is_policy:
            narrowest[:, i] = len(gene.choices) - 1
    return np.concatenate([space.sample(n, rng), widest, space.repair(narrowest)])


def _exists(space: SearchSpace, slot: Slot, genomes: Genomes) -> NDArray[np.bool_]:
    if slot.active_if is None:
        return np.ones(len(genomes), dtype=bool)
    depth, threshold = slot.active_if
    exists: NDArray[np.bool_] = genomes[:, space.position[depth]] >= threshold
    return exists


def _build(space: SearchSpace, slot: Slot, picks: list[int]) -> Block:
    genes = (space.genes[space.position[name]] for name in slot.genes)
    return slot.build(tuple(gene.choices[pick] for gene, pick in zip(genes, picks, strict=True)))


def _figures(block: Block) -> tuple[float, float, float]:
    layers = block.layers
    parameters = sum(layer.weights + layer.out_channels for layer in layers)
    return parameters, sum(layer.macs for layer in layers), size_bytes(layers)
