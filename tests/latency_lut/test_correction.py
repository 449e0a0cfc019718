from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.latency_lut.correction import fit_correction, mean_relative_error


@given(st.floats(0.0, 5.0), st.floats(0.1, 3.0), st.integers(0, 2**32 - 1))
def test_it_finds_the_line_that_the_networks_lie_on(offset: float, scale: float, seed: int) -> None:
    sums = np.random.default_rng(seed).uniform(1.0, 10.0, 16)
    found = fit_correction(sums, offset + scale * sums)
    assert found.offset + found.scale * sums == pytest.approx(offset + scale * sums)


def test_it_minimises_the_relative_error() -> None:
    rng = np.random.default_rng(0)
    sums = rng.uniform(1.0, 100.0, 40)
    measured = (2.0 + 1.1 * sums) * rng.normal(1.0, 0.05, 40)
    found = fit_correction(sums, measured)
    best = np.square((found.offset + found.scale * sums) / measured - 1).sum()
    for offset, scale in rng.normal(0.0, 0.02, (200, 2)):
        moved = np.square((found.offset + offset + (found.scale + scale) * sums) / measured - 1).sum()
        assert moved >= best


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_every_network_keeps_a_positive_cost(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = fit_correction(rng.uniform(0.01, 1.0, n), rng.uniform(0.01, 1.0, n))
    assert found.offset >= 0
    assert found.scale > 0


def test_networks_of_one_size_give_a_scale() -> None:
    found = fit_correction(np.full(5, 2.0), np.full(5, 3.0))
    assert found.offset == 0
    assert found.scale == pytest.approx(1.5)


def test_mean_relative_error() -> None:
    assert mean_relative_error(np.array([1.1, 1.8]), np.array([1.0, 2.0])) == pytest.approx(0.1)
