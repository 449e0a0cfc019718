"""int8: 8-bit integers."""

from bitfront.supernet.quantization.formats.base import IntegerFormat

INT8 = IntegerFormat("int8", 8)
