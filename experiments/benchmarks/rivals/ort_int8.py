"""Uniform int8 by ONNX Runtime's own tool: what most people do with a network that is trained."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.rivals.deployed import Deployed
from bitfront.experiments.benchmarks.rivals.environment import LeftOutError

_IMAGES_AT_ONCE = 64


def int8_by_onnxruntime(network: Deployed, images: NDArray[np.float32]) -> Deployed:
    """A network in real numbers after `onnxruntime.quantization.quantize_static`.

    QuantizeLinear and DequantizeLinear around every layer that has a quantized form, weights per channel; ranges
    of activations are the least and most that they are on ``images`` (n, channels, r, r).

    Raises:
        LeftOutError: it fails.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            starts = range(0, len(images), _IMAGES_AT_ONCE)
            self._batches = iter([{name: images[start : start + _IMAGES_AT_ONCE]} for start in starts])

        def get_next(self) -> dict[str, Any] | None:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory(prefix="bitfront-ort-") as folder:
        given, prepared, written = (Path(folder) / f"{name}.onnx" for name in ("given", "prepared", "int8"))
        given.write_bytes(network.model)
        _tried(quant_pre_process, given, prepared)
        reader = Reader(_input_name(prepared))
        _tried(quantize_static, prepared, written, reader, quant_format=QuantFormat.QDQ, per_channel=True)
        return Deployed(written.read_bytes(), network.resolution)


def _tried(tool: Callable[..., None], *given: Any, **options: Any) -> None:
    try:
        tool(*given, **options)
    except Exception as error:  # its own errors have no common class
        raise LeftOutError(f"{tool.__name__} failed: {type(error).__name__}: {error}") from error


def _input_name(path: Path) -> str:
    import onnx

    return str(onnx.load(path).graph.input[0].name)
