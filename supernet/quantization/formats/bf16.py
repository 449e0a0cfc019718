"""bf16: the upper half of IEEE 754 single precision, 8 bits of exponent and 8 of significand."""

import torch

from bitfront.supernet.quantization.formats.base import FloatFormat

BF16 = FloatFormat("bf16", 16, torch.bfloat16)
