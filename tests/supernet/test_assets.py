"""The supernets that come with bitfront: whole, small, of a space that exists, and as accurate as they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bitfront.supernet.assets as assets
from bitfront.supernet.data import load_dataset
from bitfront.supernet.data.dataset import DataError, Dataset
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.files import load_tensors, read_json
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.settings import load_space
from bitfront.supernet.training.sampling import real
from bitfront.supernet.training.trained import MANIFEST, WEIGHTS, load_weights

FOLDERS = sorted(path.parent for path in Path(assets.__file__).parent.glob(f"*/{MANIFEST}"))
_LARGEST_BYTES = 10_000_000


def test_there_is_one_for_fashion_mnist() -> None:
    assert "fashion" in {folder.name for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_weights_are_those_of_the_space_as_it_is_now(folder: Path) -> None:
    manifest = read_json(folder / MANIFEST)
    assert load_tensors(folder / WEIGHTS)[1] == manifest
    space = load_space(manifest["space"])
    assert space.hash() == manifest["space_hash"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < _LARGEST_BYTES
    load_weights(Supernet(space), folder)
    assert len(manifest["history"]) == manifest["history"][-1]["epochs"]


@pytest.fixture(scope="module")
def fashion_mnist() -> Dataset:
    try:
        return load_dataset("fashion_mnist")
    except DataError as error:
        pytest.skip(str(error))


def test_fashion_mnist_begins_with_them(fashion_mnist: Dataset) -> None:
    folder = assets.shipped(load_space("fashion").hash(), fashion_mnist.hash)
    assert folder is not None
    assert assets.shipped(load_space("fashion").hash(), "0" * 64) is None
    supernet = Supernet(load_space("fashion"))
    load_weights(supernet, folder)
    space = supernet.space
    smallest, largest = real(space, space.extremes())
    int4 = space.assign(
        space.assign(largest[None], {"weight_format": "int8", "activation_format": "int8"}),
        {"weight_format": "int4", "activation_format": "int4"},
    )[0]
    found = Evaluator(supernet, fashion_mnist).evaluate(np.stack([smallest, largest, int4]))
    top1 = [measured.top1 for measured in found]
    assert top1[0] > 0.88
    assert top1[1] > 0.92
    assert top1[2] > top1[1] - 0.025
