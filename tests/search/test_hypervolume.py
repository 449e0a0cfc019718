from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.search.hypervolume import hypervolume, reference_point


@given(m=st.integers(1, 4), n=st.integers(0, 12), seed=st.integers(0, 999))
def test_counts_the_cells_of_a_grid(m: int, n: int, seed: int) -> None:
    """Points on a grid of side 5 dominate a whole number of its cells."""
    F = np.random.default_rng(seed).integers(0, 7, size=(n, m)).astype(float)
    cells = np.stack(np.meshgrid(*[np.arange(5)] * m, indexing="ij"), axis=-1).reshape(-1, m)
    covered = np.logical_or.reduce((cells[:, None] >= F[None]).all(axis=2), axis=1)
    assert hypervolume(F, np.full(m, 5.0)) == pytest.approx(covered.mean(), abs=1e-12)


def test_units_do_not_matter() -> None:
    F = np.random.default_rng(0).random((30, 3))
    scale = np.array([1.0, 1e-3, 1e6])
    reference = np.array([1.1, 0.9, 1.0])
    assert hypervolume(F * scale, reference * scale) == pytest.approx(hypervolume(F, reference), rel=1e-12)


@pytest.mark.parametrize("m", [3, 6, 7])
def test_never_falls_as_a_front_grows(m: int) -> None:
    F = np.random.default_rng(1).random((60, m))
    values = [hypervolume(F[:n], np.ones(m)) for n in range(0, 61, 5)]
    assert values[0] == 0.0
    assert values == sorted(values)
    assert values[-1] > values[1]


def test_many_objectives_are_counted_closely() -> None:
    corner = np.full((1, 6), 0.2)
    assert hypervolume(corner, np.ones(6)) == pytest.approx(0.8**6, abs=0.012)
    F = np.random.default_rng(2).random((40, 5))
    padded = np.hstack([F, np.zeros((40, 1))])
    assert hypervolume(padded, np.ones(6)) == pytest.approx(hypervolume(F, np.ones(5)), abs=0.012)


@given(n=st.integers(1, 8), m=st.integers(1, 4), seed=st.integers(0, 99))
def test_every_point_counts_at_the_reference_made_from_it(n: int, m: int, seed: int) -> None:
    F = np.random.default_rng(seed).integers(0, 3, size=(n, m)).astype(float)
    reference = reference_point(F)
    assert (reference > F).all()
    for row in F:
        assert hypervolume(row[None], reference) > 0
