"""int6: 6-bit integers."""

from bitfront.supernet.quantization.formats.base import IntegerFormat

INT6 = IntegerFormat("int6", 6)
