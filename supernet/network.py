"""The supernet: shared weights for every network of a space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from bitfront.supernet.elastic import ElasticLayer
from bitfront.supernet.forward import LayerParams, Normalise, batch_normalise, run_network
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.space import SearchSpace


class Supernet(nn.Module):
    """Once-for-all weights of a space. Any block sequence of the space runs, in any policy, without fine-tuning.

    Args:
        space: the search space; restrictions do not matter, the whole space is built.
        seed: seed of the initial weights.
    """

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        super().__init__()
        self.space = space
        self.layers = nn.ModuleDict()
        for layer, kernels in self._shapes():
            self.layers[_key(layer.name)] = ElasticLayer(layer, kernels, space.formats)
        generator = torch.Generator().manual_seed(seed)
        for elastic in self.elastic_layers():
            elastic.reset(generator)

    def _shapes(self) -> Iterator[tuple[Layer, tuple[int, ...]]]:
        """Each layer at its largest shape, with the kernels that can be asked for."""
        for block in self.space.largest_blocks:
            for layer in block.layers:
                yield layer, self.space.kernels_of(layer.name)

    def elastic_layers(self) -> list[ElasticLayer]:
        """All layers from input to output."""
        return [layer for layer in self.layers.values() if isinstance(layer, ElasticLayer)]

    def elastic(self, name: str) -> ElasticLayer:
        """The shared layer of this name, as in `Layer.name`."""
        layer = self.layers[_key(name)]
        assert isinstance(layer, ElasticLayer)
        return layer

    def params(self, layer: Layer, quantize_output: bool) -> LayerParams:
        """The tensors of one concrete layer, cut out of the shared ones."""
        return self.elastic(layer.name).params(layer, quantize_output)

    def forward(self, x: Tensor, blocks: Sequence[Block], normalise: Normalise = batch_normalise) -> Tensor:
        """Logits (n, classes) of ``blocks`` on images (n, channels, size, size).

        ``normalise`` is batch norm by the batch's own statistics unless calibrated statistics are passed.
        """
        return run_network(blocks, x, self.params, normalise)

    def sort_channels(self) -> None:
        """Reorder the elastic hidden channels by importance, the most important first.

        Importance is the L1 norm of the next layer's weights that read the channel (Once-for-All, section 3.3).
        The function of every network at full width is unchanged.
        """
        with torch.no_grad():
            for group in self.space.hidden_channels:
                producers, consumers = (
                    list(map(self.elastic, names)) for names in (group.producers, group.consumers)
                )
                order = consumers[0].weight.abs().sum((0, 2, 3)).argsort(descending=True, stable=True)
                for layer in producers:
                    _permute(layer, order)
                for layer in consumers:
                    layer.weight.copy_(layer.weight[:, order])


def _permute(layer: ElasticLayer, order: Tensor) -> None:
    for tensor in (layer.weight, layer.bias, layer.gain):
        if tensor is not None:
            tensor.copy_(tensor[order])


def _key(name: str) -> str:
    return name.replace(".", "/")
