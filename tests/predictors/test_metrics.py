import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.predictors.dataset import InvalidPairsError
from bitfront.predictors.metrics import (
    interval_coverage,
    judged,
    kendall_tau,
    metrics,
    pairwise_accuracy,
    rmse,
    spearman,
    top_k_regret,
)
from bitfront.predictors.predictor import Prediction


@given(st.integers(2, 9).flatmap(lambda n: st.tuples(*(st.lists(st.integers(0, 3), min_size=n, max_size=n),) * 2)))
def test_pairwise_accuracy_equals_counting(case: tuple[list[int], list[int]]) -> None:
    guess, truth = case
    scores = []
    for i, j in itertools.combinations(range(len(truth)), 2):
        if truth[i] != truth[j]:
            product = (truth[i] - truth[j]) * (guess[i] - guess[j])
            scores.append(1.0 if product > 0 else 0.5 if product == 0 else 0.0)
    expected = sum(scores) / len(scores) if scores else 0.5
    assert pairwise_accuracy(np.array(guess, float), np.array(truth, float)) == pytest.approx(expected)


def test_perfect_reversed_and_constant() -> None:
    x = np.array([0.1, 0.4, 0.2, 0.9])
    assert kendall_tau(x, x) == spearman(x, x) == pairwise_accuracy(x, x) == pytest.approx(1)
    assert kendall_tau(-x, x) == spearman(-x, x) == pytest.approx(-1)
    assert kendall_tau(np.ones(4), x) == spearman(np.ones(4), x) == 0
    assert pairwise_accuracy(np.ones(4), x) == 0.5


def test_rmse_by_hand() -> None:
    assert rmse(np.array([0.5, 0.9]), np.array([0.8, 0.5])) == pytest.approx(np.sqrt((0.09 + 0.16) / 2))


def test_what_can_not_be_compared_is_refused() -> None:
    with pytest.raises(InvalidPairsError, match="can not be compared"):
        metrics(np.zeros(3), np.zeros(4))
    with pytest.raises(InvalidPairsError, match="at least two"):
        metrics(np.zeros(1), np.zeros(1))


CASES = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 5), min_size=n, max_size=n),) * 2, st.integers(1, n))
)


@given(CASES)
def test_regret_is_the_worst_over_all_ways_to_break_ties(case: tuple[list[int], list[int], int]) -> None:
    guess, truth, k = case
    regrets = []
    for chosen in itertools.combinations(range(len(guess)), k):
        others = set(range(len(guess))) - set(chosen)
        if all(guess[i] >= guess[j] for i in chosen for j in others):  # a set that may be called the best k
            regrets.append(max(truth) - max(truth[i] for i in chosen))
    assert top_k_regret(np.array(guess, float), np.array(truth, float), k) == max(regrets)


def test_regret_measures_a_hundredth_where_nothing_else_is_said() -> None:
    truth = np.arange(250, dtype=float)
    guess = truth.copy()
    guess[[249, 248]] = -1  # the best two are overlooked
    assert top_k_regret(guess, truth) == 2
    guess[0] = 1000  # the second place still finds what the first lost
    assert top_k_regret(guess, truth) == 2
    assert top_k_regret(guess, truth, k=1) == 249


@given(
    st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(0, 4)),
        min_size=1,
        max_size=15,
    )
)
def test_coverage_equals_counting(rows: list[tuple[int, int, int]]) -> None:
    # Quarters are exact, so that a measurement on an interval's end is one that it holds.
    mean, measured, half = (np.array(column) / 4 for column in zip(*rows, strict=True))
    held = [abs(m - t) <= h for m, t, h in rows]
    assert interval_coverage(Prediction(mean, half), measured) == pytest.approx(sum(held) / len(held))


def test_a_judgement_holds_every_metric() -> None:
    rng = np.random.default_rng(0)
    measured = rng.uniform(0.5, 0.9, 200)
    prediction = Prediction(measured + rng.normal(0, 0.05, 200), rng.uniform(0.02, 0.1, 200))
    found = judged(prediction, measured)
    assert found == metrics(prediction.mean, measured) | {
        "top_k_regret": top_k_regret(prediction.mean, measured, 2),
        "top_k": 2.0,
        "interval_coverage": interval_coverage(prediction, measured),
        "mean_half_width": pytest.approx(prediction.half_width.mean()),
        "held_out": 200.0,
    }
    assert 0.5 < found["interval_coverage"] < 1
