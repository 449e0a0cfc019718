"""A network with batch norm folded into its weights: what exports write and what devices run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS


@dataclass(frozen=True, slots=True)
class TensorQuant:
    """Unsigned codes of an activation tensor: value = (code - zero_point) * scale, 0 <= code < 2**bits."""

    scale: float
    zero_point: int
    bits: int


@dataclass(frozen=True, slots=True)
class FoldedLayer:
    """One layer, ready to run.

    ``weight`` has shape (out, in / groups, k, k), or (out, in) for a linear layer. Where the weight format has up
    to 8 bits, it is numbers of that format times ``weight_scale`` (out,), which is positive; of an integer format
    these numbers are ``weight_codes`` (int8, same shape). In wider formats it is not rounded yet.
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

    def unscaled(self) -> NDArray[np.float32]:
        """``weight`` in units of ``weight_scale``, if its format has one.

        For a float format it is to be rounded to that: the quotient is within a few units in the last place of
        single precision of the format's number, and so nearer to it than to any other.

        Raises:
            UnsupportedError: the scale is not there.
        """
        if not FORMATS.get(self.layer.weight_format).has_weight_scale:
            return self.weight
        if self.weight_scale is None:
            name, form = self.layer.name, self.layer.weight_format
            raise UnsupportedError(f"layer {name} has {form} weights but no scales: fold it anew")
        return self.weight / self.weight_scale.reshape(-1, *[1] * (self.weight.ndim - 1))


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
