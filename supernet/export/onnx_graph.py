"""A folded network as an ONNX model, with QuantizeLinear and DequantizeLinear around what is integer.

The model says the same as `bitfront.supernet.folded`, in the way that the runtime it is for fuses best
(`onnx_placement`). Activations are unsigned codes in 8 bits, as runtimes have kernels for no others: narrower ones
saturate by a Clip. Weights are signed codes with one scale per output channel, in the smallest container of ONNX
(`onnx_containers`).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from bitfront.supernet.export.onnx_affine import affine, kept_real
from bitfront.supernet.export.onnx_builder import GraphBuilder
from bitfront.supernet.export.onnx_containers import float_type, is_float8
from bitfront.supernet.export.onnx_placement import Placement
from bitfront.supernet.export.targets.base import RuntimeName
from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.layers import Activation, Block
from bitfront.supernet.quantization.policy import is_integer_layer

INPUT = "input"
OUTPUT = "logits"
RUNTIME = "runtime"
"""The model's metadata of this name says which runtime it is for."""

_HALF = "bf16"
# Where a profiled part ends in codes, any scale does.
_BORDER_SCALE = 1 / 32
_ACTIVATIONS: dict[Activation, str] = {"relu": "Relu", "hswish": "HardSwish", "hsigmoid": "HardSigmoid"}


def onnx_model(folded: Folded, batch: int | None = None, runtime: RuntimeName = "onnxruntime") -> onnx.ModelProto:
    """The whole network: float32 ``input`` (batch, in_channels, r, r) to float32 ``logits`` (batch, classes).

    ``batch`` None leaves that axis free.

    Raises:
        UnsupportedError: weights have a format that ONNX has no type for.
    """
    graph = GraphBuilder()
    writer = _Writer(graph, Placement.of(folded, runtime))
    graph.rename(writer.chain(folded, INPUT), OUTPUT)
    shape = (folded.in_channels, folded.resolution, folded.resolution)
    return graph.model(
        "bitfront",
        helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, _batched(batch, *shape)),
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, _batched(batch, folded.classes)),
        {RUNTIME: runtime},
    )


def part_model(folded: Folded, batch: int, runtime: RuntimeName = "onnxruntime") -> onnx.ModelProto:
    """A part of a network, as it stands between neighbours of its own formats: ``input`` to ``logits``.

    Where the first layer's activations are integers, ``input`` holds uint8 codes, as such a neighbour hands
    them over; where the last layer is an integer one, so does the output. The quantization at a border of
    formats belongs to neither side. A stem keeps its float input, and a head its float logits.
    """
    graph = GraphBuilder()
    first, last = folded.layers[0], folded.blocks[-1]
    tensor, input_type, output_type = INPUT, TensorProto.FLOAT, TensorProto.FLOAT
    if first.input is not None and folded.blocks[0].kind != "stem":
        tensor, input_type = graph.accept_codes(INPUT, first.input), TensorProto.UINT8
    tensor = _Writer(graph, Placement.of(folded, runtime)).chain(folded, tensor)
    shape: tuple[int, ...] = (last.tail.out_channels, last.out_size, last.out_size)
    if last.kind == "head":
        shape = (folded.classes,)
    elif is_integer_layer(last.tail):
        border = TensorQuant(_BORDER_SCALE, 0 if last.out_act == "relu" else 128, 8)
        tensor, output_type = graph.quantize(tensor, border), TensorProto.UINT8
    graph.rename(tensor, OUTPUT)
    size = first.layer.in_size
    return graph.model(
        "bitfront part",
        helper.make_tensor_value_info(INPUT, input_type, _batched(batch, folded.in_channels, size, size)),
        helper.make_tensor_value_info(OUTPUT, output_type, _batched(batch, *shape)),
        {RUNTIME: runtime},
    )


def _batched(batch: int | None, *shape: int) -> list[int | str]:
    return ["batch" if batch is None else batch, *shape]


class _Writer:
    """Writes blocks, each onto the tensor that the one before it made."""

    def __init__(self, graph: GraphBuilder, placement: Placement) -> None:
        self._graph, self._placement = graph, placement

    def chain(self, folded: Folded, tensor: str) -> str:
        """All blocks; returns what leaves the last one."""
        layers = iter(folded.layers)
        before: Block | None = None
        for block in folded.blocks:
            own = [next(layers) for _ in block.layers]
            if before is not None:
                tensor = self._left(before, own[0], tensor)
            tensor = self._block(block, own, tensor)
            before = block
        return tensor if before is None else self._left(before, None, tensor)

    def _left(self, block: Block, consumer: FoldedLayer | None, tensor: str) -> str:
        """What leaves a block towards the layer that reads it."""
        is_quantized = consumer is not None and consumer.input is not None
        if block.max_pool:
            if consumer is not None and not is_quantized and not self._placement.is_openvino:
                # ONNX Runtime hands codes through a maximum, and would quantize the weights behind it.
                tensor = kept_real(self._graph, tensor, block.tail.out_channels, block.tail.out_size)
            square = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
            return self._graph.node("MaxPool", [tensor], **square)
        is_half = block.residual and block.tail.activation_format == _HALF
        if is_quantized and is_half and self._placement.is_openvino:
            # OpenVINO (2026.4) fuses convolution, sum and quantization into a kernel that it does not have in
            # bf16, and then fails to compile.
            return self._apart(tensor)
        return tensor

    def _apart(self, tensor: str) -> str:
        """The same numbers, out of a node that OpenVINO fuses with nothing in front of it."""
        lowest = self._graph.constant(np.finfo(np.float32).min.reshape(1, 1, 1, 1))
        return self._graph.node("Max", [tensor, lowest])

    def _block(self, block: Block, layers: list[FoldedLayer], tensor: str) -> str:
        entry = self._taken(layers[0], tensor)
        pooled, is_map = tensor, True
        for folded in (one for one in layers if one.layer.source != "block"):
            layer = folded.layer
            if layer.source == "pooled" or (layer.op == "linear" and is_map):
                pooled, tensor = tensor, self._graph.node("GlobalAveragePool", [tensor])
            tensor = self._layer(folded, tensor, is_map)
            is_map = layer.op != "linear"
            if layer.gate:
                tensor = self._graph.node("Mul", [pooled, tensor])
        return self._sum(block, layers, entry, tensor) if block.residual else tensor

    def _sum(self, block: Block, layers: list[FoldedLayer], entry: str, tensor: str) -> str:
        """The residual sum: the block's input, or what its shortcut makes of that, is added to the last output."""
        shortcut = next((one for one in layers if one.layer.source == "block"), None)
        addend = entry if shortcut is None else self._rounded(self._shortcut(block, shortcut, entry))
        return self._activated(block.sum_act, self._graph.node("Add", [addend, self._rounded(tensor)]))

    def _rounded(self, tensor: str) -> str:
        """A tensor that is still rounded to its codes where something is computed of it."""
        is_dropped = self._placement.drops_rounding and self._graph.quant_of(tensor) is not None
        return self._apart(tensor) if is_dropped else tensor

    def _shortcut(self, block: Block, folded: FoldedLayer, tensor: str) -> str:
        stride = block.stride
        if stride > 1:
            # What the last squares lack at the far edges is padded and not counted.
            lacking = -block.layers[0].in_size % stride
            square = {"kernel_shape": [stride] * 2, "strides": [stride] * 2, "pads": [0, 0, lacking, lacking]}
            tensor = self._graph.node("AveragePool", [self._rounded(tensor)], count_include_pad=0, **square)
        return self._layer(folded, tensor, is_map=True)

    def _layer(self, folded: FoldedLayer, tensor: str, is_map: bool) -> str:
        layer, graph = folded.layer, self._graph
        taken = self._flat if layer.op == "linear" and is_map else self._taken
        result = affine(graph, self._placement, folded, taken(folded, tensor))
        if layer.relu:
            result = graph.node("Relu", [result])
        result = graph.fake_quant(result, folded.output)
        return result if layer.relu else self._activated(layer.act, result)

    def _taken(self, folded: FoldedLayer, tensor: str) -> str:
        """A tensor in the activation format of a layer; those of 16 bits are up to the runtime's precision."""
        form = folded.layer.activation_format
        if is_float8(form):
            return self._graph.cast_to(tensor, float_type(form)[1])
        return self._graph.fake_quant(tensor, folded.input)

    def _flat(self, folded: FoldedLayer, tensor: str) -> str:
        """A pooled map in the activation format of a linear layer, as a row.

        Of integers it is the codes that change their shape: runtimes pool on integers if the mean is quantized
        right there, and multiply on integers what is dequantized right in front.
        """
        if folded.input is None:
            return self._taken(folded, self._graph.node("Flatten", [tensor]))
        codes = self._graph.quantize(tensor, folded.input)
        return self._graph.dequantize(self._graph.node("Flatten", [codes]), folded.input)

    def _activated(self, act: Activation, tensor: str) -> str:
        if act == "none":
            return tensor
        attributes = {"alpha": 1 / 6, "beta": 0.5} if act == "hsigmoid" else {}
        return self._graph.node(_ACTIVATIONS[act], [tensor], **attributes)
