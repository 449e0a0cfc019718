"""Where a training runs, and in what precision."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import sys
from contextlib import suppress
from typing import Any

import torch

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.training.parallel import share
from bitfront.supernet.training.settings import Precision

_DEVICES = ("cpu", "cuda")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_INT = 2**31 - 1


def device_of(name: str) -> torch.device:
    """The torch device called ``name``; ``auto`` is a GPU where there is one.

    Raises:
        UnsupportedError: there is no such device here, or several processes would train on one GPU.
    """
    if ":" in name and share()[1] > 1:
        raise UnsupportedError(
            f"device {name!r} is one device, and {share()[1]} processes train together, each on its own: "
            "give auto, cpu or cuda"
        )
    if name == "auto":
        return (
            torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        )
    try:
        device: torch.device | None = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in _DEVICES:
        raise UnsupportedError(f"{name!r} is no device that trains: give auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UnsupportedError(
            f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices; give auto or cpu"
        )
    return device


def uses_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether networks run under bf16 autocast."""
    return precision == "bf16" or (precision == "auto" and device.type == "cuda")


def usable_cores() -> int:
    """CPU cores for this process: those it may use, shared with the processes of its machine that train too."""
    may = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, may // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def ran_on(device: torch.device, precision: Precision) -> dict[str, Any]:
    """What a training's roundings depend on beside its settings, JSON-able."""
    try:
        version: str | None = importlib.metadata.version("bitfront")
    except importlib.metadata.PackageNotFoundError:  # a bare machine has the package's files alone
        version = None
    return {
        "precision": "bf16" if uses_bf16(precision, device) else "fp32",
        "device": device.type,
        "threads": torch.get_num_threads(),
        "processes": share()[1],
        "torch": torch.__version__,
        "bitfront": version,
    }


def keep_freed_memory() -> None:
    """Let glibc keep freed activations for the next step instead of handing them back to the system.

    Otherwise every large tensor is new to the process: a tenth of a step on a CPU goes into page faults. A hint:
    elsewhere than on glibc nothing happens. Process-wide.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(_TRIM_THRESHOLD, _LARGEST_INT)
