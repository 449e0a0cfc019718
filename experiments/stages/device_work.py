"""What a worker does on the machine that has a device: it profiles, and measures whole networks.

A profile takes minutes to hours, so that it goes on in a thread while the worker is asked, again and again, how
far it is. What it has kept comes back with each answer: the machine need not see the home of the experiment, and
another worker can go on where this one died.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitfront.experiments.foreign_tables import told_warnings
from bitfront.latency_lut.device import Device, MeasuringDevice
from bitfront.search.executors.base import describe
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.files import write_bytes
from bitfront.supernet.folded import Folded
from bitfront.supernet.space import SearchSpace

_ANSWER_S = 1.0

Files = Mapping[str, bytes | None]
"""Contents by name; None: there was such a file, and there is none now."""


@dataclass(frozen=True)
class Profile:
    """What a profile is of: a device, the part of a space that it executes, and the draws of the plan.

    ``table`` is the name of its table's file, which ends with ``.json``.
    """

    make_device: Callable[[], Device]
    space: SearchSpace
    rng: np.random.Generator
    table: str


@dataclass(frozen=True)
class Progressed:
    """How far a profile is, which files changed since the answer before, and what its user should know.

    ``error`` says why it ended without a table.
    """

    done: int
    total: int
    files: Files
    said: tuple[str, ...]
    has_ended: bool
    error: str | None


def make_profiler(profile: Profile) -> Callable[[Files | None], Progressed | None]:
    """A worker that is told once what is kept (`Files`), and then asked with None; until it is told, it says None.

    Raises:
        UnsupportedError: the device executes fewer formats here than where the space was restricted to it.
    """
    device = profile.make_device()
    if device.restrict(profile.space).size() != profile.space.size():
        raise UnsupportedError(
            f"{device.name} executes fewer formats on the machine that measures than on the one that searches: "
            "launch the experiment on a machine with the same kind of processor"
        )
    return _Profiler(profile, device).answer


class _Profiler:
    def __init__(self, profile: Profile, device: Device) -> None:
        self._profile, self._device = profile, device
        self._place = tempfile.TemporaryDirectory(prefix="bitfront-profile-")
        self._folder = Path(self._place.name)
        self._told: dict[str, bytes] = {}
        self._words: list[str] = []
        self._heard = 0
        self._work = (0, 1)
        self._error: str | None = None
        self._thread: threading.Thread | None = None

    def answer(self, kept: Files | None) -> Progressed | None:
        """See `make_profiler`."""
        if self._thread is None:
            if kept is None:
                return None
            self._begin(kept)
        assert self._thread is not None
        self._thread.join(_ANSWER_S)
        has_ended = not self._thread.is_alive()  # asked before files are read, so that none is missed
        said = tuple(self._words[self._heard :])
        self._heard += len(said)
        changed = self._changed()
        if has_ended:
            self._place.cleanup()  # a worker is killed in the end, so that nobody else would
        return Progressed(*self._work, changed, said, has_ended, self._error if has_ended else None)

    def _begin(self, kept: Files) -> None:
        for name, content in kept.items():
            if content is not None:
                write_bytes(self._folder / name, content)
                self._told[name] = content
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with told_warnings(self._words.append):
                path = self._folder / self._profile.table
                rng = copy.deepcopy(self._profile.rng)  # whoever begins anew begins alike
                self._device.table(self._profile.space, path, rng, self._listen)
        except Exception as error:
            self._error = describe(error)

    def _listen(self, done: int, total: int) -> None:
        self._work = (done, total)

    def _changed(self) -> Files:
        here: dict[str, bytes] = {}
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # the profile goes on meanwhile
                here[path.name] = path.read_bytes()
        gone = dict.fromkeys(self._told.keys() - here.keys())
        fresh = {name: content for name, content in here.items() if self._told.get(name) != content}
        self._told = here
        return {**fresh, **gone}


@dataclass(frozen=True)
class Networks:
    """Networks to measure together, and the draws of their order and inputs."""

    folded: Sequence[Folded]
    rng: np.random.Generator


@dataclass(frozen=True)
class Latencies:
    """Latencies in ms, in the order of the networks, and what their user should know."""

    ms: tuple[float, ...]
    said: tuple[str, ...]


def make_timer(make_device: Callable[[], MeasuringDevice]) -> Callable[[Networks], Latencies]:
    """A worker that measures the latency of whole networks."""
    device = make_device()

    def measured(networks: Networks) -> Latencies:
        words: list[str] = []
        with told_warnings(words.append):
            found = device.measure(networks.folded, networks.rng)
        return Latencies(tuple(found.tolist()), tuple(words))

    return measured
