"""What a result was found with: the code, the versions of what it needs, and the machine."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from bitfront.experiments.benchmarks.tasks import CIFAR10_SUPERNET, cifar10_supernet
from bitfront.experiments.machine import installed_version, this_machine, versions
from bitfront.experiments.results.sources import FOLDERS, sources, sources_digest
from bitfront.supernet.files import read_bytes
from bitfront.supernet.training.trained import MANIFEST

_TASKS = "bitfront.experiments.benchmarks.tasks"
_OPTIONAL = ("openvino",)
_DECISIVE = {"cpu": "CPU", "isa": "set of instructions", "cores": "number of cores", "python": "Python"}
"""Parts of a machine that make another one of it, and their names."""


class Conditions(BaseModel):
    """All that figures depend on but what the benchmark was asked for.

    Attributes:
        sources: digest of the files of bitfront that decide them, see `sources`.
        commit: of the checkout, ``+`` behind it where its code has been changed; None where there is no checkout.
        versions: of bitfront and what it needs.
        machine: as `Machine.to_json` gives it.
        at_hand: what else decides, by name, as a digest: trained supernets that lie beside the data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: str
    commit: str | None
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    at_hand: Mapping[str, str] = Field(default_factory=dict)

    @classmethod
    def here(cls, module: str) -> Self:
        """Those of a benchmark's module that is run now."""
        found = {**versions(), **{name: text for name in _OPTIONAL if (text := installed_version(name))}}
        return cls(
            sources=sources_digest(module),
            commit=_commit(),
            versions=dict(sorted(found.items(), key=lambda each: (each[0] != "bitfront", each[0].lower()))),
            machine=this_machine().to_json(),
            at_hand=_at_hand() if _TASKS in sources(module) else {},
        )

    @property
    def key(self) -> str:
        """16 hexadecimal digits, the same for conditions between which nothing changes that figures depend on."""
        machine = {part: self.machine.get(part) for part in _DECISIVE}
        known = {"sources": self.sources, "versions": dict(self.versions), "machine": machine}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]

    def changes_to(self, now: Conditions) -> Iterator[str]:
        """What is otherwise now, in words, as far as figures depend on it."""
        if self.sources != now.sources:
            yield f"bitfront's code has changed since {self.commit or 'then'}"
        for name in sorted({*self.versions, *now.versions}, key=str.lower):
            there, here = self.versions.get(name, "absent"), now.versions.get(name, "absent")
            if there != here:
                yield f"{name} was {there} and is {here}"
        for part, name in _DECISIVE.items():
            before, after = self.machine.get(part), now.machine.get(part)
            if before != after:
                yield f"the {name} was {_text(before)} and is {_text(after)}"
        for name in sorted({*self.at_hand, *now.at_hand}):
            if self.at_hand.get(name) != now.at_hand.get(name):
                yield f"{name} has come, changed or gone"


def _at_hand() -> dict[str, str]:
    folder = cifar10_supernet()
    return {} if folder is None else {CIFAR10_SUPERNET: hashlib.sha256(read_bytes(folder / MANIFEST)).hexdigest()}


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _commit() -> str | None:
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *(f":(top){name}" for name in FOLDERS))
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str | None:
    """What git says of the checkout that this file is in."""
    command = ("git", "-C", str(Path(__file__).resolve().parent), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
