"""Running exported models in ONNX Runtime on this machine's CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.export.host_cpu import host_cpu
from bitfront.supernet.files import read_bytes

# Makes ONNX Runtime use slower kernels with exact sums; it is not needed, and costs time, on CPUs with VNNI.
EXACT_SUMS = ("session.x64quantprecision", "1")
_NO_SPINNING = (("session.intra_op.allow_spinning", "0"), ("session.inter_op.allow_spinning", "0"))
_ERRORS_ONLY = 3
# They share no base but Exception; the last is of a message that quotes what is no text in a broken file.
_ERRORS = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoModel,
    errors.NotImplemented,
    errors.RuntimeException,
    UnicodeDecodeError,
)


def session_options(threads: int = 1) -> onnxruntime.SessionOptions:
    """All optimisations, ``threads`` threads inside an operator, one operator at a time, no busy waiting."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _ERRORS_ONLY
    exact = () if host_cpu().sums_8bit_products_exactly else (EXACT_SUMS,)
    for key, value in (*exact, *_NO_SPINNING):
        options.add_session_config_entry(key, value)
    return options


def open_session(
    model: bytes, source: str, options: onnxruntime.SessionOptions | None = None
) -> onnxruntime.InferenceSession:
    """Compile a model for this CPU. ``source`` names it in errors.

    Raises:
        CorruptFileError: ``model`` is no ONNX model that ONNX Runtime can load.
    """
    try:
        # Without the second try, of which it would tell on the standard output.
        return onnxruntime.InferenceSession(
            model, options or session_options(), ["CPUExecutionProvider"], enable_fallback=False
        )
    except _ERRORS as error:
        raise CorruptFileError(f"ONNX Runtime can not load {source} ({error}): export it again") from error


def run_onnx(model: Path | bytes, images: NDArray[np.float32], threads: int = 1) -> NDArray[np.float32]:
    """Logits (n, classes) of images (n, channels, r, r), already resized and normalised.

    Raises:
        MissingFileError: there is no such file.
        CorruptFileError: it is no ONNX model.
        UnsupportedError: the images' shape is not the one that the model takes.
    """
    source = "the given model" if isinstance(model, bytes) else str(model)
    content = model if isinstance(model, bytes) else read_bytes(model)
    session = open_session(content, source, session_options(threads))
    entry = session.get_inputs()[0]
    if not _fits(entry.shape, images.shape):
        raise UnsupportedError(
            f"{source} takes images of shape {tuple(entry.shape)}, got {images.shape}: "
            "resize them as its manifest says"
        )
    try:
        answers = session.run(None, {entry.name: np.ascontiguousarray(images, dtype=np.float32)})
    except _ERRORS as error:
        raise CorruptFileError(f"ONNX Runtime can not run {source} ({error}): export it again") from error
    logits: NDArray[np.float32] = answers[0]
    return logits


def _fits(expected: list[Any], shape: tuple[int, ...]) -> bool:
    return len(expected) == len(shape) and all(
        not isinstance(want, int) or want == have for want, have in zip(expected, shape, strict=True)
    )
