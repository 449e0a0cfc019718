"""The supernet: shared weights for every network of a space."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bitfront.supernet.elastic import ElasticLayer
from bitfront.supernet.forward import LayerParams, Normalise, batch_normalise, run_network
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.spaces.mbconv import MBConvSpace


class Supernet(nn.Module):
    """Once-for-all weights of a space. Any block sequence of the space runs, in any policy, without fine-tuning.

    Args:
        space: the search space; restrictions do not matter, the whole space is built.
        seed: seed of the initial weights.
    """

    def __init__(self, space: MBConvSpace, seed: int = 0) -> None:
        super().__init__()
        self.space = space
        self.layers = nn.ModuleDict()
        for block in _largest_blocks(space):
            for layer in block.layers:
                self.layers[_key(layer.name)] = ElasticLayer(layer, _kernels(space, block, layer), _formats(space))
        generator = torch.Generator().manual_seed(seed)
        for elastic in self.elastic_layers():
            elastic.reset(generator)

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
        """Reorder every block's hidden channels by importance, the most important first.

        Importance is the L1 norm of the projection's weights that read the channel (Once-for-All, section
        3.3). The function of every network at full width is unchanged.
        """
        with torch.no_grad():
            for place in self.space.places:
                expand, depthwise, project = (self.elastic(f"{place.name}.{part}") for part in _PARTS)
                order = project.weight.abs().sum((0, 2, 3)).argsort(descending=True, stable=True)
                for layer in (expand, depthwise):
                    _permute(layer, order)
                project.weight.copy_(project.weight[:, order])


_PARTS = ("expand", "depthwise", "project")


def _permute(layer: ElasticLayer, order: Tensor) -> None:
    for tensor in (layer.weight, layer.bias, layer.gain):
        if tensor is not None:
            tensor.copy_(tensor[order])


def _key(name: str) -> str:
    return name.replace(".", "/")


def _largest_blocks(space: MBConvSpace) -> tuple[Block, ...]:
    whole = type(space)(space.name, space.frame)
    return whole.blocks(whole.extremes()[1])


def _kernels(space: MBConvSpace, block: Block, layer: Layer) -> tuple[int, ...]:
    """The sizes that a layer can have: only the depthwise convolutions of searched blocks have a kernel gene."""
    stages = {place.name: place.stage for place in space.places}
    if layer.op != "depthwise" or block.name not in stages:
        return (layer.kernel,)
    return space.frame.stages[stages[block.name]].kernels


def _formats(space: MBConvSpace) -> tuple[str, ...]:
    frame = space.frame
    own = itertools.chain.from_iterable(frame.classifier_formats or ())
    return tuple(dict.fromkeys((*frame.weight_formats, *frame.activation_formats, *frame.end_formats, *own)))
