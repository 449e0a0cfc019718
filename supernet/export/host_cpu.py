"""Which CPU this is, as far as it decides how fast and how exactly integer kernels run."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_MODEL_FIELDS = ("model name", "Model", "Hardware")
_FLAG_FIELDS = ("flags", "Features")
_FLAGS_THAT_MATTER = (
    "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx_vnni", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
_EXACT_FLAGS = {"avx_vnni", "avx512_vnni"}


@dataclass(frozen=True, slots=True)
class HostCPU:
    """``isa``: the vector instruction sets it has, empty where the system does not tell."""

    model: str
    isa: tuple[str, ...]

    @property
    def sums_8bit_products_exactly(self) -> bool:
        """False where unsigned times signed 8-bit products are added in pairs in 16 bits, which saturates."""
        is_x86 = platform.machine() in ("x86_64", "AMD64")
        return not is_x86 or not _EXACT_FLAGS.isdisjoint(self.isa)


@cache
def host_cpu() -> HostCPU:
    """The CPU of this machine."""
    if not _CPUINFO.is_file():
        return HostCPU(platform.processor() or platform.machine(), ())
    return parse_cpuinfo(_CPUINFO.read_text())


def parse_cpuinfo(text: str) -> HostCPU:
    """Read the first processor of Linux's ``/proc/cpuinfo``."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    model = next((fields[name] for name in _MODEL_FIELDS if fields.get(name)), platform.machine())
    flags = {flag for name in _FLAG_FIELDS for flag in fields.get(name, "").split()}
    return HostCPU(model, tuple(flag for flag in _FLAGS_THAT_MATTER if flag in flags))
