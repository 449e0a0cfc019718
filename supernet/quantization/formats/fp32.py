"""fp32: IEEE 754 single precision."""

from bitfront.supernet.quantization.formats.base import FloatFormat

FP32 = FloatFormat("fp32", 32)
