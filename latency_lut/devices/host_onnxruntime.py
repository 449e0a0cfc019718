"""The CPU of this machine under ONNX Runtime, really measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime

from bitfront.latency_lut.measure import Call, Protocol, timer_for
from bitfront.latency_lut.runtime_device import RuntimeDevice
from bitfront.supernet.export.host_cpu import host_cpu
from bitfront.supernet.export.onnx_graph import onnx_model, part_model
from bitfront.supernet.export.onnx_runtime import open_session, session_options
from bitfront.supernet.folded import Folded

_PAIRS = frozenset({("fp32", "fp32"), ("int8", "int8")})
_DEFAULT_ROUNDS = 12


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
        """fp32 and int8: narrower formats would run as one of these, and give no gain."""
        return _PAIRS

    def machine(self) -> dict[str, Any]:
        """CPU, instruction sets and version of ONNX Runtime."""
        cpu = host_cpu()
        return {
            "cpu_model": cpu.model,
            "isa": list(cpu.isa),
            "runtime": "onnxruntime",
            "runtime_version": onnxruntime.__version__,
        }

    def compile_part(self, part: Folded, rng: np.random.Generator) -> Call:
        """A call of one or more blocks."""
        return self._compile(part_model(part, self.batch), rng)

    def compile_network(self, network: Folded, rng: np.random.Generator) -> Call:
        """A call of a whole network."""
        return self._compile(onnx_model(network, self.batch), rng)

    def _compile(self, model: onnx.ModelProto, rng: np.random.Generator) -> Call:
        session = open_session(model.SerializeToString(), model.graph.name, session_options(self.threads))
        (entry,), (result,) = session.get_inputs(), session.get_outputs()
        # Bound once, so that neither copies nor allocations are part of what is timed.
        binding = session.io_binding()
        binding.bind_ortvalue_input(entry.name, _value(_random(entry, rng)))
        binding.bind_ortvalue_output(result.name, _value(np.zeros(result.shape, _dtype(result))))
        return lambda: session.run_with_iobinding(binding)


def host_onnxruntime(threads: int = 1, batch: int = 8, rounds: int = _DEFAULT_ROUNDS) -> HostONNXRuntime:
    """The device; options are those of `HostONNXRuntime`."""
    return HostONNXRuntime(threads, batch, rounds)


def _dtype(entry: Any) -> type[np.uint8] | type[np.float32]:
    return np.uint8 if entry.type == "tensor(uint8)" else np.float32


def _random(entry: Any, rng: np.random.Generator) -> Any:
    if _dtype(entry) is np.uint8:
        return rng.integers(0, 256, entry.shape, dtype=np.uint8)
    return rng.standard_normal(entry.shape, dtype=np.float32)


def _value(array: Any) -> onnxruntime.OrtValue:
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
