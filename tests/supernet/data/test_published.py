"""Published sets: what is known of them, and what is said where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitfront.supernet.data import load_dataset
from bitfront.supernet.data.dataset import DataError, Dataset
from bitfront.supernet.data.places import data_folders


def _here(name: str) -> Dataset:
    try:
        return load_dataset(name)
    except DataError as error:
        if "is not in" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def cache() -> None:
    """The test run's cache in place of one for each test, as these sets are large."""


def test_fashion_mnist() -> None:
    data = _here("fashion_mnist")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [55_000, 5_000, 10_000]
    assert data.train.images.shape[1:] == (1, 28, 28)
    assert data.class_names[9] == "Ankle boot"
    # Of all 60,000 published training images the mean is 0.2860 and the standard deviation 0.3530.
    assert data.mean[0] == pytest.approx(0.2860, abs=5e-4)
    assert data.std[0] == pytest.approx(0.3530, abs=5e-4)
    assert np.bincount(data.validation.labels).tolist() == [500] * 10


@pytest.mark.slow
def test_cifar10() -> None:
    data = _here("cifar10")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [45_000, 5_000, 10_000]
    assert data.train.images.shape[1:] == (3, 32, 32)
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    # Of all 50,000 published training images: 0.4914, 0.4822, 0.4465 and 0.2470, 0.2435, 0.2616.
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-3)
    assert data.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=3e-3)
    assert np.bincount(data.validation.labels).tolist() == [500] * 10


@pytest.mark.parametrize(
    ("name", "fix"),
    [("cifar10", "put an archive of train"), ("fashion_mnist", "apt-get install dataset-fashion-mnist")],
)
def test_what_is_not_here_says_how_to_get_it(
    name: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setenv("BITFRONT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=rf"is not in {tmp_path}.*{fix}.*set BITFRONT_DATA"):
        load_dataset(name)


def test_where_sets_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONT_DATA", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "usual"))
    assert data_folders()[0] == tmp_path / "own"
    assert data_folders()[-1] == tmp_path / "usual" / "bitfront"
    monkeypatch.delenv("BITFRONT_DATA")
    assert tmp_path / "own" not in data_folders()
