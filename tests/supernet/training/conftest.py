"""Few images, for trainings that are repeated many times."""

from __future__ import annotations

import dataclasses

import pytest

from bitfront.supernet.data.dataset import Dataset, Split


@pytest.fixture(scope="session")
def few_images(tiny_data: Dataset) -> Dataset:
    """60 images to train on and 20 to look at."""

    def first(split: Split, n: int) -> Split:
        return Split(split.images[:n], split.labels[:n])

    return dataclasses.replace(
        tiny_data, train=first(tiny_data.train, 60), validation=first(tiny_data.validation, 20)
    )
