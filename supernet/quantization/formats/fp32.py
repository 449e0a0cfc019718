"""fp32: IEEE 754 single precision."""

import torch

from bitfront.supernet.quantization.formats.base import FloatFormat

FP32 = FloatFormat("fp32", 32, torch.float32)
