"""How much the loss bends in the weights of each layer: traces of the blocks of its Hessian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.depthwise import twice_differentiable
from bitfront.supernet.errors import NumericalError, UnsupportedError
from bitfront.supernet.subnet import Subnet

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Traces:
    """Estimated traces of the Hessian's blocks, one per layer, and how sure they are.

    Attributes:
        layers: their names, from input to output.
        weights: how many weights each has, (n_layers,).
        trace: second derivatives of the mean loss by a layer's own weights, summed; (n_layers,).
        standard_error: of each trace, from its spread over the probe vectors; (n_layers,).
    """

    layers: tuple[str, ...]
    weights: NDArray[np.int64]
    trace: Floats
    standard_error: Floats

    @property
    def average(self) -> Floats:
        """Trace per weight, (n_layers,): the sensitivity of HAWQ-V2 (Dong et al. 2020, section 3)."""
        return np.asarray(self.trace / self.weights, dtype=np.float64)


def hessian_traces(
    network: Subnet, images: Tensor, labels: NDArray[np.int64], rng: np.random.Generator, probes: int = 32
) -> Traces:
    """Hutchinson's estimate: the mean of ``v . H v`` over vectors v of random signs is the trace of H.

    Each product is a gradient of a gradient (Pearlmutter 1994); one with signs for all layers at once serves each
    layer, as what other layers add to its part has mean 0 (Dong et al. 2020, algorithm 1).

    Args:
        network: in real numbers; rounding has no second derivative.
        images: normalised, (n, channels, size, size).
        labels: class numbers (n,); the loss is their mean cross-entropy.
        rng: draws the signs.
        probes: how many vectors, at least 2; the standard error falls with their square root.

    Raises:
        UnsupportedError: a layer is quantized.
        ValueError: ``probes`` is below 2.
        NumericalError: the network answers with NaN or infinity.
    """
    if probes < 2:
        raise ValueError(f"probes = {probes}: there must be at least 2, or nothing is known of the error")
    layers = [layer for block in network.blocks for layer in block.layers]
    for layer in layers:
        if {layer.weight_format, layer.activation_format} != {"fp32"}:
            raise UnsupportedError(
                f"layer {layer.name!r} is in {layer.weight_format} and {layer.activation_format}: "
                "the Hessian is of a network in fp32 throughout"
            )
    weights = [network.weight(layer) for layer in layers]
    with twice_differentiable(), torch.enable_grad():
        loss = F.cross_entropy(network(images), torch.from_numpy(labels))
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        found = np.array([_products(weights, gradients, rng) for _ in range(probes)])
    if not np.isfinite(found).all():
        raise NumericalError("second derivatives of the loss are NaN or infinite: the weights are damaged")
    return Traces(
        tuple(layer.name for layer in layers),
        np.array([weight.numel() for weight in weights]),
        found.mean(axis=0),
        found.std(axis=0, ddof=1) / np.sqrt(probes),
    )


def _products(weights: Sequence[Tensor], gradients: Sequence[Tensor], rng: np.random.Generator) -> list[float]:
    """``v . H v`` of each layer's own part."""
    both = np.array([-1, 1], dtype=np.float32)
    signs = [torch.from_numpy(rng.choice(both, size=weight.shape)) for weight in weights]
    # What does not bend has no second derivative at all, as a linear loss in the weights of a layer alone.
    bent = torch.autograd.grad(gradients, weights, signs, retain_graph=True, materialize_grads=True)
    return [float((v * hv).sum()) for v, hv in zip(signs, bent, strict=True)]
