"""A folder with a trained supernet: weights, what they are of, and how they came to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.files import load_tensors, read_json, save_tensors, write_json
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.training.report import EpochReport

WEIGHTS = "supernet.safetensors"
MANIFEST = "manifest.json"


def write_trained(folder: Path, supernet: Supernet, manifest: Mapping[str, Any]) -> None:
    """Write weights and manifest; the manifest also travels in the header of the weights.

    Raises:
        StorageError: the folder can not be written.
    """
    save_tensors(folder / WEIGHTS, supernet.state_dict(), manifest)
    write_json(folder / MANIFEST, manifest)


def manifest_of(
    space: SearchSpace, dataset: Dataset, seed: int, training: Mapping[str, Any], reports: list[EpochReport]
) -> dict[str, Any]:
    """What weights are of: names and hashes of space and data, seed, settings, and what epochs reported."""
    return {
        "space": space.name,
        "space_hash": space.hash(),
        "data": dataset.name,
        "data_hash": dataset.hash,
        "seed": seed,
        "training": dict(training),
        "history": [dataclasses.asdict(report) for report in reports],
    }


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
