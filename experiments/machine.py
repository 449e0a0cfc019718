"""What this machine is, as far as figures depend on it."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

_MEMINFO = Path("/proc/meminfo")
_DISTRIBUTION = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Machine:
    """``cores`` are those this process may use; ``memory_bytes`` is None where the system does not tell."""

    system: str
    python: str
    cpu: str
    isa: tuple[str, ...]
    cores: int
    memory_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "isa": list(self.isa)}


def this_machine() -> Machine:
    """The machine this process runs on."""
    from bitfront.supernet.export.host_cpu import host_cpu

    cpu = host_cpu()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cpu=cpu.model,
        isa=cpu.isa,
        cores=usable_cores(),
        memory_bytes=memory_bytes("MemTotal"),
    )


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes(field: str, meminfo: Path = _MEMINFO) -> int | None:
    """A field of Linux's ``/proc/meminfo``, such as ``MemTotal``; None where there is none."""
    if not meminfo.is_file():
        return None
    found = re.search(rf"^{field}:\s*(\d+) kB$", meminfo.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def dependencies() -> list[str]:
    """The distributions that bitfront needs, by its own metadata, without optional ones."""
    needed = [line for line in requires("bitfront") or [] if "extra ==" not in line]
    return sorted((_name(line) for line in needed), key=str.lower)


def installed_version(distribution: str) -> str | None:
    """The version that is installed, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of bitfront and of what it needs; a distribution that is missing is left out."""
    found = {name: installed_version(name) for name in ["bitfront", *dependencies()]}
    return {name: text for name, text in found.items() if text is not None}


def _name(requirement: str) -> str:
    found = _DISTRIBUTION.match(requirement)
    if found is None:
        raise ValueError(f"bitfront's metadata holds {requirement!r}, which names no distribution")
    return found[0]
