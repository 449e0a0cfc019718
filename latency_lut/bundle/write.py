"""Writing what `profile.py` measures: models, a plan, and the script itself."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfront.latency_lut.bundle import profile
from bitfront.latency_lut.profile_plan import profile_plan
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.supernet.errors import StorageError
from bitfront.supernet.export.onnx_graph import part_model
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.files import write_bytes
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace

if TYPE_CHECKING:
    from bitfront.latency_lut.runtime_device import Part, RuntimeDevice

_SCRIPT = "profile.py"
_README = """\
This bundle measures a device for bitfront. On the device, with Python 3.9 or newer:

    pip install numpy {runtime}
    unzip {name} -d bundle
    python bundle/{script}

It may be interrupted and started again. It writes bundle/{results}; take that back and

    bitfront device import {results} --name NAME --space {space}

Close other programs before; it runs on {threads} thread{s}, with {batch} image{p} in a call.
"""


def write_bundle(
    device: RuntimeDevice,
    space: SearchSpace,
    path: Path,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> int:
    """Write a zip file that measures ``space`` on any machine that has ``device``'s runtime, with its settings.

    Returns:
        The number of models in it.

    Raises:
        UnsupportedError: a layer of the space has no formats that the runtime executes.
        StorageError: the file can not be written.
    """
    space = device.restrict(space)
    plan_rng, weights_rng = rng.spawn(2)
    plan = profile_plan(space, unique_blocks(space, device), plan_rng)
    parts = {key: partial(random_folded, chain, weights_rng) for key, chain in plan.items()}
    words = {"space": space.name, "space_hash": space.hash()}
    with tempfile.TemporaryDirectory() as folder:
        write_plan(Path(folder), device, parts, int(rng.integers(2**31)), words, {}, progress)
        script = Path(profile.__file__).read_text()
        Path(folder, _SCRIPT).write_text(script)
        Path(folder, "README.txt").write_text(_readme(device, space, path))
        write_bytes(path, _zipped(Path(folder)))
    return len(plan)


def write_plan(
    folder: Path,
    device: RuntimeDevice,
    parts: Mapping[str, Part],
    seed: int,
    provenance: Mapping[str, Any],
    samples: profile.Samples,
    progress: Progress = silent,
) -> None:
    """Write the models of ``parts`` (by call key) and the plan that `profile.main` reads.

    ``samples`` are those that are there already.

    Raises:
        StorageError: the folder's disk is full.
    """
    runtime = device.machine()["runtime"]
    calls = [{"key": key, "model": f"models/{i:05}.onnx"} for i, key in enumerate(parts)]
    with _room_for_models(folder):
        (folder / "models").mkdir(parents=True, exist_ok=True)
        for i, call in enumerate(calls):
            model = part_model(parts[call["key"]](), device.batch, runtime)
            (folder / call["model"]).write_bytes(model.SerializeToString())
            progress(i + 1, len(calls))
        plan = _plan(device, calls, seed, provenance, {key: samples[key] for key in parts if key in samples})
        (folder / profile.PLAN).write_text(json.dumps(plan))


@contextmanager
def _room_for_models(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"can not write the models into {folder}: {error.strerror or error}. Free space there, or set TMPDIR"
        ) from error


def _plan(
    device: RuntimeDevice,
    calls: Sequence[Mapping[str, str]],
    seed: int,
    provenance: Mapping[str, Any],
    samples: profile.Samples,
) -> dict[str, Any]:
    machine = device.machine()
    settings = {"threads": device.threads, "batch": device.batch, "rounds": device.protocol.rounds}
    if "precision" in machine:
        settings["precision"] = machine["precision"]
    return {
        "runtime": machine["runtime"],
        "seed": seed,
        "protocol": vars(device.protocol),
        "provenance": {**provenance, **settings},
        "calls": calls,
        "samples": samples,
    }


def _zipped(folder: Path) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return data.getvalue()


def _readme(device: RuntimeDevice, space: SearchSpace, path: Path) -> str:
    return _README.format(
        runtime=device.machine()["runtime"],
        name=path.name,
        script=_SCRIPT,
        results=profile.RESULTS,
        space=space.name,
        threads=device.threads,
        batch=device.batch,
        s="s" * (device.threads != 1),
        p="s" * (device.batch != 1),
    )
