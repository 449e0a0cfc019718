"""The target ``onnx``: one ONNX model with QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, final

import numpy as np
import onnx
from google.protobuf.message import Message
from numpy.typing import NDArray
from onnx import TensorProto

from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.export.onnx_containers import (
    opset,
    read_model,
    stored_bytes,
    weight_bytes,
    weight_containers,
)
from bitfront.supernet.export.onnx_graph import RUNTIME, onnx_model
from bitfront.supernet.export.onnx_runtime import EXACT_SUMS, run_onnx
from bitfront.supernet.export.openvino_run import run_openvino
from bitfront.supernet.export.targets.base import Example, ExportOptions, ExportTarget, Files, needed
from bitfront.supernet.folded import Folded


@final
class OnnxTarget(ExportTarget):
    """``model.onnx``, for one runtime; see `onnx_graph`."""

    name = "onnx"
    main_file = "model.onnx"
    is_data = True

    def files(self, folded: Folded, options: ExportOptions) -> dict[str, bytes]:
        """The model alone.

        Raises:
            UnsupportedError: weights have a format that ONNX has no type for.
        """
        return {self.main_file: onnx_model(folded, runtime=options.runtime).SerializeToString()}

    def described(self, folded: Folded, files: Files) -> dict[str, Any]:
        """What the file holds: the containers of weights, and bytes of weights, of all constants and of the file.

        The rest of the file is its graph.
        """
        content = needed(files, self.main_file)
        model = read_model(content, self.main_file)
        return {
            "runtime": _runtime(model),
            "opset": opset(model),
            "size_bytes": stored_bytes(model),
            "weights_bytes": weight_bytes(model),
            "file_bytes": len(content),
            "weight_containers": weight_containers(model),
        }

    def logits(self, files: Files, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """By the runtime that the file is for, on this machine's CPU; what asks for other files is refused."""
        content = needed(files, self.main_file)
        model = read_model(content, self.main_file)
        if _asks_for_files(model):
            raise CorruptFileError(f"{self.main_file} keeps tensors in other files, which no export does: not run")
        is_openvino = _runtime(model) == "openvino"
        return run_openvino(content, images) if is_openvino else run_onnx(content, images)

    def example(self, options: ExportOptions, described: Mapping[str, Any]) -> Example:
        """By the runtime that the model is written for."""
        if options.runtime == "openvino":
            settings = '{"INFERENCE_PRECISION_HINT": "f32"}  # without it, bf16 where the CPU has that'
            return Example(
                needs="openvino",
                imports=("import openvino",),
                run=(
                    f"settings = {settings}",
                    f'model = openvino.compile_model("{self.main_file}", "CPU", settings)',
                    "logits = model(images)[0]",
                ),
            )
        return Example(
            needs="onnxruntime",
            imports=("import onnxruntime",),
            run=(
                "options = onnxruntime.SessionOptions()",
                f"options.add_session_config_entry{EXACT_SUMS}  # else x86 CPUs without VNNI round otherwise",
                f'session = onnxruntime.InferenceSession("{self.main_file}", options)',
                "(logits,) = session.run(None, {session.get_inputs()[0].name: images})",
            ),
        )


def _asks_for_files(message: Message) -> bool:
    if isinstance(message, TensorProto):
        return message.data_location == TensorProto.EXTERNAL or len(message.external_data) > 0
    values = (value if isinstance(value, Iterable) else (value,) for _, value in message.ListFields())
    return any(_asks_for_files(one) for several in values for one in several if isinstance(one, Message))


def _runtime(model: onnx.ModelProto) -> str:
    return next((str(entry.value) for entry in model.metadata_props if entry.key == RUNTIME), "onnxruntime")


ONNX = OnnxTarget()
