"""The manifest beside an exported model: what it is, what to feed it, and what was promised of it."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.folded import Folded
from bitfront.supernet.quantization.formats import FORMATS

_TOOLS = ("bitfront", "torch", "onnx", "onnxruntime", "numpy")
_CONTAINER_BITS = 8


def preprocessing(folded: Folded, dataset: Dataset) -> dict[str, Any]:
    """How an image becomes the network's input."""
    return {
        "layout": "NCHW float32",
        "shape": ["batch", folded.in_channels, folded.resolution, folded.resolution],
        "steps": [
            "divide pixel values 0..255 by 255",
            "subtract mean, divide by std, per channel",
            "resize bilinearly to the shape above (half-pixel centres, no antialiasing)",
        ],
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "classes": list(dataset.class_names),
    }


def describe_layers(folded: Folded) -> list[dict[str, Any]]:
    """Every layer with its shapes, formats, and the container that carries its weights in the file."""
    described = []
    for layer in folded.layers:
        weight_format = FORMATS.get(layer.layer.weight_format)
        container = f"int{_CONTAINER_BITS}" if weight_format.is_integer else weight_format.name
        described.append({**asdict(layer.layer), "weight_container": container})
    return described


def tool_versions() -> dict[str, str]:
    """Versions of what made the file."""
    return {tool: version(tool) for tool in _TOOLS}


def manifest(
    genome: NDArray[np.uint8], folded: Folded, dataset: Dataset, promised: dict[str, Any], hashes: dict[str, str]
) -> dict[str, Any]:
    """Everything that a reader of the model needs, JSON-able.

    Args:
        genome: the candidate, shape (n_genes,).
        folded: the network that was written.
        dataset: what it was trained on.
        promised: predicted and measured metrics, apart from each other.
        hashes: of space, supernet, data and model file.
    """
    return {
        "genome": genome.tolist(),
        "layers": describe_layers(folded),
        "preprocessing": preprocessing(folded, dataset),
        **promised,
        "hashes": hashes,
        "versions": tool_versions(),
    }
