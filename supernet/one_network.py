"""One network of a space with weights of its own, trained and measured by the same code as a supernet."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bitfront.supernet.elastic import ElasticLayer
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
        nn.Module.__init__(self)
        architecture = {
            gene.name: [gene.choices[genome[i]]] for i, gene in enumerate(space.genes) if not gene.is_policy
        }
        self.space = space.restrict(architecture)
        self.layers = nn.ModuleDict()
        for layer in space.layers(genome):
            self.layers[_key(layer)] = ElasticLayer(layer, (layer.kernel,), space.formats)
        generator = torch.Generator().manual_seed(seed)
        for elastic in self.elastic_layers():
            elastic.reset(generator)


def _key(layer: Layer) -> str:
    return layer.name.replace(".", "/")
