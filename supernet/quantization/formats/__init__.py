"""Number formats, one a file. A new format is one file and one line here."""

from __future__ import annotations

from bitfront.supernet.quantization.formats.base import NumberFormat
from bitfront.supernet.registry import Registry

FORMATS: Registry[NumberFormat] = Registry(
    "format",
    {
        "fp32": "bitfront.supernet.quantization.formats.fp32:FP32",
        "bf16": "bitfront.supernet.quantization.formats.bf16:BF16",
        "int8": "bitfront.supernet.quantization.formats.int8:INT8",
        "int6": "bitfront.supernet.quantization.formats.int6:INT6",
        "int4": "bitfront.supernet.quantization.formats.int4:INT4",
    },
)
