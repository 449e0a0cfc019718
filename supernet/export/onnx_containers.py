"""What holds the weights of a layer in an ONNX file: the smallest type of ONNX that holds their number format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat

INT4_BITS = 4
OPSET_OF_INT4 = 21

_FLOATS: dict[str, DTypeLike] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
_CONTAINERS = {
    TensorProto.FLOAT: "fp32",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.FLOAT16: "fp16",
    TensorProto.INT8: "int8",
    TensorProto.INT4: "int4",
}
_WEIGHTED = ("Conv", "Gemm", "MatMul")


def float_type(format_name: str) -> DTypeLike:
    """NumPy's type of a float format's values.

    Raises:
        UnsupportedError: ONNX has none.
    """
    number_format = FORMATS.get(format_name)
    name = str(number_format.dtype).removeprefix("torch.") if isinstance(number_format, FloatFormat) else ""
    if name not in _FLOATS:
        raise UnsupportedError(f"weights in {format_name} have no form in ONNX: choose one of fp32, bf16")
    return _FLOATS[name]


def packed_codes(codes: NDArray[np.int8], bits: int) -> NDArray[Any]:
    """Codes of ``bits`` bits in the smallest integer type that holds them."""
    return codes.astype(ml_dtypes.int4) if bits <= INT4_BITS else codes


def read_model(content: bytes, source: str) -> onnx.ModelProto:
    """An ONNX model; ``source`` names it in errors.

    Raises:
        CorruptFileError: it is none.
    """
    try:
        return onnx.load_model_from_string(content)
    except DecodeError as error:
        raise CorruptFileError(f"{source} is no ONNX model ({error}): export it again") from error


def weight_containers(model: onnx.ModelProto) -> dict[str, str]:
    """What holds the weights of each layer, by its name, as it is in the file."""
    return {name: _CONTAINERS[tensor.data_type] for name, tensor in _weights(model)}


def weight_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all layers' weights, without scales and biases."""
    return sum(len(tensor.raw_data) for _, tensor in _weights(model))


def stored_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all constants: weights, biases, scales, zero points and limits."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def _weights(model: onnx.ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """The constant that each weighted node gets its weights from, through what makes real numbers of it."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {node.output[0]: node for node in model.graph.node}
    for node in (each for each in model.graph.node if each.op_type in _WEIGHTED):
        source = node.input[1]
        while source not in constants:
            source = producers[source].input[0]
        yield node.name, constants[source]
