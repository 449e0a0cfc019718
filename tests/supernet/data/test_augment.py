"""Augmentation: each part against a slow reference, image by image, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.supernet.data.augment import (
    DRAWN,
    NONE,
    Augmentation,
    AugmentationError,
    augment,
    crop_flip,
    cutout,
    mixup,
)
from bitfront.supernet.data.resize import resize


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(7, 2, 8, 8, generator=torch.Generator().manual_seed(0))


# -- rotation, scale, shift --------------------------------------------------------------------------------


def _drawing(monkeypatch: pytest.MonkeyPatch, angle: float, scale: float, right: float, down: float) -> None:
    """Let the four draws of `augment`, each from -1 to 1, be these for every image."""
    draws = torch.tensor([angle, scale, right, down])

    def rand(rows: int, n: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
        assert rows == 4
        return ((draws + 1) / 2)[:, None].expand(4, n)

    monkeypatch.setattr(torch, "rand", rand)


@pytest.mark.parametrize("size", [8, 12])
def test_no_distortion_is_a_resize(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    _drawing(monkeypatch, 0, 0, 0, 0)
    torch.testing.assert_close(
        augment(images, size, DRAWN, torch.Generator()), resize(images, size), rtol=1e-4, atol=1e-5
    )


def test_the_largest_shift_is_twelve_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 25 pixels that is three whole ones, with the border's value where nothing was."""
    image = torch.rand(1, 1, 25, 25, generator=torch.Generator().manual_seed(1))
    _drawing(monkeypatch, 0, 0, 1, 0)
    expected = torch.cat([image[..., 3:], image[..., -1:].expand(1, 1, 25, 3)], -1)
    torch.testing.assert_close(augment(image, 25, DRAWN, torch.Generator()), expected, rtol=1e-3, atol=1e-4)
    _drawing(monkeypatch, 0, 0, 0, -1)
    expected = torch.cat([image[:, :, :1].expand(1, 1, 3, 25), image[:, :, :-3]], 2)
    torch.testing.assert_close(augment(image, 25, DRAWN, torch.Generator()), expected, rtol=1e-3, atol=1e-4)


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
    assert abs(_moments(augment(line, 101, DRAWN, torch.Generator()))[0]) == pytest.approx(12, abs=0.3)
    _drawing(monkeypatch, 0, draw, 0, 0)
    angle, scaled = _moments(augment(line, 101, DRAWN, torch.Generator()))
    assert angle == pytest.approx(0, abs=0.1)
    assert scaled == pytest.approx(spread / (1 + 0.1 * draw), rel=0.02)


def test_augmentation_follows_its_generator(images: torch.Tensor) -> None:
    one, again, other = (augment(images, 12, DRAWN, torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert one.shape == (7, 2, 12, 12)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert float(one.min()) >= float(images.min())
    assert float(one.max()) <= float(images.max())


def test_every_image_is_distorted_in_its_own_way(images: torch.Tensor) -> None:
    same = augment(images[:1].expand(5, 2, 8, 8), 8, DRAWN, torch.Generator().manual_seed(0))
    for i in range(1, 5):
        assert not torch.equal(same[0], same[i])


def test_a_larger_rendering_shows_the_same_distortion(images: torch.Tensor) -> None:
    """Students of a lower resolution see what the teacher sees."""
    smooth = F.avg_pool2d(F.interpolate(images, (32, 32), mode="bilinear", align_corners=False), 5, 1, 2)
    large, small = (augment(smooth, size, DRAWN, torch.Generator().manual_seed(3)) for size in (32, 16))
    another = augment(smooth, 16, DRAWN, torch.Generator().manual_seed(4))
    assert float((F.avg_pool2d(large, 2) - small).abs().mean()) < 0.01
    assert float((another - small).abs().mean()) > 0.1


def test_drawings_are_varied_as_ever() -> None:
    """Recorded before crop, flip and cutout came; a supernet's training on digits depends on it bit by bit."""
    images = (torch.arange(2 * 64, dtype=torch.float32) * 37 % 101 / 101).reshape(2, 1, 8, 8)
    out = augment(images, 4, DRAWN, torch.Generator().manual_seed(11))
    expected = [0.8243639, 0.6331995, 0.4075403, 0.839939, 0.7769742, 0.6408902, 0.5807791, 0.4552133]
    torch.testing.assert_close(out.flatten()[::4], torch.tensor(expected), rtol=0, atol=1e-6)


# -- crop and flip -----------------------------------------------------------------------------------------


def _numbered(n: int, channels: int, size: int) -> torch.Tensor:
    """Images in which every pixel has a value of its own."""
    return torch.arange(n * channels * size * size, dtype=torch.float32).reshape(n, channels, size, size)


def _cut_out_of_padded(image: NDArray[Any], padding: int) -> list[NDArray[Any]]:
    """All parts that a crop may give, by NumPy."""
    size = image.shape[-1]
    wide = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode="edge")
    return [wide[:, y : y + size, x : x + size] for y in range(2 * padding + 1) for x in range(2 * padding + 1)]


@given(
    n=st.integers(1, 5),
    channels=st.integers(1, 3),
    size=st.integers(2, 9),
    padding=st.integers(0, 8),
    flip=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_crop_is_one_of_those_that_there_are(
    n: int, channels: int, size: int, padding: int, flip: bool, last: bool, seed: int
) -> None:
    padding = min(padding, size - 1)
    images = _numbered(n, channels, size)
    given_images = images.contiguous(memory_format=torch.channels_last) if last else images
    out = crop_flip(given_images, padding, flip, torch.Generator().manual_seed(seed))
    assert out.shape == images.shape
    for image, result in zip(images.numpy(), out.numpy(), strict=True):
        parts = _cut_out_of_padded(image, padding)
        parts += [part[:, :, ::-1] for part in parts] if flip else []
        assert any(np.array_equal(part, result) for part in parts)
    assert torch.equal(given_images, images)


def test_every_crop_and_either_side_comes_equally_often() -> None:
    images = _numbered(1, 1, 4).expand(20_000, 1, 4, 4)
    out = crop_flip(images, 1, True, torch.Generator().manual_seed(0))
    _, counts = torch.unique(out.reshape(len(out), -1), dim=0, return_counts=True)
    assert len(counts) == 3 * 3 * 2
    expected = len(out) / len(counts)
    assert float((counts - expected).abs().max()) < 5 * math.sqrt(expected)


def test_without_padding_a_flip_is_a_flip() -> None:
    images = _numbered(64, 3, 5)
    out = crop_flip(images, 0, True, torch.Generator().manual_seed(3))
    flipped = (out != images).flatten(1).any(1)
    assert 16 < int(flipped.sum()) < 48
    assert torch.equal(out[flipped], images[flipped].flip(3))
    assert torch.equal(out[~flipped], images[~flipped])


def test_the_memory_format_and_the_type_stay() -> None:
    settings = Augmentation(crop=2, flip=True, cutout=3)
    images = torch.rand(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    assert augment(images, 8, settings, torch.Generator()).is_contiguous(memory_format=torch.channels_last)
    assert augment(images.contiguous(), 8, settings, torch.Generator()).is_contiguous()
    assert augment(images.bfloat16(), 8, settings, torch.Generator()).dtype == torch.bfloat16
    assert crop_flip((images * 255).to(torch.uint8), 2, True, torch.Generator()).dtype == torch.uint8


def test_both_memory_formats_are_varied_alike() -> None:
    images = torch.rand(6, 3, 8, 8)
    for settings in (Augmentation(crop=3, flip=True, cutout=4), DRAWN):
        one = augment(images, 12, settings, torch.Generator().manual_seed(8))
        other = augment(
            images.contiguous(memory_format=torch.channels_last), 12, settings, torch.Generator().manual_seed(8)
        )
        torch.testing.assert_close(one, other)


def test_a_crop_must_be_smaller_than_the_image() -> None:
    with pytest.raises(AugmentationError, match=r"augmentation\.crop = 8 .* images of 8 pixels.*from 0 to 7"):
        augment(torch.zeros(1, 1, 8, 8), 8, Augmentation(crop=8), torch.Generator())


# -- cutout ------------------------------------------------------------------------------------------------


@given(
    n=st.integers(1, 4),
    channels=st.integers(1, 3),
    size=st.integers(1, 9),
    side=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_cutout_blanks_one_square(n: int, channels: int, size: int, side: int, seed: int) -> None:
    images = _numbered(n, channels, size) + 1
    out = cutout(images, side, torch.Generator().manual_seed(seed)).numpy()
    for image, result in zip(images.numpy(), out, strict=True):
        possible = []
        for y in range(size):
            for x in range(size):
                one = image.copy()
                top, left = max(0, y - side // 2), max(0, x - side // 2)
                one[:, top : y - side // 2 + side, left : x - side // 2 + side] = 0
                possible.append(one)
        assert any(np.array_equal(one, result) for one in possible)
    assert float(images.min()) == 1


def test_every_pixel_is_a_centre_equally_often() -> None:
    out = cutout(torch.ones(18_000, 1, 3, 3), 1, torch.Generator().manual_seed(1))
    counts = (out == 0).sum((0, 1))
    assert int(counts.sum()) == 18_000
    assert int((counts - 2_000).abs().max()) < 5 * math.sqrt(2_000)


# -- mixup -------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 6), alpha=st.sampled_from([0.1, 0.2, 1.0, 8.0]), seed=st.integers(0, 2**32))
def test_mixup_blends_images_and_targets_alike(n: int, alpha: float, seed: int) -> None:
    """With images that hold their own number, shares and partners can be read from the result."""
    images = torch.eye(n)[:, :, None, None].expand(n, n, 2, 2)
    targets = torch.eye(n)
    mixed, blended = mixup(images, targets, alpha, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mixed[:, :, 0, 0], blended)
    torch.testing.assert_close(blended.sum(1), torch.ones(n))
    torch.testing.assert_close(blended.sum(0), torch.ones(n))  # every image is a partner once
    shares = [float(row[i]) for i, row in enumerate(blended) if row[i] < 1 - 1e-6]
    assert shares == pytest.approx(shares[:1] * len(shares), abs=1e-6)


def test_shares_follow_their_distribution() -> None:
    images, targets = torch.zeros(2, 1, 1, 1), torch.eye(2)
    shares = []
    for seed in range(1500):
        _, blended = mixup(images, targets, 2.0, torch.Generator().manual_seed(seed))
        if float(blended[0, 1]) > 0:
            shares.append(float(blended[0, 0]))
    assert len(shares) > 600
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert np.var(shares) == pytest.approx(1 / 20, abs=0.01)  # of Beta(2, 2)


def test_no_alpha_is_no_mixup() -> None:
    images, targets = torch.rand(3, 1, 2, 2), torch.eye(3)
    mixed, blended = mixup(images, targets, 0.0, torch.Generator())
    assert mixed is images
    assert blended is targets


# -- all together ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 8, 12])
def test_nothing_is_a_resize(images: torch.Tensor, size: int) -> None:
    assert torch.equal(augment(images, size, NONE, torch.Generator()), resize(images, size))


def test_crop_flip_and_cutout_come_before_rotation(images: torch.Tensor) -> None:
    both = Augmentation(rotate=12, scale=0.1, shift=0.12, crop=2, flip=True, cutout=3)
    out = augment(images, 12, both, torch.Generator().manual_seed(4))
    generator = torch.Generator().manual_seed(4)
    torch.rand(4, len(images), generator=generator)
    first = cutout(crop_flip(images, 2, True, generator), 3, generator)
    torch.testing.assert_close(out, augment(first, 12, DRAWN, torch.Generator().manual_seed(4)))


def test_a_larger_rendering_has_the_same_crop(images: torch.Tensor) -> None:
    settings = Augmentation(crop=3, flip=True, cutout=2)
    own, large = (augment(images, size, settings, torch.Generator().manual_seed(7)) for size in (8, 16))
    torch.testing.assert_close(large, resize(own, 16))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rotate": 181}, r"rotate = 181 is out of range: give a number from 0 to 180"),
        ({"scale": 1.0}, r"scale = 1\.0 .* from 0 to 0\.9"),
        ({"shift": -0.1}, r"shift = -0\.1 .* from 0 to 1"),
        ({"crop": -1}, "crop = -1"),
        ({"cutout": -4}, "cutout = -4"),
        ({"mixup": math.inf}, "mixup = inf .* a number from 0$"),
        ({"rotate": math.nan}, "rotate = nan"),
    ],
)
def test_settings_that_can_not_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(AugmentationError, match=words):
        Augmentation(**changes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_gives_what_the_cpu_gives(images: torch.Tensor) -> None:
    settings = Augmentation(rotate=12, scale=0.1, shift=0.12, crop=2, flip=True, cutout=3)
    here = augment(images, 12, settings, torch.Generator().manual_seed(5))
    there = augment(images.cuda(), 12, settings, torch.Generator().manual_seed(5))
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-3)
