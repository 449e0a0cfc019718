"""Data that searches are compared on, each with a supernet that is trained already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitfront.supernet.data.places import data_folders
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.files import read_json
from bitfront.supernet.training.trained import MANIFEST

CIFAR10_SUPERNET = "cifar10-supernet"
"""The folder beside data that the recipe for CIFAR-10 fills."""
_DATA = "cifar10"


@dataclass(frozen=True)
class Task:
    """Data and a supernet.

    Attributes:
        name: as figures' names have it.
        sections: of a spec, in place of those of `studied_spec`.
    """

    name: str
    sections: Mapping[str, Any] = field(default_factory=dict)


def cifar10_supernet() -> Path | None:
    """The folder with a trained supernet of CIFAR-10 that lies where data is looked for."""
    folders = (place / CIFAR10_SUPERNET for place in data_folders())
    return next((folder for folder in folders if (folder / MANIFEST).is_file()), None)


def tasks(quick: bool) -> list[Task]:
    """Fashion-MNIST, and CIFAR-10 where its trained supernet is at hand; ``quick``: digits.

    Raises:
        UnsupportedError: what is at hand is a supernet of other data.
        CorruptFileError: it can not be read.
    """
    if quick:
        return [Task("digits")]
    folder = cifar10_supernet()
    return [Task("fashion"), *([] if folder is None else [_cifar10(folder)])]


def words(found: list[Task]) -> str:
    """What people need to know of CIFAR-10."""
    if any(task.sections for task in found):
        return f"CIFAR-10 has the supernet of the folder {CIFAR10_SUPERNET} beside the data."
    return (
        "Nothing is said of CIFAR-10: its supernet takes a GPU to train (experiments/recipes), and no folder "
        f"{CIFAR10_SUPERNET} with one lies where data is looked for."
    )


def _cifar10(folder: Path) -> Task:
    manifest = read_json(folder / MANIFEST)
    space, data = (manifest.get(name) if isinstance(manifest, dict) else None for name in ("space", "data"))
    if data != _DATA or not isinstance(space, str):
        raise UnsupportedError(
            f"{folder} holds a supernet of space {space!r} and data {data!r}: put one of data {_DATA!r} there, "
            "or none"
        )
    return Task(_DATA, {"space": space, "data": _DATA, "supernet": {"weights": str(folder)}})
