"""The target ``onnx``: one ONNX model with QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.export.onnx_graph import onnx_model
from bitfront.supernet.export.onnx_runtime import run_onnx
from bitfront.supernet.export.targets.base import Example, ExportOptions, ExportTarget, Files, needed
from bitfront.supernet.folded import Folded
from bitfront.supernet.quantization.formats import FORMATS

_CONTAINER_BITS = 8


@final
class OnnxTarget(ExportTarget):
    """``model.onnx``; see `onnx_graph`."""

    name = "onnx"
    main_file = "model.onnx"

    def files(self, folded: Folded, options: ExportOptions) -> dict[str, bytes]:
        """The model alone."""
        return {self.main_file: onnx_model(folded).SerializeToString()}

    def described(self, folded: Folded, files: Files) -> dict[str, Any]:
        """Containers of weights, and the file's bytes."""
        containers = {}
        for one in folded.layers:
            weight_format = FORMATS.get(one.layer.weight_format)
            containers[one.layer.name] = (
                f"int{_CONTAINER_BITS}" if weight_format.is_integer else weight_format.name
            )
        return {"size_bytes": len(files[self.main_file]), "weight_containers": containers}

    def logits(self, files: Files, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """By ONNX Runtime on this machine's CPU."""
        return run_onnx(needed(files, self.main_file), images)

    def example(self, options: ExportOptions, described: Mapping[str, Any]) -> Example:
        """By the runtime that the model is written for."""
        if options.runtime == "openvino":
            return Example(
                needs="openvino",
                imports=("import openvino",),
                run=(f'model = openvino.compile_model("{self.main_file}", "CPU")', "logits = model(images)[0]"),
            )
        return Example(
            needs="onnxruntime",
            imports=("import onnxruntime",),
            run=(
                f'session = onnxruntime.InferenceSession("{self.main_file}")',
                "(logits,) = session.run(None, {session.get_inputs()[0].name: images})",
            ),
        )


ONNX = OnnxTarget()
