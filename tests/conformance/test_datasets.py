"""What every data set must do: runs over everything registered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitfront.supernet.data import DATASETS
from bitfront.supernet.data.augment import augment
from bitfront.supernet.data.dataset import DataError, Dataset

SPLITS = ("train", "validation", "test")


@pytest.fixture(params=DATASETS.names(), scope="module")
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def dataset(name: str) -> Dataset:
    try:
        return DATASETS.get(name)()
    except DataError as error:
        if "is not in" not in str(error):
            raise
        pytest.skip(str(error))


class TestEveryDataset:
    def test_goes_by_its_registry_name_and_is_always_the_same(self, name: str, dataset: Dataset) -> None:
        assert dataset.name == name
        assert DATASETS.get(name)().hash == dataset.hash

    def test_no_image_is_in_two_splits(self, dataset: Dataset) -> None:
        seen: set[bytes] = set()
        for split in SPLITS:
            images = {image.tobytes() for image in dataset.split(split).images}
            assert not images & seen
            seen |= images

    def test_every_split_has_every_class_in_like_shares(self, dataset: Dataset) -> None:
        whole = np.concatenate([dataset.split(split).labels for split in SPLITS])
        shares = np.bincount(whole, minlength=dataset.classes) / len(whole)
        assert len(shares) == dataset.classes
        for split in SPLITS:
            labels = dataset.split(split).labels
            counts = np.bincount(labels, minlength=dataset.classes)
            assert counts.min() > 0
            np.testing.assert_allclose(counts, shares * len(labels), atol=2)

    def test_training_pixels_are_normalised(self, dataset: Dataset) -> None:
        sums = torch.zeros(2, dataset.channels, dtype=torch.float64)
        for first in range(0, len(dataset.train), 1024):
            images = dataset.tensor(dataset.train.images[first : first + 1024])
            assert images.dtype == torch.float32
            assert images.shape[1:] == dataset.train.images.shape[1:]
            sums += torch.stack([(images.double() ** power).sum((0, 2, 3)) for power in (1, 2)])
        mean, square = sums * dataset.channels / dataset.train.images.size
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-4, rtol=0)
        torch.testing.assert_close(square - mean**2, torch.ones_like(mean), atol=1e-3, rtol=0)

    def test_its_augmentation_can_be_applied(self, dataset: Dataset) -> None:
        images = dataset.tensor(dataset.train.images[:64])
        size = images.shape[-1]
        varied = augment(images, size, dataset.augmentation, torch.Generator().manual_seed(0))
        assert varied.shape == images.shape
        assert (varied != images).flatten(1).any(1).float().mean() > 0.5

    def test_splits_are_shuffled(self, dataset: Dataset) -> None:
        """Batches cut off in order must not hold one class only."""
        for split in SPLITS:
            assert len(np.unique(dataset.split(split).labels[:50])) > 1
