"""What tables of this machine are held against whole networks for: runtimes, formats and sizes of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Case:
    """One target in one space; ``options`` are the device's, ``words`` what it is for people."""

    name: str
    words: str
    device: str
    space: str
    options: dict[str, Any]


_Target = tuple[str, str, str, dict[str, Any]]
_FP32: _Target = ("openvino_fp32", "OpenVINO fp32 and int8", "host-openvino", {"precision": "fp32"})
_BF16: _Target = ("openvino_bf16", "OpenVINO bf16 and int8", "host-openvino", {"precision": "bf16"})
_ONNX: _Target = ("onnxruntime", "ONNX Runtime fp32 and int8", "host-onnxruntime", {})
CASES = tuple(
    Case(f"{target}_{size}", f"{words}, {pixels}", device, space, {"batch": batch, **options})
    for size, pixels, space, batch in (
        (224, "224 pixels", "mobilenet_v2", 1),
        (32, "32 pixels, batch 8", "mobilenet_v2_cifar", 8),
    )
    for target, words, device, options in (_FP32, _BF16, _ONNX)
)
QUICK_CASES = tuple(
    Case(f"{target}_12", f"{words}, 12 pixels, batch 8", device, "digits", {"rounds": 4, **options})
    for target, words, device, options in (_FP32, _ONNX)
)
