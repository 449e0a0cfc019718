"""What is here, and whether it is all that bitfront needs."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bitfront.experiments.device_places import imported_names
from bitfront.experiments.machine import dependencies, installed_version, memory_bytes, this_machine
from bitfront.supernet.errors import BitfrontError, UnsupportedError
from bitfront.supernet.progress import Progress
from bitfront.supernet.registry import Registry

if TYPE_CHECKING:
    from bitfront.latency_lut.device import Device

State = Literal["fine", "doubtful", "broken"]

_GIB = 2**30
_LEAST_FREE = 1 * _GIB
_LEAST_MEMORY = 2 * _GIB
_MODULES = {
    "scikit-learn": "sklearn",
    "Pillow": "PIL",
    "PyYAML": "yaml",
    "SQLAlchemy": "sqlalchemy",
    "protobuf": "google.protobuf",
}
_REGISTRIES = (
    "bitfront.supernet.spaces:SPACES",
    "bitfront.supernet.data:DATASETS",
    "bitfront.supernet.data.readers:READERS",
    "bitfront.supernet.quantization.formats:FORMATS",
    "bitfront.predictors:PREDICTORS",
    "bitfront.latency_lut.devices:DEVICES",
    "bitfront.search.strategies:STRATEGIES",
    "bitfront.search.executors:EXECUTORS",
    "bitfront.experiments.benchmarks:BENCHMARKS",
)
_DEVICES = "bitfront.latency_lut.devices:DEVICES"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``broken`` things are needed; ``value`` then says what is wrong."""

    group: str
    name: str
    value: str
    state: State = "fine"


Look = Callable[[], Iterator[Check]]


def checks(home: Path, progress: Progress) -> Iterator[Check]:
    """Look at everything; nothing that is wrong with it ends the looking."""
    looks = _looks(home)
    for done, (group, name, look) in enumerate(looks):
        progress(done, len(looks))
        try:
            yield from look()
        except Exception as error:  # the point of a doctor: whatever it is, it is told
            yield Check(group, name, f"{type(error).__name__}: {error}", "broken")
    progress(len(looks), len(looks))


def _looks(home: Path) -> list[tuple[str, str, Look]]:
    from bitfront.experiments.doctor_service import LOOKS

    found: list[tuple[str, str, Look]] = [
        ("machine", "machine", _machine),
        ("machine", "accelerator", _accelerator),
        ("home", "folder", partial(_folder, home)),
        ("home", "store", partial(_store, home)),
    ]
    found += [("service", name, partial(look, home)) for name, look in LOOKS.items()]
    found += [("dependencies", name, partial(_dependency, name)) for name in dependencies()]
    for target in _REGISTRIES:
        kind = target.rpartition(":")[2].lower()
        found.append(("names", kind, partial(_names, kind, target)))
    found += [("devices", name, partial(_device, home, name)) for name in _device_names(home)]
    return found


def _device_names(home: Path) -> list[str]:
    """Registered and imported ones."""
    return sorted({*_registry(_DEVICES).names(), *imported_names(home)})


def _machine() -> Iterator[Check]:
    machine = this_machine()
    yield Check("machine", "system", machine.system)
    yield Check("machine", "Python", machine.python)
    yield Check("machine", "CPU", machine.cpu)
    yield Check("machine", "vector instructions", " ".join(machine.isa) or "not told by the system")
    yield Check("machine", "cores", f"{machine.cores} usable of {os.cpu_count()}")
    free = memory_bytes("MemAvailable")
    if machine.memory_bytes is None or free is None:
        yield Check("machine", "memory", "not told by the system")
    else:
        state: State = "doubtful" if free < _LEAST_MEMORY else "fine"
        yield Check("machine", "memory", f"{_gib(free)} available of {_gib(machine.memory_bytes)}", state)


def _accelerator() -> Iterator[Check]:
    import torch

    there = torch.cuda.is_available()
    yield Check("machine", "accelerator", torch.cuda.get_device_name() if there else "none, the CPU does all work")


def _folder(home: Path) -> Iterator[Check]:
    if home.exists() and not home.is_dir():
        yield Check("home", "folder", f"{home} is no folder: choose one with --home or BITFRONT_HOME", "broken")
        return
    existing = next(folder for folder in (home, *home.parents) if folder.is_dir())
    with tempfile.TemporaryFile(dir=existing):
        yield Check("home", "folder", f"{home}{'' if home.is_dir() else ' (made by the first run)'}")
    free = shutil.disk_usage(existing).free
    yield Check("home", "disk", f"{_gib(free)} free", "doubtful" if free < _LEAST_FREE else "fine")


def _store(home: Path) -> Iterator[Check]:
    from bitfront.experiments.store.home import open_store
    from bitfront.experiments.store.migrate import HEAD

    if not home.is_dir():
        yield Check("home", "store", "none yet")
        return
    with open_store(home) as store:
        store.list_experiments(limit=1)
    yield Check("home", "store", f"answers, at migration {HEAD}")


def _dependency(name: str) -> Iterator[Check]:
    version = installed_version(name)
    if version is None:
        yield Check("dependencies", name, f"not installed: pip install {name}", "broken")
        return
    importlib.import_module(_MODULES.get(name, name.lower().replace("-", "_")))
    yield Check("dependencies", name, version)


def _names(kind: str, target: str) -> Iterator[Check]:
    registry = _registry(target)
    broken = []
    for name in registry.names():
        try:
            registry.get(name)
        except Exception as error:  # a third party's module may raise anything
            broken.append(f"{name} can not be loaded ({type(error).__name__}: {error})")
    if broken:
        yield Check("names", kind, "; ".join(broken), "broken")
    else:
        yield Check("names", kind, ", ".join(registry.names()) or "none")


def _device(home: Path, name: str) -> Iterator[Check]:
    """What a device executes, and where it is at hand, what that gains on one layer of each kind."""
    from bitfront.experiments.device_names import default_options, device_factory, needed_options

    factory = device_factory(home, name)
    if missing := needed_options(factory):
        yield Check("devices", name, f"needs options: {', '.join(missing)}")
        return
    try:
        yield from _seen(name, factory())
    except BitfrontError as error:  # its runtime is not installed, its imported table is damaged, it fails to run
        yield Check("devices", name, str(error), "doubtful")
        return
    if "precision" in default_options(factory):
        with contextlib.suppress(UnsupportedError):  # the CPU has none
            yield from _seen(f"{name} precision=bf16", factory(precision="bf16"))


def _seen(name: str, device: Device) -> Iterator[Check]:
    import numpy as np

    from bitfront.experiments.device_facts import formats
    from bitfront.experiments.device_names import kind_of
    from bitfront.experiments.device_words import formats_in_words, gains_in_words, kind_in_words
    from bitfront.latency_lut.runtime_device import RuntimeDevice

    yield Check("devices", name, f"{kind_in_words(kind_of(device))}; {formats_in_words(formats(device))}")
    if isinstance(device, RuntimeDevice):
        gains = gains_in_words(device.layer_gains(np.random.default_rng(0)))
        yield Check("devices", f"{name} gains", f"one layer, measured now, beside its fp32: {gains}")


def _registry(target: str) -> Registry[Any]:
    module, _, attribute = target.partition(":")
    registry: Registry[Any] = getattr(importlib.import_module(module), attribute)
    return registry


def _gib(size: int) -> str:
    return f"{size / _GIB:,.1f} GiB"
