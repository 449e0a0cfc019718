"""Measuring in a process of its own: some settings of a runtime are read once, when it is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bitfront.latency_lut.bundle import profile
from bitfront.latency_lut.bundle.write import write_plan
from bitfront.supernet.errors import MeasuringError
from bitfront.supernet.progress import Progress

if TYPE_CHECKING:
    from bitfront.latency_lut.runtime_device import Part, RuntimeDevice

_TOLD = 2000  # characters of what a failed process said


def sample_in_child(
    device: RuntimeDevice,
    parts: Mapping[str, Part],
    samples: profile.Samples,
    rng: np.random.Generator,
    environment: Mapping[str, str],
    keep: Callable[[], None],
    progress: Progress,
) -> None:
    """Fill ``samples`` as `RuntimeDevice.sample` does, by `profile.main` in a process with ``environment`` added.

    Raises:
        MeasuringError: the process failed; what it measured before is in ``samples``.
    """
    missing = {key: part for key, part in parts.items() if len(samples.get(key, ())) < device.protocol.rounds}
    if not missing:
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_plan(folder, device, missing, int(rng.integers(2**31)), {}, samples)

        def take(done: int, total: int) -> None:
            if _take(folder, samples):
                keep()
            progress(done, total)

        failed = _run(folder, environment, take)
        _take(folder, samples)
    if failed is not None:
        raise MeasuringError(f"{device.name} failed while it measured {len(missing)} models: {failed[-_TOLD:]}")


def _run(folder: Path, environment: Mapping[str, str], told: Progress) -> str | None:
    """What the process said, if it failed."""
    command = [sys.executable, profile.__file__, str(folder), "--lines"]
    with (
        (folder / "errors.txt").open("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **environment}, text=True
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                first, *numbers = line.split() or [""]
                if first == profile.PROGRESS:
                    done, total = map(int, numbers)
                    told(done, total)
        except BaseException:
            process.kill()
            raise
        if process.wait() == 0:
            return None
        errors.seek(0)
        return errors.read().strip() or f"exit code {process.returncode}"


def _take(folder: Path, samples: profile.Samples) -> bool:
    """Take over what the process has kept; whether there was more than before."""
    path = folder / profile.SAMPLES
    if not path.is_file():
        return False
    found: profile.Samples = json.loads(path.read_text())["samples"]
    more = {key: values for key, values in found.items() if len(values) > len(samples.get(key, ()))}
    samples.update(more)
    return bool(more)
