"""Which networks a training step runs."""

from __future__ import annotations

import numpy as np

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.training.phases import Phase, opened

_FLOAT = "fp32"


class NetworkSampler:
    """Draws the networks of a phase's steps.

    Args:
        space: restrictions are obeyed by all but the teacher's formats.
        phase: what is drawn.
        subnets: random networks in a step that has any.
    """

    def __init__(self, space: SearchSpace, phase: Phase, subnets: int) -> None:
        self._space, self._phase, self._subnets = space, phase, subnets
        self._open = opened(space, phase)

    def draw(self, rng: np.random.Generator) -> Genomes:
        """The step's networks, shape (n, n_genes); in a sandwich the largest first, then the smallest."""
        if self._phase.warmup:
            return real(self._space, self._open.sample(1, rng))
        if not self._phase.sandwich:  # as published: every gene by itself
            return real(self._space, self._open.sample(max(1, self._subnets), rng))
        smallest, largest = self._space.extremes()
        sampled = self._random(rng)
        teacher = real(self._space, largest[None])
        if self._phase.quantized:
            return np.concatenate([teacher, _lowest(self._space, smallest[None]), sampled])
        return np.concatenate([teacher, real(self._space, np.concatenate([smallest[None], sampled]))])

    def _random(self, rng: np.random.Generator) -> Genomes:
        """Half of them all over the range of sizes, and half with each gene by itself.

        Independent genes are nearly always of middling size; genes that lean together seldom pair a long way with
        a small resolution.
        """
        lone = self._subnets // 2
        return np.concatenate(
            [self._open.sample(self._subnets - lone, rng, "sizes"), self._open.sample(lone, rng)]
        )


def real(space: SearchSpace, genomes: Genomes) -> Genomes:
    """The same architectures in fp32 throughout."""
    return space.assign(genomes, {"weight_format": _FLOAT, "activation_format": _FLOAT})


def _lowest(space: SearchSpace, genomes: Genomes) -> Genomes:
    """The policy with the last format of every gene: formats are listed from the widest to the narrowest."""
    result = genomes.copy()
    for i, gene in enumerate(space.genes):
        if gene.is_policy:
            result[:, i] = len(gene.choices) - 1
    return space.repair(result)


def check_has_teacher(space: SearchSpace) -> None:
    """Refuse a space without real-valued networks, from which quantized ones could learn.

    Raises:
        UnsupportedError: a format gene has no fp32.
    """
    lacking = [gene.name for gene in space.genes if gene.is_policy and _FLOAT not in gene.choices]
    if lacking:
        raise UnsupportedError(
            f"space {space.name!r} can not be trained: {len(lacking)} of its format genes have no {_FLOAT!r}, the "
            f"first is {lacking[0]!r}. Quantized networks learn from a real one: add {_FLOAT!r} to the formats"
        )
