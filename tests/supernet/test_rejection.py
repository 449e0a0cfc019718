"""The bound of early rejection against its definition and against chance."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitfront.supernet.rejection import upper_bound


def _divergence(p: float, q: float) -> float:
    return sum(a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0)


@given(seen=st.integers(1, 5000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.9999))
def test_the_bound_solves_its_equation(seen: int, share: float, confidence: float) -> None:
    right = round(share * seen)
    bound = upper_bound(right, seen, confidence)
    assert right / seen <= bound <= 1
    if right < seen:
        assert math.isclose(seen * _divergence(right / seen, bound), -math.log(1 - confidence), rel_tol=1e-4)
    # No looser than Hoeffding's inequality (by Pinsker's).
    assert bound <= right / seen + math.sqrt(-math.log(1 - confidence) / (2 * seen)) + 1e-9


def test_it_is_wrong_at_most_as_often_as_it_says(rng: np.random.Generator) -> None:
    """Parts of a finite split, drawn without replacement."""
    for accuracy in (0.1, 0.5, 0.9):
        answers = np.arange(1000) < accuracy * 1000
        wrong = 0
        for _ in range(2000):
            seen = rng.permutation(answers)[:250]
            wrong += upper_bound(int(seen.sum()), 250, 0.9) < accuracy
        assert wrong / 2000 <= 0.1
