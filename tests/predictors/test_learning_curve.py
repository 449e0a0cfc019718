"""Learning curves, and when they say that there are enough samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from bitfront.predictors.learning_curve import InvalidCurveError, LearningCurve, Point, Verdict, enough

SIZES = (50, 70, 98, 137, 192, 269, 377, 528, 739)
Levels = st.floats(0.7, 1.0)
Falls = st.floats(0.2, 1.5)
Rates = st.floats(0.25, 1.0)


def curve(c: float, a: float, b: float, noise: float = 0.0, seed: int = 0) -> tuple[Point, ...]:
    """Points of a true curve; ``noise`` is the standard deviation of a point of one sample."""
    rng = np.random.default_rng(seed)
    errors = noise * rng.standard_normal(len(SIZES)) / np.sqrt(SIZES)
    values = np.clip(c - a * np.array(SIZES, float) ** -b + errors, 0, 1)
    return tuple(Point(n, float(value)) for n, value in zip(SIZES, values, strict=True))


def rounds(points: tuple[Point, ...]) -> list[LearningCurve]:
    """A curve through the first three points, one through the first four, and so on."""
    return [LearningCurve(points[:k]) for k in range(3, len(points) + 1)]


def stopped_at(points: tuple[Point, ...], tolerance: float, limit: float = math.inf) -> int | None:
    """After how many samples it stopped."""
    curves = rounds(points)
    verdicts = (enough(curves[:k], tolerance, limit) for k in range(1, len(curves) + 1))
    return next((verdict.n for verdict in verdicts if verdict.stop), None)


@given(Levels, Falls, Rates)
def test_a_curve_without_noise_is_recovered(c: float, a: float, b: float) -> None:
    fitted = LearningCurve(curve(c, a, b), noise=1e-5)
    assert fitted.parameters == pytest.approx((c, a, b), rel=0.05, abs=0.01)
    assert fitted.expected(2000) == pytest.approx(c - a * 2000**-b, abs=1e-3)


def test_it_agrees_with_scipy_where_the_prior_says_little() -> None:
    points = curve(0.93, 0.6, 0.6, noise=0.003)
    n, accuracy = (np.array([getattr(point, name) for point in points], float) for name in ("n", "accuracy"))
    found, _ = curve_fit(lambda x, c, a, b: c - a * x**-b, n, accuracy, (0.9, 0.5, 0.5), sigma=n**-0.5)
    assert LearningCurve(points, noise=1e-4).parameters == pytest.approx(tuple(found), rel=0.01)


def test_noise_moves_the_asymptote_little() -> None:
    found = [LearningCurve(curve(0.93, 0.8, 0.6, 0.08, seed)).asymptote() for seed in range(40)]
    assert np.mean(found) == pytest.approx(0.93, abs=0.01)
    assert np.std(found) < 0.02


@given(Levels, Falls, Rates, st.integers(0, 1000))
def test_what_is_expected_grows_and_ends_at_the_asymptote(c: float, a: float, b: float, seed: int) -> None:
    fitted = LearningCurve(curve(c, a, b, 0.1, seed))
    expected = [fitted.expected(n) for n in (*SIZES, 10_000, math.inf)]
    assert (np.diff(expected) >= 0).all()
    assert expected[-1] == fitted.asymptote() <= 1


def test_the_order_of_points_does_not_matter() -> None:
    points = curve(0.9, 0.5, 0.5, 0.1)
    assert LearningCurve(points[::-1]).parameters == pytest.approx(LearningCurve(points).parameters)


def test_large_samples_count_more() -> None:
    outlier = (Point(50, 0.5), *(Point(n, 0.9) for n in SIZES[3:]))
    assert LearningCurve(outlier).expected(739) == pytest.approx(0.9, abs=0.01)


class TestEnough:
    def test_a_flat_curve_stops_as_soon_as_two_curves_agree(self) -> None:
        assert stopped_at(tuple(Point(n, 0.9) for n in SIZES), 0.005) == SIZES[3]

    @settings(max_examples=25)
    @given(st.floats(0.05, 0.3), st.floats(0.3, 0.45))
    def test_a_curve_that_rises_by_more_than_the_tolerance_goes_on(self, slope: float, start: float) -> None:
        """Every doubling adds as much as the one before: there is no end in sight."""
        rising = tuple(Point(n, min(1.0, start + slope / 3 * math.log2(n / 50))) for n in SIZES)
        assert stopped_at(rising, 0.005, 2000) is None

    @settings(max_examples=25)
    @given(st.floats(0.8, 0.98), st.floats(0.3, 1.2), st.floats(0.4, 1.0))
    def test_it_stops_only_where_little_is_left(self, c: float, a: float, b: float) -> None:
        n = stopped_at(curve(c, a, b), 0.01, 1000)
        if n is not None:
            assert a * n**-b - a * 1000**-b <= 0.02

    def test_a_smaller_tolerance_measures_at_least_as_much(self) -> None:
        points = curve(0.93, 0.8, 0.6)
        found = [stopped_at(points, tolerance, 1000) or 1000 for tolerance in (0.03, 0.01, 0.003, 0.0003)]
        assert found == sorted(found)
        assert found[0] < found[-1]

    def test_with_noise_little_is_lost(self) -> None:
        """In the mean over noisy curves, what a stop misses is of the size of the tolerance."""
        missed, measured = [], []
        for seed in range(40):
            n = stopped_at(curve(0.93, 0.8, 0.6, 0.1, seed), 0.01, 1000) or 1000
            measured.append(n)
            missed.append(0.8 * n**-0.6 - 0.8 * 1000**-0.6)
        assert np.mean(missed) <= 0.015
        assert np.mean(measured) <= 700

    def test_one_curve_is_not_enough(self) -> None:
        verdict = enough(rounds(tuple(Point(n, 0.9) for n in SIZES))[:1], 0.01)
        assert (verdict.stop, verdict.before, verdict.n) == (False, None, SIZES[2])

    def test_words(self) -> None:
        assert str(Verdict(True, 137, 0.9, 0.9041, 0.9059)) == (
            "pairwise accuracy 0.900 with 137, 0.904 expected in the end (the round before: 0.906)"
        )
        assert "before" not in str(Verdict(False, 137, 0.9, 0.9041, None))


@pytest.mark.parametrize(
    ("points", "noise", "words"),
    [
        ((Point(10, 0.5),), 0.1, "two different n"),
        ((Point(10, 0.5), Point(10, 0.6)), 0.1, "two different n"),
        ((Point(0, 0.5), Point(10, 0.6)), 0.1, "n must be at least 1"),
        ((Point(5, 0.5), Point(10, 1.2)), 0.1, "a fraction"),
        ((Point(5, 0.5), Point(10, math.nan)), 0.1, "a fraction"),
        ((Point(5, 0.5), Point(10, 0.6)), 0.0, "noise is 0.0"),
    ],
)
def test_no_curve(points: tuple[Point, ...], noise: float, words: str) -> None:
    with pytest.raises(InvalidCurveError, match=words):
        LearningCurve(points, noise)


def test_wrong_questions() -> None:
    curves = rounds(curve(0.9, 0.5, 0.5))
    with pytest.raises(InvalidCurveError, match="tolerance is 0"):
        enough(curves, 0)
    with pytest.raises(InvalidCurveError, match=r"\[137, 98\]"):
        enough(curves[1::-1], 0.01)
    with pytest.raises(InvalidCurveError, match="there must be one"):
        enough([], 0.01)
