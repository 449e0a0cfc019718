"""Batch-norm statistics and activation scales for a concrete network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bitfront.supernet.evaluation_images import even_rows
from bitfront.supernet.forward import EPSILON, ParamsOf, batch_normalise, integer, run_network
from bitfront.supernet.layers import Activation, Block, Layer
from bitfront.supernet.moments import PooledMoments
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.formats.base import IntegerFormat
from bitfront.supernet.quantization.formats.int8 import INT8
from bitfront.supernet.quantization.observers import MseObserver, evenly_spaced

# Beyond these the smooth activation functions tell nothing apart, so that no code need be spent on it.
_KEPT: dict[Activation, tuple[float, float]] = {"hswish": (-3.0, math.inf), "hsigmoid": (-3.0, 3.0)}
_ALL = (-math.inf, math.inf)
_LOOKED_AT = 1 << 16


@dataclass(frozen=True, slots=True)
class Statistics:
    """Mean and variance per channel for every batch-normalised layer, by layer name."""

    moments: Mapping[str, tuple[Tensor, Tensor]]

    def normalise(self, layer: Layer, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """Batch norm by these statistics."""
        mean, variance = self.moments[layer.name]
        return F.batch_norm(x, mean, variance, gain, bias, training=False, eps=EPSILON)


class _Recorder:
    """Normalises by the batch and keeps the pooled moments of all batches."""

    def __init__(self) -> None:
        self._pooled: dict[str, PooledMoments] = {}

    def normalise(self, layer: Layer, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        mean, variance = self._pooled.setdefault(layer.name, PooledMoments()).add(x)
        return F.batch_norm(x, mean, variance, gain, bias, training=False, eps=EPSILON)

    def statistics(self) -> Statistics:
        return Statistics({name: pooled.moments() for name, pooled in self._pooled.items()})


def calibrate(
    supernet: Supernet,
    blocks: Sequence[Block],
    images: Tensor,
    batch_size: int = 512,
    params_of: ParamsOf | None = None,
) -> Statistics:
    """Recompute batch-norm statistics for one network in its own policy.

    The statistics that a supernet trains with are those of every subnet at once and fit none of them
    (Once-for-All, section 3.2; Yu and Huang 2019).

    Args:
        supernet: source of weights.
        blocks: the network.
        images: normalised images at the network's resolution, from the training split.
        batch_size: most images per forward; they go in batches of about one size. On its way through the network
            each batch is normalised by its own statistics; the moments of all batches are pooled.
        params_of: where its tensors come from, if they are not just the supernet's.
    """
    recorder = _Recorder()
    with torch.no_grad():
        for rows in even_rows(0, len(images), batch_size):
            run_network(blocks, images[rows], params_of or supernet.params, recorder.normalise)
    return recorder.statistics()


def initialise_scales(supernet: Supernet, networks: Sequence[Sequence[Block]], images: Sequence[Tensor]) -> None:
    """Set all step sizes from what real-valued networks show, before they are learned.

    Args:
        supernet: changed in place.
        networks: float networks to look through; the steps of a layer that none of them has stay as they are.
        images: for each network, images at its resolution.
    """
    inputs: dict[str, MseObserver] = {}
    outputs: dict[str, MseObserver] = {}
    with torch.no_grad():
        for blocks, batch in zip(networks, images, strict=True):
            _observe(supernet, blocks, batch, inputs, outputs)
        for layer in (layer for layer in supernet.elastic_layers() if layer.largest.name in inputs):
            name, signed = layer.largest.name, layer.largest.signed_input
            for format_name, scale in layer.input_log_scale.items():
                number_format = integer(format_name)
                assert number_format is not None
                scale.fill_(inputs[name].scale(number_format, signed)).log_()
                layer.weight_log_ratio[format_name].fill_(_weight_ratio(layer.weight.cpu(), number_format)).log_()
            layer.output_log_scale.fill_(outputs[name].scale(INT8, not layer.largest.relu)).log_()


def _observe(
    supernet: Supernet,
    blocks: Sequence[Block],
    batch: Tensor,
    inputs: dict[str, MseObserver],
    outputs: dict[str, MseObserver],
) -> None:
    def watch(layer: Layer, x: Tensor, y: Tensor) -> None:
        inputs.setdefault(layer.name, MseObserver()).observe(x)
        outputs.setdefault(layer.name, MseObserver()).observe(y.clamp(*_KEPT.get(layer.act, _ALL)))

    run_network(blocks, batch, supernet.params, batch_normalise, watch)


def _weight_ratio(weight: Tensor, number_format: IntegerFormat) -> float:
    """The clip, as a fraction of each channel's largest magnitude, with the least squared error.

    The error is the mean over at most `_LOOKED_AT` evenly spaced weights.
    """
    flat = weight.reshape(len(weight), -1)
    relative = (flat / flat.abs().amax(1, keepdim=True).clamp_min(1e-8)).reshape(-1)
    relative = evenly_spaced(relative, _LOOKED_AT)
    ratios = torch.linspace(0.3, 1, 36, device=weight.device)
    scales = (ratios / number_format.weight_limit)[:, None]
    errors = ((number_format.encode_weight(relative, scales) * scales - relative) ** 2).mean(1)
    return float(ratios[int(errors.argmin())])
