"""What holds the weights of a layer in an ONNX file: the smallest type of ONNX that holds their number format."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
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

# By torch's name: NumPy's and ONNX' type.
_FLOATS: dict[str, tuple[DTypeLike, int]] = {
    "float32": (np.float32, TensorProto.FLOAT),
    "bfloat16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16),
    "float16": (np.float16, TensorProto.FLOAT16),
    "float8_e4m3fn": (ml_dtypes.float8_e4m3fn, TensorProto.FLOAT8E4M3FN),
    "float8_e5m2": (ml_dtypes.float8_e5m2, TensorProto.FLOAT8E5M2),
}
_CONTAINERS = {
    TensorProto.FLOAT: "fp32",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.FLOAT16: "fp16",
    TensorProto.FLOAT8E4M3FN: "float8_e4m3fn",
    TensorProto.FLOAT8E5M2: "float8_e5m2",
    TensorProto.INT8: "int8",
    TensorProto.INT4: "int4",
}
_OPSETS = {TensorProto.FLOAT8E4M3FN: 19, TensorProto.FLOAT8E5M2: 19, TensorProto.INT4: 21}
_WEIGHTED = ("Conv", "Gemm", "MatMul")


def float_type(format_name: str) -> tuple[DTypeLike, int]:
    """NumPy's and ONNX' type of a float format's values.

    Raises:
        UnsupportedError: ONNX has none.
    """
    number_format = FORMATS.get(format_name)
    name = str(number_format.dtype).removeprefix("torch.") if isinstance(number_format, FloatFormat) else ""
    if name not in _FLOATS:
        raise UnsupportedError(f"numbers in {format_name} have no form in ONNX: choose another candidate")
    return _FLOATS[name]


def is_float8(format_name: str) -> bool:
    """Whether a format is a float one of 8 bits."""
    number_format = FORMATS.get(format_name)
    return not number_format.is_integer and number_format.storage_bits == 8


def packed_codes(codes: NDArray[np.int8], bits: int) -> NDArray[Any]:
    """Codes of ``bits`` bits in the smallest integer type that holds them."""
    return codes.astype(ml_dtypes.int4) if bits <= INT4_BITS else codes


def oldest_opset(data_types: Iterable[int]) -> int:
    """The oldest opset whose operators take all of these types of tensors."""
    return max((_OPSETS.get(one, 0) for one in data_types), default=0)


def read_model(content: bytes, source: str) -> onnx.ModelProto:
    """An ONNX model; ``source`` names it in errors.

    Raises:
        CorruptFileError: it is none.
    """
    try:
        return onnx.load_model_from_string(content)
    except DecodeError as error:
        raise CorruptFileError(f"{source} is no ONNX model ({error}): export it again") from error


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX' own operators that a model asks for; 0 if for none."""
    return max((int(one.version) for one in model.opset_import if not one.domain), default=0)


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
    """The constant that each weighted node gets its weights from, through what makes real numbers of it.

    Raises:
        CorruptFileError: there is none, or of another type than an export has.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    before = {node.output[0]: node.input[0] for node in model.graph.node if node.output and node.input}
    for node in (each for each in model.graph.node if each.op_type in _WEIGHTED and len(each.input) > 1):
        source = _origin(node.input[1], constants, before)
        if source not in constants or constants[source].data_type not in _CONTAINERS:
            raise CorruptFileError(f"the weights of {node.name} are none that an export has: export it again")
        yield node.name, constants[source]


def _origin(tensor: str, constants: Container[str], before: dict[str, str]) -> str:
    """The constant, or else what nothing makes or what is made of itself, that a tensor comes from.

    ``before``: the first input of what makes each tensor. Ways that were gone are shortened in it, so that all of
    a model take time in proportion to its size, whatever a stranger's model looks like.
    """
    passed: dict[str, None] = {}
    while tensor not in constants and tensor in before and tensor not in passed:
        passed[tensor] = None
        tensor = before[tensor]
    before.update(dict.fromkeys(passed, tensor))
    return tensor
