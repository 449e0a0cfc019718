"""What each number format costs each layer of one network in accuracy: tables for an allocation of bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.evaluation import Evaluator, resolution_of
from bitfront.supernet.forward import ready_weight
from bitfront.supernet.hessian import Traces, hessian_traces
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.progress import Progress, silent

_REAL = "fp32"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sensitivity:
    """``values`` (n_layers, n_formats): what a layer alone in a format costs; the higher the worse.

    Rows are the layers from input to output, columns the formats, for weights and inputs of the layer alike.
    """

    layers: tuple[str, ...]
    formats: tuple[str, ...]
    values: Floats


def in_formats(blocks: Sequence[Block], formats: Mapping[str, str]) -> tuple[Block, ...]:
    """The same network with some layers, by name, in another format, for their weights and their inputs."""

    def changed(layer: Layer) -> Layer:
        name = formats.get(layer.name)
        return layer if name is None else replace(layer, weight_format=name, activation_format=name)

    return tuple(replace(block, layers=tuple(map(changed, block.layers))) for block in blocks)


def in_real_numbers(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The same network in fp32 throughout."""
    return in_formats(blocks, {layer.name: _REAL for block in blocks for layer in block.layers})


def by_hessian(
    evaluator: Evaluator,
    blocks: Sequence[Block],
    formats: Sequence[str],
    rng: np.random.Generator,
    images: int = 256,
    probes: int = 32,
) -> Sensitivity:
    """Average Hessian trace times squared quantization error of the weights (HAWQ-V3, Yao et al. 2021, eq. 5).

    What quantized inputs cost is not in it.

    Args:
        evaluator: the supernet's weights and the training images.
        blocks: the network, in any formats.
        formats: columns of the result; integer formats must be among the space's.
        rng: draws the probe vectors.
        images: training images that the loss is taken on.
        probes: as for `hessian_traces`.
    """
    real = in_real_numbers(blocks)
    shown, labels = evaluator.labelled_calibration_images(resolution_of(real), images)
    traces = hessian_traces(evaluator.subnet(real), shown, labels, rng, probes)
    layers = [layer for block in real for layer in block.layers]
    errors = np.array([[_squared_error(evaluator, layer, name) for name in formats] for layer in layers])
    return Sensitivity(traces.layers, tuple(formats), _bending(traces)[:, None] * errors)


def _bending(traces: Traces) -> Floats:
    """A trace that is negative, by chance or at a place that is no minimum, says that nothing is lost."""
    return np.maximum(traces.average, 0.0)


def _squared_error(evaluator: Evaluator, layer: Layer, format_name: str) -> float:
    params = evaluator.supernet.params(replace(layer, weight_format=format_name), False)
    with torch.no_grad():
        rounded = ready_weight(replace(layer, weight_format=format_name), params)
        return float((rounded.double() - params.weight.double()).square().sum())


def by_probes(
    evaluator: Evaluator,
    blocks: Sequence[Block],
    formats: Sequence[str],
    images: int = 512,
    progress: Progress = silent,
) -> Sensitivity:
    """How much the answers change when one layer alone is quantized, weights and input, and all else is in fp32.

    The change is the mean Kullback-Leibler divergence of the probabilities on training images, in nats: it needs
    no labels, is never negative, and tells apart what moves no answer across a border yet.

    Args:
        evaluator: the supernet's weights and the training images; batch norm is recalibrated for every probe.
        blocks: the network, in any formats.
        formats: columns of the result; they must be among the space's.
        images: how many.
        progress: told of each probe.
    """
    real = in_real_numbers(blocks)
    shown, _ = evaluator.labelled_calibration_images(resolution_of(real), images)
    expected = _log_probabilities(evaluator, real, shown)
    layers = [layer.name for block in real for layer in block.layers]
    values = np.zeros((len(layers), len(formats)))
    for place, (row, column) in enumerate(np.ndindex(values.shape)):
        if formats[column] != _REAL:
            probed = in_formats(real, {layers[row]: formats[column]})
            found = _log_probabilities(evaluator, probed, shown)
            values[row, column] = float(F.kl_div(found, expected, reduction="batchmean", log_target=True))
        progress(place + 1, values.size)
    return Sensitivity(tuple(layers), tuple(formats), values)


def _log_probabilities(evaluator: Evaluator, blocks: Sequence[Block], images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = evaluator.subnet(blocks)(images)
        return logits.double().log_softmax(1)
