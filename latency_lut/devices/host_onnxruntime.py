"""The CPU of this machine under ONNX Runtime, really measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from bitfront.latency_lut.bundle.profile import Call, Protocol, onnxruntime_call, timer_for
from bitfront.latency_lut.runtime_device import RuntimeDevice, on_this_cpu
from bitfront.supernet.export.onnx_graph import part_model
from bitfront.supernet.folded import Folded

_PAIRS = frozenset({("fp32", "fp32"), ("int8", "int8")})
_WEIGHT_ONLY = frozenset({("int4", "fp32")})
_DEFAULT_ROUNDS = Protocol().rounds


class HostONNXRuntime(RuntimeDevice):
    """ONNX Runtime on this CPU: ``latency_ms`` is the time of one call with ``batch`` images.

    At one thread it is processor time, which stands for the wall time on an idle machine; at several threads it
    is wall time. Small networks need a batch: a single 16x16 image is done in the time that a call takes.

    Raises:
        UnsupportedError: an option is not a whole number, or too small.
    """

    name = "host-onnxruntime"

    def __init__(self, threads: int = 1, batch: int = 8, rounds: int = _DEFAULT_ROUNDS) -> None:
        super().__init__(threads, batch, Protocol(rounds=rounds), timer_for(threads))

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        """fp32 and int8, in linear layers also int4 weights; other formats would run as one of these."""
        return _PAIRS | _WEIGHT_ONLY if op == "linear" else _PAIRS

    def machine(self) -> dict[str, Any]:
        """CPU, instruction sets and version of ONNX Runtime."""
        return on_this_cpu("onnxruntime", onnxruntime.__version__)

    def compile_part(self, part: Folded, rng: np.random.Generator) -> Call:
        """A call of one or more blocks."""
        return onnxruntime_call(part_model(part, self.batch).SerializeToString(), self.threads, rng)


def host_onnxruntime(threads: int = 1, batch: int = 8, rounds: int = _DEFAULT_ROUNDS) -> HostONNXRuntime:
    """The device; options are those of `HostONNXRuntime`."""
    return HostONNXRuntime(threads, batch, rounds)
