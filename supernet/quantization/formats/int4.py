"""int4: 4-bit integers."""

from bitfront.supernet.quantization.formats.base import IntegerFormat

INT4 = IntegerFormat("int4", 4)
