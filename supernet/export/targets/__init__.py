"""Targets of export, one a file. A new target is one file and one line here."""

from __future__ import annotations

from bitfront.supernet.export.targets.base import ExportTarget
from bitfront.supernet.registry import Registry

TARGETS: Registry[ExportTarget] = Registry(
    "export format",
    {
        "c": "bitfront.supernet.export.targets.c:C",
        "integer": "bitfront.supernet.export.targets.integer:INTEGER",
        "onnx": "bitfront.supernet.export.targets.onnx:ONNX",
        "torch": "bitfront.supernet.export.targets.torch:TORCH",
    },
)
