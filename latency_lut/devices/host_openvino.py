"""The CPU of this machine under OpenVINO, really measured; also as if it had fewer vector instructions."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from bitfront.latency_lut.bundle.child import sample_in_child
from bitfront.latency_lut.bundle.profile import Call, Protocol, Samples, openvino_call, timer_for
from bitfront.latency_lut.runtime_device import Part, RuntimeDevice, on_this_cpu
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.host_cpu import host_cpu
from bitfront.supernet.export.onnx_graph import part_model
from bitfront.supernet.folded import Folded
from bitfront.supernet.progress import Progress, silent

LIMIT = "ONEDNN_MAX_CPU_ISA"
"""The environment variable by which oneDNN, and OpenVINO with it, leaves vector instructions alone."""

_PRECISIONS = ("fp32", "bf16")
_BF16_ISA = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_DEFAULT_ROUNDS = Protocol().rounds


class HostOpenVINO(RuntimeDevice):
    """OpenVINO on this CPU: ``latency_ms`` is the time of one call with ``batch`` images.

    OpenVINO has one ``precision`` (fp32 or bf16) for everything that is not quantized, and 8 bits per layer on top
    of it. At one thread the time is processor time, which stands for the wall time on an idle machine.

    Raises:
        UnsupportedError: OpenVINO is not installed, the CPU lacks what is asked for, or an option is not a whole
            number or too small.
    """

    name = "host-openvino"

    def __init__(
        self, threads: int = 1, batch: int = 8, rounds: int = _DEFAULT_ROUNDS, precision: str = "fp32"
    ) -> None:
        super().__init__(threads, batch, Protocol(rounds=rounds), timer_for(threads))
        if importlib.util.find_spec("openvino") is None:
            raise UnsupportedError(f"{self.name} needs OpenVINO: pip install 'bitfront[openvino]'")
        if precision not in _PRECISIONS:
            raise UnsupportedError(
                f"{self.name} can not run with precision = {precision!r}: choose one of {', '.join(_PRECISIONS)}"
            )
        if precision == "bf16" and _BF16_ISA.isdisjoint(host_cpu().isa):
            raise UnsupportedError(f"{self.name} can not run with precision = 'bf16': this CPU has none")
        self._refuse_limit()
        self.precision = precision

    def _refuse_limit(self) -> None:
        if os.environ.get(LIMIT):
            raise UnsupportedError(
                f"{self.name} can not run while {LIMIT} is {os.environ[LIMIT]!r}: unset it, or choose "
                f"{AVX2OpenVINO.name} or {AVX512CoreOpenVINO.name}, which set it themselves"
            )

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        """The base precision and int8, in linear layers also int4 weights; others would run as one of these."""
        base = self.precision
        pairs = {(base, base), ("int8", "int8")}
        return frozenset(pairs | {("int4", base)} if op == "linear" else pairs)

    def machine(self) -> dict[str, Any]:
        """CPU, instruction sets, version of OpenVINO and precision."""
        import openvino

        return {**on_this_cpu("openvino", openvino.__version__), "precision": self.precision}

    def compile_part(self, part: Folded, rng: np.random.Generator) -> Call:
        """A call of one or more blocks; a part in fp32 is not run in less, which matters to comparisons."""
        is_fp32 = any("fp32" in (each.layer.weight_format, each.layer.activation_format) for each in part.layers)
        precision = "fp32" if is_fp32 else self.precision
        model = part_model(part, self.batch, "openvino").SerializeToString()
        return openvino_call(model, self.threads, rng, precision)


class LimitedOpenVINO(HostOpenVINO):
    """OpenVINO on this CPU with no more than some vector instructions, as a lesser CPU would run it.

    The limit (`LIMIT`) is read when OpenVINO is loaded, so that another process measures.
    bf16 is refused: under a limit the hint makes OpenVINO take kernels that the limit forbids.
    """

    max_cpu_isa: ClassVar[str]
    needs: ClassVar[str]

    def __init__(
        self, threads: int = 1, batch: int = 8, rounds: int = _DEFAULT_ROUNDS, precision: str = "fp32"
    ) -> None:
        super().__init__(threads, batch, rounds)
        if precision != "fp32":
            raise UnsupportedError(f"{self.name} can not run with precision = {precision!r}: it has fp32 only")
        if self.needs not in host_cpu().isa:
            raise UnsupportedError(f"{self.name} can not run here: this CPU has no {self.needs}")

    def _refuse_limit(self) -> None:
        """The process that measures gets the device's own limit, whatever is set here."""

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        """fp32 and int8: OpenVINO's kernels for packed weights need more than the limit allows."""
        return super().executable(op) - {("int4", "fp32")}

    def machine(self) -> dict[str, Any]:
        """As for the whole CPU, with the limit."""
        return {**super().machine(), "max_cpu_isa": self.max_cpu_isa}

    def sample(
        self,
        parts: Mapping[str, Part],
        samples: Samples,
        rng: np.random.Generator,
        keep: Callable[[], None] = lambda: None,
        progress: Progress = silent,
    ) -> None:
        """Fill ``samples`` of every part up to the protocol's rounds, in a process of its own.

        Raises:
            MeasuringError: that process failed.
        """
        sample_in_child(self, parts, samples, rng, {LIMIT: self.max_cpu_isa}, keep, progress)


class AVX2OpenVINO(LimitedOpenVINO):
    """As a CPU without AVX-512 would run it."""

    name = "host-openvino-avx2"
    max_cpu_isa = "AVX2"
    needs = "avx2"


class AVX512CoreOpenVINO(LimitedOpenVINO):
    """As a CPU with AVX-512, but without its 8-bit and bf16 products, would run it."""

    name = "host-openvino-avx512-core"
    max_cpu_isa = "AVX512_CORE"
    needs = "avx512bw"


def host_openvino(
    threads: int = 1, batch: int = 8, rounds: int = _DEFAULT_ROUNDS, precision: str = "fp32"
) -> HostOpenVINO:
    """The device; options are those of `HostOpenVINO`."""
    return HostOpenVINO(threads, batch, rounds, precision)


def host_openvino_avx2(threads: int = 1, batch: int = 8, rounds: int = _DEFAULT_ROUNDS) -> AVX2OpenVINO:
    """The device; options are those of `HostOpenVINO`, at fp32."""
    return AVX2OpenVINO(threads, batch, rounds)


def host_openvino_avx512_core(
    threads: int = 1, batch: int = 8, rounds: int = _DEFAULT_ROUNDS
) -> AVX512CoreOpenVINO:
    """The device; options are those of `HostOpenVINO`, at fp32."""
    return AVX512CoreOpenVINO(threads, batch, rounds)
