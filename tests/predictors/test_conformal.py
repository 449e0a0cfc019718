import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.predictors.conformal import Calibration


@given(st.integers(1, 200), st.integers(0, 10_000), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_enough_of_the_calibration_pairs_are_held(n: int, seed: int, coverage: float) -> None:
    rng = np.random.default_rng(seed)
    residuals, spreads = rng.standard_normal(n) * rng.uniform(0.001, 1), rng.uniform(0, 0.1, n)
    calibration = Calibration.of(residuals, spreads, coverage)
    held = np.abs(residuals) <= calibration.half_width(spreads) * (1 + 1e-12)
    assert held.sum() == pytest.approx(min((n + 1) * coverage, n), abs=1)


def test_new_pairs_are_held_as_often_as_announced() -> None:
    """Where residuals grow with the spread and where they do not."""
    rng = np.random.default_rng(0)
    for dependence in (0.0, 3.0):
        spreads = rng.uniform(0.001, 0.02, 6000)
        residuals = rng.standard_normal(6000) * (0.01 + dependence * spreads)
        held = []
        for part in range(20):
            known = slice(part * 300, part * 300 + 100)
            new = slice(part * 300 + 100, part * 300 + 300)
            calibration = Calibration.of(residuals[known], spreads[known], 0.9)
            held.append(np.mean(np.abs(residuals[new]) <= calibration.half_width(spreads[new])))
        assert np.mean(held) == pytest.approx(0.9, abs=0.02)


def test_few_pairs_hold_no_more_than_announced() -> None:
    rng = np.random.default_rng(1)
    held = []
    for _ in range(2000):
        known, new = rng.standard_normal(25), rng.standard_normal(20)
        calibration = Calibration.of(known, np.zeros(25), 0.9)
        held.append(np.mean(np.abs(new) <= calibration.half_width(np.zeros(20))))
    assert np.mean(held) == pytest.approx(0.9, abs=0.01)


def test_half_widths_grow_with_the_spread_and_never_vanish() -> None:
    calibration = Calibration.of(np.full(20, 0.01), np.full(20, 0.002), 0.9)
    widths = calibration.half_width(np.array([0.0, 0.002, 0.01]))
    assert (np.diff(widths) > 0).all()
    assert widths[0] > 0
    assert widths[1] == pytest.approx(0.01)


def test_perfect_fits_still_have_widths() -> None:
    calibration = Calibration.of(np.zeros(20), np.zeros(20), 0.9)
    assert calibration.half_width(np.zeros(1))[0] == pytest.approx(1e-6)


def test_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Calibration.of(np.empty(0), np.empty(0), 0.9)
