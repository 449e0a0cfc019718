"""Pooled moments against NumPy in doubles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitfront.supernet.moments import PooledMoments


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    channels=st.integers(1, 9),
    side=st.integers(1, 20),
    shift=st.floats(-50, 50),
    channels_last=st.booleans(),
)
def test_moments_are_those_of_all_batches(
    sizes: list[int], channels: int, side: int, shift: float, channels_last: bool
) -> None:
    generator = torch.Generator().manual_seed(len(sizes) * channels * side)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    batches = [
        (torch.randn(n, channels, side, side, generator=generator) + shift).contiguous(memory_format=layout)
        for n in sizes
    ]
    pooled = PooledMoments()
    for batch in batches:
        mean, variance = pooled.add(batch)
        np.testing.assert_allclose(mean, batch.double().mean((0, 2, 3)), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(variance, batch.double().var((0, 2, 3), correction=0), rtol=1e-4, atol=1e-4)
    whole = np.concatenate([batch.double().numpy() for batch in batches])
    mean, variance = pooled.moments()
    np.testing.assert_allclose(mean, whole.mean((0, 2, 3)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, whole.var((0, 2, 3)), rtol=1e-4, atol=1e-4)


def test_nothing_has_no_moments() -> None:
    with pytest.raises(ValueError, match="no batch was added"):
        PooledMoments().moments()
