"""Inference without autograd: tensors made ready once, arithmetic in place; to the bit what `forward` computes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from bitfront.supernet.forward import EPSILON, LayerParams, ParamsOf, convolved, ready_weight, run_block
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat, IntegerFormat
from bitfront.supernet.quantization.formats.int8 import INT8

WEIGHT_BYTES = 128 << 20
"""Bytes of weights that `ReadyParams` keeps by default."""

Normalise = Callable[[Layer, Tensor, Tensor, Tensor], Tensor]
"""(layer, activations, gain, bias) -> batch-normalised activations, which may be the same memory."""


class ReadyParams:
    """A source of parameters whose weights are quantized already; equal ones are made once.

    Args:
        source: where they come from; it may not change while this is used.
        most_bytes: weights that were not used for longest are forgotten beyond this.
    """

    def __init__(self, source: ParamsOf, most_bytes: int = WEIGHT_BYTES) -> None:
        self._source = source
        self._most = most_bytes
        self._bytes = 0
        self._weights: OrderedDict[tuple[object, ...], LayerParams] = OrderedDict()
        self._scales: dict[tuple[str, str, bool], tuple[Tensor | None, Tensor | None]] = {}

    def __call__(self, layer: Layer, quantize_output: bool) -> LayerParams:
        """As `ParamsOf`; ``weight_scale`` is None, as nothing is left to do."""
        shape = (layer.name, layer.in_channels, layer.out_channels, layer.kernel, layer.weight_format)
        formats = (layer.name, layer.activation_format, quantize_output)
        weights, scales = self._weights.get(shape), self._scales.get(formats)
        if weights is None or scales is None:
            made = _detached(self._source(layer, quantize_output))
            scales = self._scales[formats] = (made.input_scale, made.output_scale)
            if weights is None:
                weights = self._keep(shape, replace(made, weight=ready_weight(layer, made), weight_scale=None))
        self._weights.move_to_end(shape)
        return replace(weights, input_scale=scales[0], output_scale=scales[1])

    def _keep(self, shape: tuple[object, ...], made: LayerParams) -> LayerParams:
        # A copy even where it is a view of shared weights: convolutions of views are slower.
        made = replace(made, weight=made.weight.contiguous())
        self._weights[shape] = made
        self._bytes += made.weight.nbytes
        while self._bytes > self._most and len(self._weights) > 1:
            self._bytes -= self._weights.popitem(last=False)[1].weight.nbytes
        return made


def _detached(params: LayerParams) -> LayerParams:
    def free(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.detach()

    return LayerParams(
        params.weight.detach(),
        params.bias.detach(),
        free(params.gain),
        free(params.weight_scale),
        free(params.input_scale),
        free(params.output_scale),
    )


@dataclass(frozen=True, slots=True)
class _Quantizer:
    """Rounds to integer codes and back, by the operations of `quantization.fake_quant` in their order."""

    scale: Tensor
    low: int
    high: int

    @classmethod
    def of(cls, scale: Tensor, number_format: IntegerFormat, signed: bool) -> _Quantizer:
        zero_point = number_format.zero_point(signed)
        return cls(scale, -zero_point, number_format.activation_limit - zero_point)

    def __call__(self, x: Tensor, owned: bool) -> Tensor:
        real = x.div_(self.scale) if owned else x.div(self.scale)
        return real.round_().clamp_(self.low, self.high).mul_(self.scale)


@dataclass(frozen=True, slots=True)
class _Step:
    """One layer of a plain block, ready to run. ``relu`` is false where the next quantizer cuts off the same."""

    layer: Layer
    params: LayerParams
    reads: _Quantizer | FloatFormat | None
    writes: _Quantizer | None
    relu: bool
    pools: bool

    def read(self, x: Tensor, owned: bool) -> Tensor:
        """The layer's quantized input; its memory is ``x``'s if that is ``owned``."""
        if isinstance(self.reads, _Quantizer):
            return self.reads(x, owned)
        return x if self.reads is None else self.reads.rounded(x)

    def run(self, x: Tensor, normalise: Normalise) -> Tensor:
        """The layer's output, in memory of its own."""
        layer, params = self.layer, self.params
        if layer.op == "linear":
            y = F.linear(x, params.weight, params.bias)
        elif params.gain is None:
            y = F.conv2d(x, params.weight, params.bias, layer.stride, layer.kernel // 2, 1, layer.groups)
        else:
            y = normalise(layer, convolved(layer, x, params.weight), params.gain, params.bias)
        if self.relu:
            y = y.relu_()
        return y if self.writes is None else self.writes(y, owned=True)


class ReadyBlock:
    """A block whose parameters are at hand. A plain one (layers in a row, ReLUs) runs in place.

    Args:
        block: what to run.
        outputs: names of the layers whose output is quantized.
        params_of: a `ReadyParams`.
    """

    def __init__(self, block: Block, outputs: Collection[str], params_of: ParamsOf) -> None:
        self.block = block
        self._outputs = outputs
        self._params = {layer.name: params_of(layer, layer.name in outputs) for layer in block.layers}
        self._steps = _steps(block, self._params) if _is_plain(block) else None

    def __call__(self, x: Tensor, owned: bool, normalise: Normalise) -> Tensor:
        """The block's output for ``x`` (n, channels, size, size), whose memory is used if it is ``owned``."""
        if self._steps is None:
            return run_block(self.block, x, self._outputs, lambda layer, _: self._params[layer.name], normalise)
        addend = x
        for step in self._steps:
            if step.pools:
                x, owned = x.mean((2, 3)), True
            x = step.read(x, owned)
            if step is self._steps[0]:
                addend = x
            x, owned = step.run(x, normalise), True
        return x.add_(addend) if self.block.residual else x


def _is_plain(block: Block) -> bool:
    chained = all(layer.source == "chain" and not layer.gate for layer in block.layers)
    simple = all(layer.act in ("none", "relu") for layer in block.layers)
    return chained and simple and block.sum_act == "none" and not block.max_pool


def _first_linear(block: Block) -> Layer | None:
    """The layer that pools its input; one of a bottleneck space's head has no convolution before it."""
    return next((layer for layer in block.layers if layer.op == "linear"), None)


def _steps(block: Block, params: dict[str, LayerParams]) -> tuple[_Step, ...]:
    steps: list[_Step] = []
    for layer in reversed(block.layers):
        own, following = params[layer.name], steps[-1] if steps else None
        writes = None
        if own.output_scale is not None:
            writes = _Quantizer.of(own.output_scale, INT8, not layer.relu)
        pools = layer.op == "linear" and layer is _first_linear(block)
        cut = writes or (following.reads if following is not None and not following.pools else None)
        relu = layer.relu and not (isinstance(cut, _Quantizer) and cut.low == 0)
        steps.append(_Step(layer, own, _reader(layer, own), writes, relu, pools))
    return tuple(reversed(steps))


def _reader(layer: Layer, params: LayerParams) -> _Quantizer | FloatFormat | None:
    number_format = FORMATS.get(layer.activation_format)
    if isinstance(number_format, FloatFormat):
        return None if number_format.dtype == torch.float32 else number_format
    if not isinstance(number_format, IntegerFormat) or params.input_scale is None:
        return None
    return _Quantizer.of(params.input_scale, number_format, layer.signed_input)


def normalise_in_place(x: Tensor, mean: Tensor, variance: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Batch norm by these statistics, in the memory of ``x``; the kernel is that of ``F.batch_norm``."""
    if x.device.type != "cpu":
        return F.batch_norm(x, mean, variance, gain, bias, training=False, eps=EPSILON)
    unused = (x.new_empty(0), x.new_empty(0))
    torch.native_batch_norm(x, gain, bias, mean, variance, False, 0.0, EPSILON, out=(x, *unused))
    return x
