"""Running exported models in OpenVINO on this machine's CPU."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.files import read_bytes


def openvino_settings(threads: int) -> dict[str, Any]:
    """One stream on ``threads`` threads that are not pinned; what is not quantized runs in fp32.

    Without that hint OpenVINO takes bf16 wherever the CPU has it.
    """
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }


def run_openvino(model: Path | bytes, images: NDArray[np.float32], threads: int = 1) -> NDArray[np.float32]:
    """Logits (n, classes) of images (n, channels, r, r), already resized and normalised.

    Raises:
        MissingFileError: there is no such file.
        CorruptFileError: it is no ONNX model that OpenVINO can run.
        UnsupportedError: OpenVINO is not installed, or the images' shape is not the one that the model takes.
    """
    if importlib.util.find_spec("openvino") is None:
        raise UnsupportedError("this model is for OpenVINO, which is not here: pip install 'bitfront[openvino]'")
    source = "the given model" if isinstance(model, bytes) else str(model)
    content = model if isinstance(model, bytes) else read_bytes(model)
    compiled = _compiled(content, source, threads)
    shape = compiled.input(0).partial_shape
    if not shape.compatible(type(shape)(list(images.shape))):
        raise UnsupportedError(
            f"{source} takes images of shape {shape}, got {images.shape}: resize them as its manifest says"
        )
    if not len(images):
        return np.zeros((0, compiled.output(0).partial_shape[1].get_length()), np.float32)
    try:
        answers = compiled(np.ascontiguousarray(images, dtype=np.float32))
    except RuntimeError as error:
        raise CorruptFileError(f"OpenVINO can not run {source} ({error}): export it again") from error
    logits: NDArray[np.float32] = answers[0].copy()
    return logits


def _compiled(content: bytes, source: str, threads: int) -> Any:
    try:
        core = _core()
        return core.compile_model(core.read_model(content), "CPU", openvino_settings(threads))
    except RuntimeError as error:
        raise CorruptFileError(f"OpenVINO can not load {source} ({error}): export it again") from error


@cache
def _core() -> Any:
    import openvino

    return openvino.Core()
