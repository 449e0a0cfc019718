"""A network with batch norm folded into its weights: what exports write and what devices run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.layers import Block, Layer


@dataclass(frozen=True, slots=True)
class TensorQuant:
    """Unsigned codes of an activation tensor: value = (code - zero_point) * scale, 0 <= code < 2**bits."""

    scale: float
    zero_point: int
    bits: int


@dataclass(frozen=True, slots=True)
class FoldedLayer:
    """One layer, ready to run.

    ``weight`` has shape (out, in / groups, k, k), or (out, in) for a linear layer. Where the weight format is
    an integer one, ``weight_codes`` (int8, same shape) times ``weight_scale`` (out,) gives ``weight``.
    ``input`` and ``output`` are None where that tensor stays real; ``input`` also where a shortcut reads what
    the block's first layer quantized. Before a smooth activation function ``output`` is the format of what goes
    into that. See ``quantization.policy``.
    """

    layer: Layer
    weight: NDArray[np.float32]
    weight_codes: NDArray[np.int8] | None
    weight_scale: NDArray[np.float32] | None
    bias: NDArray[np.float32]
    input: TensorQuant | None
    output: TensorQuant | None


@dataclass(frozen=True, slots=True)
class Folded:
    """A whole network: its blocks, and the layers of all blocks in order.

    Input: float32 (n, in_channels, resolution, resolution), normalised. Output: logits (n, classes).
    In a residual block the addend is the block's input *after* its first layer quantized it, or the output of its
    shortcut layer, which reads that.
    """

    blocks: tuple[Block, ...]
    layers: tuple[FoldedLayer, ...]
    in_channels: int
    resolution: int
    classes: int
