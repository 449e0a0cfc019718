"""Observers against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bitfront.supernet.quantization.formats.base import IntegerFormat
from bitfront.supernet.quantization.formats.int4 import INT4
from bitfront.supernet.quantization.formats.int6 import INT6
from bitfront.supernet.quantization.formats.int8 import INT8
from bitfront.supernet.quantization.observers import MinMaxObserver, MseObserver, Observer

FORMATS = pytest.mark.parametrize("number_format", [INT4, INT6, INT8], ids=lambda f: f.name)
SIGNED = pytest.mark.parametrize("signed", [False, True])


def _skewed(signed: bool, n: int = 3000) -> Tensor:
    """Many small values and a few very large ones."""
    values = torch.randn(n, generator=torch.Generator().manual_seed(11)) ** 3
    return values if signed else values.abs()


def _error(values: Tensor, scale: float, number_format: IntegerFormat, signed: bool) -> float:
    zero_point = number_format.zero_point(signed)
    codes = np.clip(np.rint(values.numpy() / scale) + zero_point, 0, number_format.activation_limit)
    return float((((codes - zero_point) * scale - values.numpy()) ** 2).mean())


@FORMATS
@SIGNED
def test_min_max_covers_the_largest_magnitude_of_all_batches(number_format: IntegerFormat, signed: bool) -> None:
    values = _skewed(signed)
    observer = MinMaxObserver()
    for batch in torch.split(values, 700):
        observer.observe(batch)
    scale = observer.scale(number_format, signed)
    top = 2 ** (number_format.storage_bits - signed) - 1
    assert scale == pytest.approx(float(values.abs().max()) / top)
    largest = values[values.abs().argmax()]
    assert _error(largest[None], scale, number_format, signed) < 1e-6


@FORMATS
@SIGNED
def test_mse_is_near_the_best_of_all_scales(number_format: IntegerFormat, signed: bool) -> None:
    values = _skewed(signed)
    observer = MseObserver()
    for batch in torch.split(values, 700):
        observer.observe(batch)
    found = _error(values, observer.scale(number_format, signed), number_format, signed)
    top = 2 ** (number_format.storage_bits - signed) - 1
    clips = np.linspace(0.001, 1.0, 2000) * float(values.abs().max())
    best = min(_error(values, clip / top, number_format, signed) for clip in clips)
    assert found <= 1.05 * best
    covering = MinMaxObserver()
    covering.observe(values)
    assert found <= _error(values, covering.scale(number_format, signed), number_format, signed)


def test_mse_clips_an_outlier_at_few_bits() -> None:
    observer = MseObserver()
    for _ in range(10):
        observer.observe(torch.linspace(0, 1, 4000))
    observer.observe(torch.tensor([20.0]))
    assert observer.scale(INT4, signed=False) * 15 < 3
    assert observer.scale(INT8, signed=False) * 255 > 15


@pytest.mark.parametrize("observer", [MinMaxObserver(), MseObserver()], ids=["minmax", "mse"])
def test_all_zeros_give_scale_one(observer: Observer) -> None:
    observer.observe(torch.zeros(4, 5))
    assert observer.scale(INT8, signed=False) == 1.0


@pytest.mark.parametrize("size", [(256, 32, 8, 8), (256, 16, 6, 6), (256, 24, 4, 4), (100, 10, 7, 7)])
def test_every_pixel_of_a_map_is_looked_at(size: tuple[int, int, int, int]) -> None:
    """Images are dark in their corners: a sample that falls on the same few pixels of every map misleads."""
    side = size[-1]
    for row, column in ((0, 0), (0, side - 1), (side // 2, side // 2), (side - 1, side - 1)):
        values = torch.zeros(size)
        values[:, :, row, column] = 1.0
        observer = MseObserver()
        observer.observe(values)
        kept = torch.cat(observer._seen)
        assert len(kept) == min(4096, values.numel())
        assert float(kept.mean()) == pytest.approx(1 / side**2, rel=0.5)


def test_every_channel_is_looked_at() -> None:
    values = torch.arange(48.0)[None, :, None, None].expand(64, 48, 6, 6)
    observer = MseObserver()
    observer.observe(values)
    counts = torch.bincount(torch.cat(observer._seen).long(), minlength=48)
    assert int(counts.min()) > 0.5 * 4096 / 48
    assert int(counts.max()) < 2 * 4096 / 48


def test_observing_keeps_no_view_of_the_values() -> None:
    values = torch.ones(10)
    observer = MseObserver()
    observer.observe(values)
    values.fill_(100.0)
    assert observer.scale(INT8, signed=False) < 1.0
