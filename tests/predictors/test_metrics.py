import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.predictors.dataset import InvalidPairsError
from bitfront.predictors.metrics import kendall_tau, metrics, pairwise_accuracy, rmse, spearman


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
