"""Data sets: what is refused, the hash, normalisation, resizing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import DataError, Dataset, Split, resize
from bitfront.supernet.data.digits import digits
from bitfront.supernet.errors import UnknownNameError


def _split(n: int = 6, channels: int = 2, size: int = 4, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, channels, size, size), dtype=np.uint8)
    return Split(images, rng.integers(0, 3, n).astype(np.int64))


def _dataset(**changes: Any) -> Dataset:
    fields: dict[str, Any] = {
        "name": "d",
        "class_names": ("a", "b", "c"),
        "train": _split(seed=0),
        "validation": _split(4, seed=1),
        "test": _split(5, seed=2),
        "mean": (0.5, 0.4),
        "std": (0.2, 0.3),
    }
    return Dataset(**(fields | changes))


# -- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        ((3, 4, 4), (3,), r"\(3, 4, 4\).*expected \(n, channels, size, size\)"),
        ((3, 1, 4, 4), (2,), r"\(3, 1, 4, 4\) and labels of shape \(2,\) do not fit"),
        ((3, 1, 4, 4), (3, 1), r"labels of shape \(3, 1\)"),
        ((0, 1, 4, 4), (0,), "with n > 0"),
        ((3, 1, 4, 5), (3,), "not square: crop or pad"),
    ],
)
def test_shapes_that_do_not_fit(images: tuple[int, ...], labels: tuple[int, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Split(np.zeros(images, dtype=np.uint8), np.zeros(labels, dtype=np.int64))


def test_types_that_do_not_fit() -> None:
    images, labels = np.zeros((2, 1, 4, 4)), np.zeros(2)
    with pytest.raises(DataError, match="images are float64 and labels are int64: convert pixels to uint8"):
        Split(images, labels.astype(np.int64))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"labels are float64: .* labels to int64"):
        Split(images.astype(np.uint8), labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["train", "validation", "test"])
@pytest.mark.parametrize("label", [-1, 3])
def test_labels_that_are_no_class(name: str, label: int) -> None:
    labels = np.array([0, 1, 2, label], dtype=np.int64)
    wrong = Split(_split(4).images, labels)
    with pytest.raises(DataError, match=f"label {label} of {name} image 3 is none of the 3 classes.*from 0 to 2"):
        _dataset(**{name: wrong})


@pytest.mark.parametrize("wrong", [_split(channels=1), _split(size=8)])
def test_splits_of_unlike_images(wrong: Split) -> None:
    with pytest.raises(DataError, match=r"test images are .* training images \(2, 4, 4\)"):
        _dataset(test=wrong)


@pytest.mark.parametrize(
    "changes", [{"mean": (0.5,)}, {"std": (0.2, 0.2, 0.2)}, {"std": (0.2, 0.0)}, {"std": (math.nan, 0.2)}]
)
def test_a_normalisation_that_does_not_fit(changes: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(DataError, match=r"one value for each of 2 channels.*greater than 0"):
        _dataset(**changes)


def test_an_unknown_split() -> None:
    assert len(_dataset().split("validation")) == 4
    with pytest.raises(UnknownNameError, match="did you mean 'train'"):
        _dataset().split("training")


# -- what it holds -----------------------------------------------------------------------------------------


def test_tensor_normalises_every_channel() -> None:
    data = _dataset()
    tensor = data.tensor(data.train.images)
    expected = (data.train.images / 255 - np.reshape([0.5, 0.4], (2, 1, 1))) / np.reshape([0.2, 0.3], (2, 1, 1))
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert (data.classes, data.channels) == (3, 2)


def _changed(split: Split, what: str) -> Split:
    images, labels = split.images.copy(), split.labels.copy()
    if what == "pixel":
        images[2, 1, 3, 3] ^= 1
    else:
        labels[2] = (labels[2] + 1) % 3
    return Split(images, labels)


def test_hash_is_stable_and_sees_all_content() -> None:
    base = _dataset()
    assert _dataset().hash == base.hash
    assert _dataset(name="e").hash == base.hash
    variants = [
        _dataset(class_names=("a", "b", "x")),
        _dataset(mean=(0.5, 0.41)),
        _dataset(std=(0.2, 0.31)),
        _dataset(validation=base.test, test=base.validation),
    ]
    for name in ("train", "validation", "test"):
        variants += [_dataset(**{name: _changed(base.split(name), what)}) for what in ("pixel", "label")]
    assert len({base.hash, *(variant.hash for variant in variants)}) == 1 + len(variants)


def test_digits_are_all_images_of_scikit_learn_once() -> None:
    from sklearn.datasets import load_digits

    raw, data = load_digits(), digits()
    expected = sorted(
        (int(label), np.round(image / 16 * 255).astype(np.uint8).tobytes())
        for image, label in zip(raw.images, raw.target, strict=True)
    )
    splits = (data.train, data.validation, data.test)
    found = sorted(
        (int(label), image.tobytes())
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    )
    assert len(found) == 1797
    assert found == expected
    assert len(data.test) == pytest.approx(0.2 * 1797, abs=10)


# -- resizing ---------------------------------------------------------------------------------------------


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(7, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def _bilinear(image: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Bilinear resize of (h, w) with pixel centres at half-integers, borders repeated."""
    n = len(image)
    positions = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    low = np.minimum(positions.astype(int), n - 2)
    weight = positions - low
    rows = image[low] * (1 - weight)[:, None] + image[low + 1] * weight[:, None]
    result: NDArray[np.float64] = rows[:, low] * (1 - weight) + rows[:, low + 1] * weight
    return result


@pytest.mark.parametrize("size", [4, 6, 8, 12, 16])
def test_resize_is_bilinear(images: torch.Tensor, size: int) -> None:
    resized = resize(images, size)
    assert resized.shape == (7, 2, size, size)
    for image, result in zip(images.reshape(-1, 8, 8), resized.reshape(-1, size, size), strict=True):
        np.testing.assert_allclose(result.numpy(), _bilinear(image.double().numpy(), size), atol=1e-5)


def test_resize_to_the_same_size_is_the_same(images: torch.Tensor) -> None:
    assert torch.equal(resize(images, 8), images)


def test_a_split_can_be_replaced() -> None:
    base = _dataset()
    assert dataclasses.replace(base, test=base.train).split("test") is base.train
