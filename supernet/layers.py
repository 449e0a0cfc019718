"""What a genome decodes to: blocks of layers with concrete shapes and number formats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Op = Literal["conv", "pointwise", "depthwise", "linear"]
Activation = Literal["none", "relu", "hswish", "hsigmoid"]
Source = Literal["chain", "pooled", "block"]
BlockKind = Literal["stem", "conv", "mbconv", "bottleneck", "head"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One weighted layer. Sizes are the side of a square feature map in pixels; a linear layer has size 1.

    ``activation_format`` is the format of the layer's *input*. ``signed_input`` is false where a ReLU comes
    before, so that the whole integer range can serve the positive half. A bias is always present. ``act`` is the
    function that its batch-normalised output goes through.

    ``source`` says what the layer reads: ``chain`` the output of the layer before it (of the block before, for a
    block's first layer); ``pooled`` the global average of that, a map of one pixel; ``block`` the block's own
    input, averaged over squares of its stride first where it strides: the layer is the block's shortcut
    (ResNet-D, He et al. 2019), and its output is what the block adds. A ``gate`` multiplies its output, one number
    per channel, into the map that was pooled for it (squeeze and excitation, Hu et al. 2018); the next layer reads
    the product.
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
    act: Activation
    source: Source = "chain"
    gate: bool = False

    @property
    def relu(self) -> bool:
        """Whether a ReLU follows."""
        return self.act == "relu"

    @property
    def has_batch_norm(self) -> bool:
        """Whether batch norm follows: after every convolution of a map; pooled ones and classifiers have none."""
        return not (self.op == "linear" or self.source == "pooled" or self.gate)

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

    ``stem`` is one convolution, in some spaces with a depthwise and a pointwise one after it; ``conv`` is one more
    convolution of a longer stem; ``mbconv`` is expand (pointwise), depthwise, in some spaces the two layers of
    squeeze and excitation, project (pointwise); ``bottleneck`` is reduce (pointwise), spatial (conv), restore
    (pointwise) and, where shapes change, the shortcut's layer; ``head`` is a pointwise convolution in some spaces,
    global average pooling and a linear classifier.

    In a ``residual`` block the block's input, or the output of its shortcut layer, is added to the output of its
    last layer that is no shortcut. ``sum_act`` follows the sum, and ``max_pool`` a 3x3 maximum with stride 2.
    """

    name: str
    kind: BlockKind
    layers: tuple[Layer, ...]
    residual: bool = False
    sum_act: Activation = "none"
    max_pool: bool = False

    @property
    def shortcut(self) -> Layer | None:
        """The layer whose output is added in place of the block's input."""
        return next((layer for layer in self.layers if layer.source == "block"), None)

    @property
    def chain(self) -> tuple[Layer, ...]:
        """The layers without the shortcut: each reads what the one before it made."""
        return tuple(layer for layer in self.layers if layer.source != "block")

    @property
    def tail(self) -> Layer:
        """The last layer of the chain: its output, with what is added to it, leaves the block."""
        return self.layers[-1] if self.layers[-1].source != "block" else self.chain[-1]

    @property
    def stride(self) -> int:
        """Pixels of the input side by side for one of the chain's output."""
        return math.prod(layer.stride for layer in self.chain)

    @property
    def out_act(self) -> Activation:
        """The function that the block's output went through last."""
        return self.sum_act if self.residual else self.tail.act

    @property
    def out_size(self) -> int:
        """Side of the output map; the maximum over 3x3 pads by 1."""
        size = self.tail.out_size
        return (size - 1) // 2 + 1 if self.max_pool else size
