"""The weighted sum of one layer plus its bias, as the nodes that a runtime wants to see for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.onnx_builder import CONTAINER_BITS, GraphBuilder
from bitfront.supernet.export.onnx_containers import INT4_BITS, float_type, packed_codes
from bitfront.supernet.export.onnx_placement import Placement
from bitfront.supernet.folded import FoldedLayer, TensorQuant
from bitfront.supernet.layers import Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer

_PACKED = "int4"
# An integer kernel adds the bias to a 32-bit sum of products; half of the range is left to that sum.
_LARGEST_BIAS_CODE = 2.0**30


def affine(graph: GraphBuilder, placement: Placement, folded: FoldedLayer, tensor: str) -> str:
    """The layer's sums before its activation function, of a tensor that is quantized already if it is to be."""
    quant = graph.quant_of(tensor)
    if quant is None and _is_weight_only(folded.layer):
        return _packed_sum(graph, folded, tensor)
    if placement.is_openvino:
        return _sum(graph, folded, tensor, _weight_behind_codes(graph, folded), graph.constant(folded.bias))
    if quant is not None and placement.is_integer(folded):
        return _integer_sum(graph, folded, tensor, quant)
    tensor = kept_real(graph, tensor, folded.layer.in_channels, folded.layer.in_size)
    return _sum(graph, folded, tensor, _real_weight(graph, folded), graph.constant(folded.bias))


def kept_real(graph: GraphBuilder, tensor: str, channels: int, side: int) -> str:
    """A tensor such that ONNX Runtime leaves the weights that meet it as they are.

    It quantizes float weights between two quantized tensors by itself, one scale for all of them, whatever the
    policy says; only a tensor with more than one scale keeps it from that.
    """
    sizes = (channels, side)
    axis = next((i for i, size in enumerate(sizes) if size > 1), None)
    if graph.quant_of(tensor) is None or axis is None:
        return tensor
    return graph.per_index(tensor, axis + 1, sizes[axis])


def _is_weight_only(layer: Layer) -> bool:
    """Whether runtimes have a kernel for real activations and packed weights: linear layers of 4 bits."""
    return layer.op == "linear" and layer.weight_format == _PACKED


def _sum(graph: GraphBuilder, folded: FoldedLayer, tensor: str, weight: str, *bias: str) -> str:
    layer = folded.layer
    inputs = [tensor, weight, *bias]
    if layer.op == "linear":
        return graph.node("Gemm", inputs, name=layer.name, transB=1)
    attributes = {
        "name": layer.name,
        "strides": [layer.stride] * 2 if layer.stride > 1 else None,
        "pads": [layer.kernel // 2] * 4 if layer.kernel > 1 else None,
        "group": layer.groups if layer.groups > 1 else None,
    }
    return graph.node("Conv", inputs, **attributes)


def _packed_sum(graph: GraphBuilder, folded: FoldedLayer, tensor: str) -> str:
    """The form that ONNX Runtime (MatMulNBits) and OpenVINO fuse; a Gemm would unpack its weights in each call."""
    codes, scale = _codes(folded)
    stored = graph.constant(packed_codes(np.ascontiguousarray(codes.T), INT4_BITS))
    weight = graph.node("DequantizeLinear", [stored, graph.constant(scale)], axis=1)
    product = graph.node("MatMul", [tensor, weight], name=folded.layer.name)
    return graph.node("Add", [product, graph.constant(folded.bias)])


def _integer_sum(graph: GraphBuilder, folded: FoldedLayer, tensor: str, quant: TensorQuant) -> str:
    """For ONNX Runtime. Biases get the steps of the weights, so that narrow ones are spread over 8 bits."""
    codes, scale = _codes(folded)
    spread = 1 << (CONTAINER_BITS - _bits(folded))
    scale = scale / np.float32(spread)
    scales, inputs = graph.constant(scale), [_spread_codes(graph, folded, codes, spread)]
    # QGemm is only taken if zero points are written out.
    zeros = [graph.constant(np.zeros(len(scale), np.int8))] if folded.layer.op == "linear" else []
    weight = graph.node("DequantizeLinear", [*inputs, scales, *zeros], axis=0)
    bias = _bias_codes(folded.bias, scale, quant)
    if bias is not None:
        step = graph.node("Mul", [graph.constant(np.float32(quant.scale)), scales])
        return _sum(
            graph, folded, tensor, weight, graph.node("DequantizeLinear", [graph.constant(bias), step], axis=0)
        )
    column = folded.bias.reshape(-1, *[1] * (folded.weight.ndim - 2))
    return graph.node("Add", [_sum(graph, folded, tensor, weight), graph.constant(column)])


def _spread_codes(graph: GraphBuilder, folded: FoldedLayer, codes: NDArray[np.int8], spread: int) -> str:
    """Codes times a power of two, as int8: computed on loading from those that are stored in 4 bits."""
    if _bits(folded) > INT4_BITS:
        return graph.constant(codes * np.int8(spread))
    real = graph.node("Cast", [_stored(graph, folded)], to=TensorProto.FLOAT)
    product = graph.node("Mul", [real, graph.constant(np.float32(spread))])
    return graph.node("Cast", [product], to=TensorProto.INT8)


def _bias_codes(
    bias: NDArray[np.float32], weight_scale: NDArray[np.float32], quant: TensorQuant
) -> NDArray[np.int32] | None:
    """32-bit codes of the bias at the scale of the layer's integer sums.

    None where a channel of very small weights would need larger ones than there are.
    """
    step = (np.float32(quant.scale) * weight_scale).astype(np.float32)
    codes = np.rint(bias.astype(np.float64) / step)
    return codes.astype(np.int32) if np.abs(codes).max() <= _LARGEST_BIAS_CODE else None


def _weight_behind_codes(graph: GraphBuilder, folded: FoldedLayer) -> str:
    """For OpenVINO, which runs weights on integers if it sees int8 codes; 4-bit ones it widens on loading."""
    if not is_integer(folded.layer.weight_format):
        return _float_weight(graph, folded)
    codes, scale = _stored(graph, folded), graph.constant(_codes(folded)[1])
    if _bits(folded) <= INT4_BITS:
        codes = graph.node("Cast", [codes], to=TensorProto.INT8)
    return graph.node("DequantizeLinear", [codes, scale], axis=0)


def _real_weight(graph: GraphBuilder, folded: FoldedLayer) -> str:
    """For ONNX Runtime, which computes products of constants once, on loading."""
    if not is_integer(folded.layer.weight_format):
        return _float_weight(graph, folded)
    return _scaled(graph, folded, graph.node("Cast", [_stored(graph, folded)], to=TensorProto.FLOAT))


def _float_weight(graph: GraphBuilder, folded: FoldedLayer) -> str:
    numbers = folded.unscaled().astype(float_type(folded.layer.weight_format)[0])
    weight = graph.constant(numbers)
    if numbers.dtype != np.float32:
        weight = graph.node("Cast", [weight], to=TensorProto.FLOAT)
    return _scaled(graph, folded, weight)


def _scaled(graph: GraphBuilder, folded: FoldedLayer, numbers: str) -> str:
    if folded.weight_scale is None:
        return numbers
    scale = folded.weight_scale.reshape(-1, *[1] * (folded.weight.ndim - 1))
    return graph.node("Mul", [numbers, graph.constant(scale)])


def _stored(graph: GraphBuilder, folded: FoldedLayer) -> str:
    """The weights' codes in the smallest container of ONNX."""
    return graph.constant(packed_codes(_codes(folded)[0], _bits(folded)))


def _bits(folded: FoldedLayer) -> int:
    return FORMATS.get(folded.layer.weight_format).storage_bits


def _codes(folded: FoldedLayer) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    if folded.weight_codes is None or folded.weight_scale is None:
        name, form = folded.layer.name, folded.layer.weight_format
        raise UnsupportedError(f"layer {name} has {form} weights but no codes: fold it anew")
    return folded.weight_codes, folded.weight_scale.astype(np.float32)
