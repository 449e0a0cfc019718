"""Networks made ready to be asked: what comes before the first layer is multiplied into it, once.

A feature map M and a scaling are linear, so that first weights W and bias b on features (x M - c) * s are weights
M (s W) and bias b - (c s) W on x itself: the first product of a batch is with its encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.predictors.features import Floats32
from bitfront.predictors.network import Network

Floats = NDArray[np.float64]
Layer = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class FoldedNetwork:
    """What `Network` predicts, by inputs that are no features yet.

    Attributes:
        members: of each, (weight (in, out), bias (out,)) from the first layer to the last.
        mean: what an output of 0 means.
        std: what an output of 1 means beyond that.
    """

    members: tuple[tuple[Layer, ...], ...]
    mean: float
    std: float

    @classmethod
    def of(cls, network: Network, matrix: Floats32) -> Self:
        """Of a network whose features are ``x @ matrix`` for inputs x (n, len(matrix))."""
        scaling = network.scaling
        scale, centre = scaling.scale.astype(np.float64), scaling.centre.astype(np.float64)
        first, bias = (part.double().numpy() for part in network.weights[:2])
        weight = matrix.astype(np.float64) @ (scale[:, None] * first)
        bias = bias - (centre * scale) @ first[:, None]
        folded = [torch.from_numpy(part.astype(np.float32)) for part in (weight, bias.reshape(len(first), 1, -1))]
        members = (_layers(one) for one in zip(*folded, *network.weights[2:], strict=True))
        return cls(tuple(members), scaling.mean, scaling.std)

    def outputs(self, inputs: Floats32) -> Floats:
        """What each member predicts, shape (members, n), for inputs (n, d)."""
        with torch.inference_mode():
            x = torch.from_numpy(inputs)
            raw = torch.stack([_asked(layers, x) for layers in self.members])
        values: Floats = self.mean + self.std * raw.double().numpy()
        return values


def _layers(tensors: tuple[Tensor, ...]) -> tuple[Layer, ...]:
    weights, biases = tensors[::2], tensors[1::2]
    return tuple((weight.contiguous(), bias[0].contiguous()) for weight, bias in zip(weights, biases, strict=True))


def _asked(layers: tuple[Layer, ...], x: Tensor) -> Tensor:
    """Outputs (n,): plain products of matrices, which are quicker here than batched ones."""
    for weight, bias in layers[:-1]:
        x = torch.addmm(bias, x, weight).relu_()
    weight, bias = layers[-1]
    return torch.addmv(bias.expand(len(x)), x, weight[:, 0])  # or no rows would become one
