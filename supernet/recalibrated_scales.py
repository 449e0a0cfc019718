"""Activation scales that one network's own maps ask for, in place of the step sizes that all networks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bitfront.supernet.forward import LayerParams, ParamsOf, batch_normalise, integer, run_network
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats.int8 import INT8
from bitfront.supernet.quantization.observers import MseObserver


def recalibrated_scales(params_of: ParamsOf, blocks: Sequence[Block], images: Tensor) -> ParamsOf:
    """``params_of`` with the input and output scales of least squared error on ``images``.

    Layers are shown real maps on the way, so that the learned scales have no say. What goes into a smooth
    activation function keeps its learned scale, which does not hold what the function cuts off.

    Args:
        params_of: where all other tensors come from.
        blocks: the network.
        images: (n, channels, size, size), from the training split.
    """
    inputs: dict[str, MseObserver] = {}
    outputs: dict[str, MseObserver] = {}

    def watch(layer: Layer, x: Tensor, y: Tensor) -> None:
        inputs.setdefault(layer.name, MseObserver()).observe(x)
        outputs.setdefault(layer.name, MseObserver()).observe(y)

    def rescaled(layer: Layer, quantize_output: bool) -> LayerParams:
        params, number_format = params_of(layer, quantize_output), integer(layer.activation_format)
        if params.input_scale is not None and number_format is not None:
            scale = inputs[layer.name].scale(number_format, layer.signed_input)
            params = replace(params, input_scale=torch.tensor(scale))
        if params.output_scale is not None and layer.act in ("none", "relu"):
            scale = outputs[layer.name].scale(INT8, not layer.relu)
            params = replace(params, output_scale=torch.tensor(scale))
        return params

    def unquantized(layer: Layer, quantize_output: bool) -> LayerParams:
        return replace(params_of(layer, quantize_output), input_scale=None, output_scale=None)

    with torch.no_grad():
        run_network(blocks, images, unquantized, batch_normalise, watch)
    return rescaled
