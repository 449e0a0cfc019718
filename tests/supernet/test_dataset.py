"""Data sets: what is refused, the hash, normalisation, resizing and augmentation."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import DataError, Dataset, Split, augment, resize
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


def test_hash_is_stable_and_sees_everything() -> None:
    base = _dataset()
    assert _dataset().hash == base.hash
    variants = [
        _dataset(name="e"),
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


# -- resizing and augmentation -----------------------------------------------------------------------------


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


def _drawing(monkeypatch: pytest.MonkeyPatch, angle: float, scale: float, right: float, down: float) -> None:
    """Let the four draws of `augment`, each from -1 to 1, be these for every image."""
    draws = torch.tensor([angle, scale, right, down])

    def rand(rows: int, n: int, generator: torch.Generator) -> torch.Tensor:
        assert rows == 4
        return ((draws + 1) / 2)[:, None].expand(4, n)

    monkeypatch.setattr(torch, "rand", rand)


@pytest.mark.parametrize("size", [8, 12])
def test_no_distortion_is_a_resize(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    _drawing(monkeypatch, 0, 0, 0, 0)
    torch.testing.assert_close(
        augment(images, size, torch.Generator()), resize(images, size), rtol=1e-4, atol=1e-5
    )


def test_the_largest_shift_is_twelve_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 25 pixels that is three whole ones, with the border's value where nothing was."""
    image = torch.rand(1, 1, 25, 25, generator=torch.Generator().manual_seed(1))
    _drawing(monkeypatch, 0, 0, 1, 0)
    expected = torch.cat([image[..., 3:], image[..., -1:].expand(1, 1, 25, 3)], -1)
    torch.testing.assert_close(augment(image, 25, torch.Generator()), expected, rtol=1e-3, atol=1e-4)
    _drawing(monkeypatch, 0, 0, 0, -1)
    expected = torch.cat([image[:, :, :1].expand(1, 1, 3, 25), image[:, :, :-3]], 2)
    torch.testing.assert_close(augment(image, 25, torch.Generator()), expected, rtol=1e-3, atol=1e-4)


def _moments(image: torch.Tensor) -> tuple[float, float]:
    """(angle in degrees, spread) of a bright line through the middle."""
    side = image.shape[-1]
    axis = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    weight = image[0, 0].double()
    xx = float((weight * axis[None] ** 2).sum() / weight.sum())
    yy = float((weight * axis[:, None] ** 2).sum() / weight.sum())
    xy = float((weight * axis[None] * axis[:, None]).sum() / weight.sum())
    return math.degrees(0.5 * math.atan2(2 * xy, xx - yy)), math.sqrt(xx + yy)


@pytest.mark.parametrize("draw", [-1.0, 1.0])
def test_the_largest_rotation_is_twelve_degrees_and_the_largest_scale_ten_percent(
    monkeypatch: pytest.MonkeyPatch, draw: float
) -> None:
    line = torch.zeros(1, 1, 101, 101)
    line[:, :, 49:52, 30:71] = 1.0
    _, spread = _moments(line)
    _drawing(monkeypatch, draw, 0, 0, 0)
    assert abs(_moments(augment(line, 101, torch.Generator()))[0]) == pytest.approx(12, abs=0.3)
    _drawing(monkeypatch, 0, draw, 0, 0)
    angle, scaled = _moments(augment(line, 101, torch.Generator()))
    assert angle == pytest.approx(0, abs=0.1)
    assert scaled == pytest.approx(spread / (1 + 0.1 * draw), rel=0.02)


def test_augmentation_follows_its_generator(images: torch.Tensor) -> None:
    one, again, other = (augment(images, 12, torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert one.shape == (7, 2, 12, 12)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert float(one.min()) >= float(images.min())
    assert float(one.max()) <= float(images.max())


def test_every_image_is_distorted_in_its_own_way(images: torch.Tensor) -> None:
    same = augment(images[:1].expand(5, 2, 8, 8), 8, torch.Generator().manual_seed(0))
    for i in range(1, 5):
        assert not torch.equal(same[0], same[i])


def test_a_larger_rendering_shows_the_same_distortion(images: torch.Tensor) -> None:
    """Students of a lower resolution see what the teacher sees."""
    smooth = F.avg_pool2d(F.interpolate(images, (32, 32), mode="bilinear", align_corners=False), 5, 1, 2)
    large, small = (augment(smooth, size, torch.Generator().manual_seed(3)) for size in (32, 16))
    another = augment(smooth, 16, torch.Generator().manual_seed(4))
    assert float((F.avg_pool2d(large, 2) - small).abs().mean()) < 0.01
    assert float((another - small).abs().mean()) > 0.1


def test_a_split_can_be_replaced() -> None:
    base = _dataset()
    assert dataclasses.replace(base, test=base.train).split("test") is base.train
