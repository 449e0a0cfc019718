from __future__ import annotations

import numpy as np
import pytest

from bitfront.search.credit import Credit


def test_shares_follow_success_and_none_is_given_up() -> None:
    credit, rng = Credit(4), np.random.default_rng(0)
    np.testing.assert_allclose(credit.shares, 0.25)
    for _ in range(60):
        ways = credit.draw(200, rng)
        credit.learn(ways, rng.random(200) < np.array([0.0, 0.1, 0.2, 0.4])[ways])
    shares = credit.shares
    assert shares.sum() == pytest.approx(1.0)
    assert (np.diff(shares) > 0).all()
    assert 0.3 / 4 <= shares[0] < 0.12
    assert shares[3] == pytest.approx(0.3 / 4 + 0.7 * 4 / 7, abs=0.06)


def test_what_paid_long_ago_is_forgotten() -> None:
    credit = Credit(2)
    for best in (0, 1):
        for _ in range(60):
            ways = np.arange(100) % 2
            credit.learn(ways, ways == best)
    assert credit.shares[1] > 0.7


@pytest.mark.parametrize("paid", [False, True])
def test_nothing_or_everything_pays(paid: bool) -> None:
    credit = Credit(3)
    for _ in range(500):
        credit.learn(np.arange(90) % 3, np.full(90, paid))
    np.testing.assert_allclose(credit.shares, 1 / 3, atol=1e-6)
    credit.learn(np.empty(0, dtype=np.intp), np.empty(0, dtype=bool))
    np.testing.assert_allclose(credit.shares, 1 / 3, atol=1e-6)


def test_nothing_pays_for_very_long() -> None:
    """Rates become too small to be divided; ways are drawn all the same."""
    credit, rng = Credit(4), np.random.default_rng(0)
    for _ in range(20_000):
        credit.learn(np.arange(20) % 4, np.zeros(20, dtype=bool))
    np.testing.assert_allclose(credit.shares, 0.25)
    assert len(credit.draw(10, rng)) == 10
