"""One network of a space with weights of its own, trained and measured by the same code as a supernet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.layers import Layer
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace


class OneNetwork(Supernet):
    """Weights of the shapes of one network: what training it from scratch starts from.

    Its space is restricted to the network's architecture, so that a `Trainer` whose settings have a warm-up alone
    trains it as any network is trained, and an `Evaluator` measures it.

    Args:
        space: the whole space.
        genome: the network, shape (n_genes,); its formats do not matter.
        seed: seed of the initial weights.
    """

    def __init__(self, space: SearchSpace, genome: NDArray[np.uint8], seed: int = 0) -> None:
        architecture = {
            gene.name: [gene.choices[genome[i]]] for i, gene in enumerate(space.genes) if not gene.is_policy
        }
        self._own_layers = space.layers(genome)
        super().__init__(space.restrict(architecture), seed)

    def _shapes(self) -> Iterator[tuple[Layer, tuple[int, ...]]]:
        return ((layer, (layer.kernel,)) for layer in self._own_layers)
