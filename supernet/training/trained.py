"""A folder with a trained supernet: weights, what they are of, and how they came to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.files import load_tensors, read_json, save_tensors, write_json
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.training.report import EpochReport
from bitfront.supernet.training.settings import TrainingSettings

WEIGHTS = "supernet.safetensors"
MANIFEST = "manifest.json"
_LONGEST, _SHOWN = 40, 13


def write_trained(folder: Path, supernet: Supernet, manifest: Mapping[str, Any]) -> None:
    """Write weights and manifest; the manifest also travels in the header of the weights.

    Raises:
        StorageError: the folder can not be written.
    """
    save_tensors(folder / WEIGHTS, supernet.state_dict(), manifest)
    write_json(folder / MANIFEST, manifest)


def manifest_of(identity: Mapping[str, Any], ran: Mapping[str, Any], reports: list[EpochReport]) -> dict[str, Any]:
    """What weights are of (see `identity_of`), on what they were trained, and what epochs reported."""
    return {**identity, "ran": dict(ran), "history": [dataclasses.asdict(report) for report in reports]}


def identity_of(space: SearchSpace, dataset: Dataset, seed: int, settings: TrainingSettings) -> dict[str, Any]:
    """What makes a training this very one, JSON-able: space, data, and how they are trained."""
    return {
        "space": space.name,
        "space_hash": space.hash(),
        "data": dataset.name,
        "data_hash": dataset.hash,
        "augmentation": dataclasses.asdict(dataset.augmentation),
        "seed": seed,
        "training": dataclasses.asdict(settings),
    }


def unlike(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Every field of ``wanted`` that is another in ``found``, with both values, for people."""
    theirs, ours = dict(_flat(found)), dict(_flat(wanted))
    return [
        f"{name} was {_short(theirs.get(name))} and is {_short(value)}"
        for name, value in ours.items()
        if theirs.get(name) != value
    ]


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def _short(value: Any) -> str:
    """Hashes are told apart by their beginnings."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_SHOWN]}...'"


def load_weights(supernet: Supernet, folder: Path) -> dict[str, Any]:
    """Put trained weights in place; returns their manifest.

    Raises:
        MissingFileError: there are none.
        CorruptFileError: they are damaged, or another space's.
    """
    tensors, manifest = load_tensors(folder / WEIGHTS)
    _put(supernet, tensors, folder)
    return manifest


def _put(supernet: Supernet, tensors: dict[str, Tensor], folder: Path) -> None:
    try:
        supernet.load_state_dict(tensors)
    except RuntimeError as error:
        raise CorruptFileError(
            f"{folder / WEIGHTS} holds weights of another network: delete {folder} to train again"
        ) from error


def check_fits(folder: Path, space: SearchSpace, dataset: Dataset) -> dict[str, Any]:
    """The manifest in a folder, if its weights are of this space and this data.

    Raises:
        MissingFileError, CorruptFileError: there is none, or it can not be read.
        UnsupportedError: they are of another space or other data.
    """
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    for what, name, ours in (("space", space.name, space.hash()), ("data", dataset.name, dataset.hash)):
        if manifest.get(f"{what}_hash") != ours:
            raise UnsupportedError(
                f"{folder} holds a supernet of {what} {manifest.get(what)!r}, and not of this {name!r} "
                f"({str(manifest.get(f'{what}_hash'))[:12]} is not {ours[:12]}): give that {what}, or train"
            )
    return manifest
