"""The layers of a network, and the versions of what makes its forms, as a manifest has them."""

from __future__ import annotations

import platform
import zlib
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bitfront.supernet.folded import Folded
from bitfront.supernet.quantization.formats import FORMATS

_TOOLS = ("bitfront", "torch", "onnx", "onnxruntime", "openvino", "numpy", "safetensors", "ml_dtypes")


def described_layers(folded: Folded) -> list[dict[str, Any]]:
    """Every layer in order: its shapes and formats, its block, its bits, and how many weights and macs it has."""
    return [
        {
            "block": block.name,
            **asdict(layer),
            "weight_bits": FORMATS.get(layer.weight_format).storage_bits,
            "activation_bits": FORMATS.get(layer.activation_format).storage_bits,
            "weights": layer.weights,
            "macs": layer.macs,
        }
        for block in folded.blocks
        for layer in block.layers
    ]


def tool_versions() -> dict[str, str]:
    """Versions of what made the files, as far as it is installed."""
    found = {"python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION}
    for tool in _TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found
