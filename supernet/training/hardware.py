"""Where a training runs, and in what precision."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

import torch

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.training.settings import Precision

_DEVICES = ("cpu", "cuda")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_INT = 2**31 - 1


def device_of(name: str) -> torch.device:
    """The torch device called ``name``; ``auto`` is a GPU where there is one.

    Raises:
        UnsupportedError: there is no such device here.
    """
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
