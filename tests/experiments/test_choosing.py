"""Which candidates are asked for, against sorting all of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitfront.experiments.store.choosing import first_in_order, first_of_cells, meeting
from bitfront.experiments.store.filters import Filter

# Few different values, so that many are equal, and some that are missing.
VALUES = st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.5, float("nan")]), max_size=30)


@given(VALUES, st.integers(1, 12), st.booleans(), st.data())
def test_first_in_order_is_the_beginning_of_the_sorted_list(
    values: list[float], limit: int, descending: bool, data: st.DataObject
) -> None:
    met = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    numbers = np.cumsum(data.draw(st.lists(st.integers(1, 3), min_size=len(values), max_size=len(values))))
    pairs = [
        (value, int(number), i)
        for i, (value, number) in enumerate(zip(values, numbers, strict=True))
        if met[i] and value == value
    ]
    pairs.sort(reverse=descending)
    after = data.draw(st.none() | st.sampled_from(pairs)) if pairs else None
    if after is not None:
        pairs = pairs[pairs.index(after) + 1 :]
    found = first_in_order(
        np.array(values),
        numbers.astype(np.int64),
        np.array(met, dtype=bool),
        limit,
        descending,
        after and after[:2],
    )
    assert found.tolist() == [i for *_, i in pairs[:limit]]


def test_what_lacks_a_metric_meets_no_filter() -> None:
    values = {"top1": np.array([0.5, np.nan, 0.25])}
    assert meeting([Filter("top1", "<", 1)], values, 3).tolist() == [True, False, True]
    assert meeting([Filter("top1", "==", 0.25), Filter("top1", "<=", 0.5)], values, 3).tolist() == [
        False,
        False,
        True,
    ]
    assert meeting([], values, 3).all()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.integers(1, 400))
@example([-1.7e308, 0.0, 1.7e308], 100)
@example([0.0, 5e-324, 1e-323], 100)
def test_cells_of_any_numbers(values: list[float], most: int) -> None:
    x = np.array(values)
    first, counts = first_of_cells(x, np.zeros(len(x)), most)
    assert counts.sum() == len(values)
    assert len(first) <= max(math.isqrt(most), 1)
    for low, high in itertools.pairwise(np.argsort(x[first], kind="stable")):
        assert x[first][low] < x[first][high]
    if most >= 4 and max(values) / 2 > min(values) / 2:
        assert len(first) > 1  # the least and the most lie in the outer cells


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1)), max_size=60),
    st.integers(-3, 40),
)
def test_cells_count_all_and_keep_the_first_of_each(points: list[tuple[float, float]], most: int) -> None:
    x, y = (np.array([point[i] for point in points], dtype=float) for i in (0, 1))
    first, counts = first_of_cells(x, y, most)
    assert len(first) == len(counts) <= max(most, 1)
    assert counts.sum() == len(points)
    assert (counts > 0).all()
    if points:
        assert 0 in first
    side = int(max(most, 1) ** 0.5)
    assert len(set(first.tolist())) == len(first)
    for corner in (np.argmin(x), np.argmax(x)) if points else ():
        # The least and the most lie in the outer cells: something of the same column stands for them.
        width = np.ptp(x) / side
        assert (np.abs(x[first] - x[corner]) <= width * (1 + 1e-9) + 1e-9).any()


@pytest.mark.parametrize("n", [0, 1])
def test_few_points(n: int) -> None:
    first, counts = first_of_cells(np.zeros(n), np.ones(n), 100)
    assert (first.tolist(), counts.tolist()) == ([0] * n, [1] * n)
