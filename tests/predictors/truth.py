"""A made-up but realistic accuracy for every genome of a space."""

import re

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

_BITS_LOST = {"fp32": 0.0, "int8": 0.0, "int6": 0.15, "int4": 1.0}


class Truth:
    """Saturating gains of architecture, drops by format that differ from layer to layer, and noise."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        rng = np.random.default_rng(seed)
        roles = sorted({re.sub(r"\d+", "", gene.name) for gene in space.genes})
        of_role = dict(zip(roles, rng.uniform(0.3, 1.5, len(roles)), strict=True))
        self.space = space
        self.rng = rng
        self.weight = np.array([of_role[re.sub(r"\d+", "", g.name)] * rng.uniform(0.3, 1.7) for g in space.genes])

    def __call__(self, genomes: Genomes, noise: float = 0.003) -> NDArray[np.float64]:
        gain, drop = np.zeros(len(genomes)), np.zeros(len(genomes))
        active = self.space.active(genomes)
        for i, gene in enumerate(self.space.genes):
            if gene.is_policy:
                lost = np.array([_BITS_LOST[str(choice)] for choice in gene.choices])[genomes[:, i]]
                drop += self.weight[i] * lost * active[:, i]
            else:
                gain += self.weight[i] * (genomes[:, i] + active[:, i] * 0.3) / len(gene.choices)
        clean = 0.97 - 0.35 * np.exp(-gain / 6) - 0.05 * (1 - np.exp(-drop / 8))
        return np.clip(clean + noise * self.rng.standard_normal(len(genomes)), 0, 1)
