"""What a genome decodes to: blocks of layers with concrete shapes and number formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Op = Literal["conv", "pointwise", "depthwise", "linear"]
BlockKind = Literal["stem", "mbconv", "head"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One weighted layer. Sizes are the side of a square feature map in pixels; a linear layer has size 1.

    ``activation_format`` is the format of the layer's *input*. ``signed_input`` is false where a ReLU comes
    before, so that the whole integer range can serve the positive half. A bias is always present.
    """

    name: str
    op: Op
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    in_size: int
    weight_format: str
    activation_format: str
    signed_input: bool
    relu: bool

    @property
    def out_size(self) -> int:
        """Side of the output map under 'same' padding of kernel // 2."""
        return (self.in_size + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1

    @property
    def groups(self) -> int:
        """Convolution groups: the channel count for a depthwise convolution, else 1."""
        return self.in_channels if self.op == "depthwise" else 1

    @property
    def weights(self) -> int:
        """Number of weights, biases not counted."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel**2

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one input."""
        return self.weights * self.out_size**2


@dataclass(frozen=True, slots=True)
class Block:
    """A unit that is kept or skipped whole, and that devices may measure whole.

    ``stem`` is one convolution, in some spaces with a depthwise and a pointwise one after it; ``mbconv`` is
    expand (pointwise), depthwise, project (pointwise); ``head`` is a pointwise convolution, global average
    pooling and a linear classifier.
    """

    name: str
    kind: BlockKind
    layers: tuple[Layer, ...]
    residual: bool = False
