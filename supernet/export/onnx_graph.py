"""A folded network as an ONNX model, with QuantizeLinear and DequantizeLinear around what is integer.

The model says the same as `bitfront.supernet.folded`. Activations are unsigned 8-bit codes, weights signed 8-bit
codes with one scale per output channel, biases of integer layers 32-bit codes at the product of both scales:
the form that ONNX Runtime fuses into integer kernels (QLinearConv, QLinearAdd, QGemm). Formats below 8 bits are
carried in 8-bit containers, and computed as real numbers with exact biases.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.onnx_builder import CONTAINER_BITS, GraphBuilder
from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.layers import Activation, Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer_layer

INPUT = "input"
OUTPUT = "logits"

# An integer kernel adds the bias to a 32-bit sum of products; half of the range is left to that sum.
_LARGEST_BIAS_CODE = 2.0**30
_PACKED = "int4"
_HALF = "bf16"
# Where a profiled part ends in codes, any scale does.
_BORDER_SCALE = 1 / 32
_ACTIVATIONS: dict[Activation, str] = {"relu": "Relu", "hswish": "HardSwish", "hsigmoid": "HardSigmoid"}


def onnx_model(folded: Folded, batch: int | None = None) -> onnx.ModelProto:
    """The whole network: float32 ``input`` (batch, in_channels, r, r) to float32 ``logits`` (batch, classes).

    ``batch`` None leaves that axis free.
    """
    graph = GraphBuilder()
    graph.rename(_chain(graph, folded, INPUT), OUTPUT)
    shape = (folded.in_channels, folded.resolution, folded.resolution)
    return graph.model(
        "bitfront",
        helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, _batched(batch, *shape)),
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, _batched(batch, folded.classes)),
    )


def part_model(folded: Folded, batch: int) -> onnx.ModelProto:
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
    tensor = _chain(graph, folded, tensor)
    shape: tuple[int, ...] = (last.tail.out_channels, last.out_size, last.out_size)
    if last.kind == "head":
        shape = (folded.classes,)
    elif is_integer_layer(last.tail):
        border = TensorQuant(_BORDER_SCALE, 0 if last.out_act == "relu" else 128, 8)
        tensor, output_type = graph.quantize(tensor, border, f"{tensor}/border"), TensorProto.UINT8
    graph.rename(tensor, OUTPUT)
    size = first.layer.in_size
    return graph.model(
        "bitfront part",
        helper.make_tensor_value_info(INPUT, input_type, _batched(batch, folded.in_channels, size, size)),
        helper.make_tensor_value_info(OUTPUT, output_type, _batched(batch, *shape)),
    )


def _batched(batch: int | None, *shape: int) -> list[int | str]:
    return ["batch" if batch is None else batch, *shape]


def _chain(graph: GraphBuilder, folded: Folded, tensor: str) -> str:
    layers = iter(folded.layers)
    before: Block | None = None
    for block in folded.blocks:
        own = [next(layers) for _ in block.layers]
        if before is not None:
            tensor = _left(graph, before, own[0], tensor)
        tensor = _block(graph, block, own, tensor)
        before = block
    return tensor if before is None else _left(graph, before, None, tensor)


def _left(graph: GraphBuilder, block: Block, consumer: FoldedLayer | None, tensor: str) -> str:
    """What leaves a block towards the layer that reads it."""
    is_quantized = consumer is not None and consumer.input is not None
    if block.max_pool:
        if consumer is not None and not is_quantized and graph.quant_of(tensor) is not None:
            # ONNX Runtime hands codes through a maximum, and would quantize the weights behind it.
            tensor = _kept_real(graph, tensor, block.tail.out_channels, block.tail.out_size)
        square = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
        return graph.node("MaxPool", [tensor], f"{block.name}.pool", **square)
    return _unfused_sum(graph, block, tensor) if is_quantized else tensor


def _unfused_sum(graph: GraphBuilder, block: Block, tensor: str) -> str:
    """A sum in bf16 that is quantized next, kept apart from that by a node that changes nothing.

    OpenVINO (2026.4) fuses convolution, sum and quantization into a kernel that it does not have in bf16, and then
    fails to compile.
    """
    if not block.residual or block.tail.activation_format != _HALF:
        return tensor
    lowest = graph.constant("lowest", np.finfo(np.float32).min.reshape(1, 1, 1, 1))
    return graph.node("Max", [tensor, lowest], f"{block.name}.kept")


def _block(graph: GraphBuilder, block: Block, layers: list[FoldedLayer], tensor: str) -> str:
    entry = graph.fake_quant(tensor, layers[0].input)
    pooled, is_map = tensor, True
    for folded in (one for one in layers if one.layer.source != "block"):
        layer = folded.layer
        if layer.source == "pooled" or (layer.op == "linear" and is_map):
            pooled, tensor = tensor, graph.node("GlobalAveragePool", [tensor], f"{layer.name}.pool")
        tensor = _layer(graph, folded, tensor, is_map)
        is_map = layer.op != "linear"
        if layer.gate:
            tensor = graph.node("Mul", [pooled, tensor], f"{layer.name}.product")
    if block.residual:
        shortcut = next((one for one in layers if one.layer.source == "block"), None)
        addend = entry if shortcut is None else _shortcut(graph, block, shortcut, entry)
        tensor = graph.node("Add", [addend, tensor], f"{block.name}.sum")
        tensor = _activated(graph, block.sum_act, tensor, block.name)
    return tensor


def _shortcut(graph: GraphBuilder, block: Block, folded: FoldedLayer, tensor: str) -> str:
    stride = block.stride
    if stride > 1:
        # What the last squares lack at the far edges is padded and not counted.
        lacking = -block.layers[0].in_size % stride
        square = {"kernel_shape": [stride] * 2, "strides": [stride] * 2, "pads": [0, 0, lacking, lacking]}
        name = f"{folded.layer.name}.averaged"
        tensor = graph.node("AveragePool", [tensor], name, count_include_pad=0, **square)
    return _layer(graph, folded, tensor, is_map=True)


def _layer(graph: GraphBuilder, folded: FoldedLayer, tensor: str, is_map: bool) -> str:
    layer = folded.layer
    tensor = graph.fake_quant(tensor, folded.input)
    if layer.op == "linear" and is_map:
        # Quantizing what is quantized already changes nothing, but the integer Gemm wants it right in front.
        tensor = graph.fake_quant(graph.node("Flatten", [tensor], f"{layer.name}.flat"), folded.input)
    result = _affine(graph, folded, tensor)
    if layer.relu:
        result = graph.node("Relu", [result], f"{layer.name}.relu")
    result = graph.fake_quant(result, folded.output)
    return result if layer.relu else _activated(graph, layer.act, result, layer.name)


def _activated(graph: GraphBuilder, act: Activation, tensor: str, name: str) -> str:
    if act == "none":
        return tensor
    op = _ACTIVATIONS[act]
    attributes = {"alpha": 1 / 6, "beta": 0.5} if act == "hsigmoid" else {}
    return graph.node(op, [tensor], f"{name}.{act}", **attributes)


def _affine(graph: GraphBuilder, folded: FoldedLayer, tensor: str) -> str:
    """The layer's weighted sum plus bias, in a form that keeps it exact or lets it be an integer kernel."""
    bias_name = f"{folded.layer.name}.bias"
    quant = graph.quant_of(tensor)
    if quant is None and _is_weight_only(folded.layer):
        return _weight_only_sum(graph, folded, tensor)
    if quant is None or folded.weight_scale is None:
        tensor = (
            tensor if quant is None else _kept_real(graph, tensor, folded.layer.in_channels, folded.layer.in_size)
        )
        return _weighted_sum(graph, folded, tensor, graph.constant(bias_name, folded.bias))
    codes = _bias_codes(folded, folded.weight_scale, quant)
    if codes is not None:
        return _weighted_sum(graph, folded, tensor, graph.dequantized_constant(bias_name, *codes))
    column = folded.bias.reshape(-1, *[1] * (folded.weight.ndim - 2))
    inputs = [_weighted_sum(graph, folded, tensor), graph.constant(bias_name, column)]
    return graph.node("Add", inputs, f"{folded.layer.name}.biased")


def _kept_real(graph: GraphBuilder, tensor: str, channels: int, side: int) -> str:
    """A dequantized tensor, such that ONNX Runtime leaves the float weights that meet it as they are.

    It quantizes float weights between two quantized tensors by itself, one scale for all of them, whatever the
    policy says; only a tensor with more than one scale keeps it from that.
    """
    sizes = (channels, side)
    axis = next((i for i, size in enumerate(sizes) if size > 1), None)
    return tensor if axis is None else graph.along_axis(tensor, axis + 1, sizes[axis])


def _is_weight_only(layer: Layer) -> bool:
    """Whether runtimes have a kernel for real activations and packed weights: linear layers of 4 bits."""
    return layer.op == "linear" and layer.weight_format == _PACKED


def _weight_only_sum(graph: GraphBuilder, folded: FoldedLayer, tensor: str) -> str:
    """The form that ONNX Runtime (MatMulNBits) and OpenVINO fuse; a Gemm would unpack its weights in each call."""
    name, codes, scale = folded.layer.name, folded.weight_codes, folded.weight_scale
    if codes is None or scale is None:
        raise UnsupportedError(f"layer {name} has {_PACKED} weights but no codes: fold it anew")
    weight = graph.dequantized_int4(f"{name}.weight", np.ascontiguousarray(codes.T), scale.astype(np.float32))
    product = graph.node("MatMul", [tensor, weight], f"{name}.product")
    return graph.node("Add", [product, graph.constant(f"{name}.bias", folded.bias)], name)


def _weighted_sum(graph: GraphBuilder, folded: FoldedLayer, tensor: str, *bias: str) -> str:
    layer = folded.layer
    inputs = [tensor, _weight(graph, folded), *bias]
    if layer.op == "linear":
        return graph.node("Gemm", inputs, layer.name, transB=1)
    return graph.node(
        "Conv",
        inputs,
        layer.name,
        kernel_shape=[layer.kernel] * 2,
        strides=[layer.stride] * 2,
        pads=[layer.kernel // 2] * 4,
        group=layer.groups,
    )


def _weight(graph: GraphBuilder, folded: FoldedLayer) -> str:
    name = f"{folded.layer.name}.weight"
    if folded.weight_codes is None or folded.weight_scale is None:
        return graph.constant(name, folded.weight)
    return graph.dequantized_constant(name, folded.weight_codes, folded.weight_scale)


def _bias_codes(
    folded: FoldedLayer, weight_scale: NDArray[np.float32], quant: TensorQuant
) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
    """32-bit codes of the bias at the scale of an 8-bit layer's integer sums; None where that loses too much.

    In a layer of fewer bits the steps of the sums are coarse, and a channel of very small weights may need
    larger codes than there are.
    """
    if min(quant.bits, FORMATS.get(folded.layer.weight_format).storage_bits) < CONTAINER_BITS:
        return None
    scale = (np.float32(quant.scale) * weight_scale).astype(np.float32)
    codes = np.rint(folded.bias.astype(np.float64) / scale)
    return (codes.astype(np.int32), scale) if np.abs(codes).max() <= _LARGEST_BIAS_CODE else None
