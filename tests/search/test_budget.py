"""When a search ends, and how far it is."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.search.budget import GROWTH, Budget, Growth, InvalidBudgetError, Spent


@pytest.mark.parametrize(
    ("budget", "spent", "reason"),
    [
        (Budget(evaluations=10), Spent(evaluations=10), "10 candidates are scored"),
        (Budget(generations=3), Spent(generations=3), "3 generations are done"),
        (Budget(seconds=1.5), Spent(seconds=1.7), "1.7 seconds have passed, and the budget has 1.5"),
        (Budget(stalled=4), Spent(generations=9, still=4), "has not grown by 0.01% in 4 generations"),
        (Budget(evaluations=99, stalled=4), Spent(evaluations=5, still=5), "it has stalled"),
    ],
)
def test_whichever_limit_is_reached_is_named(budget: Budget, spent: Spent, reason: str) -> None:
    assert reason in str(budget.reached(spent))


def test_nothing_ends_before_its_limit() -> None:
    budget = Budget(evaluations=10, generations=3, seconds=1.5, stalled=4)
    assert budget.reached(Spent(9, 2, 1.4, 3)) is None


@pytest.mark.parametrize(
    "limits", [{"seconds": 0.0}, {"seconds": math.nan}, {"seconds": math.inf}, {"stalled": 0}]
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InvalidBudgetError, match=f"budget of {next(iter(limits))} is"):
        Budget(**limits)  # type: ignore[arg-type]


@given(
    evaluations=st.none() | st.integers(1, 500),
    generations=st.none() | st.integers(1, 50),
    stalled=st.none() | st.integers(1, 9),
    population=st.integers(1, 60),
)
def test_expected_generations_end_where_the_search_does(
    evaluations: int | None, generations: int | None, stalled: int | None, population: int
) -> None:
    if evaluations is None and generations is None and stalled is None:
        return
    budget, done, scored = Budget(evaluations, generations, None, stalled), 0, 0
    while True:
        left = budget.left(scored)
        scored += population if left is None else min(population, left)
        done += 1
        spent = Spent(scored, done, 0.0, done)  # a front that never grows
        expected = budget.expected(spent)
        if budget.reached(spent) is not None:
            assert expected == done
            return
        assert expected > done


def test_most_is_what_will_be_scored() -> None:
    assert Budget(evaluations=500, generations=3).most(100) == 300
    assert Budget(evaluations=200, generations=3).most(100) == 200
    assert Budget(seconds=3.0, stalled=2).most(100) is None


def test_small_growth_adds_up() -> None:
    growth, volume = Growth().after(1, 0.5, 0.0), 0.5
    for generation in range(2, 6):
        volume *= 1 + 0.4 * GROWTH
        growth = growth.after(generation, volume, 0.0)
    assert growth.generation == 4, "two steps are less than the share that counts, three are more"


def test_until_something_is_feasible_the_violation_counts() -> None:
    growth = Growth().after(1, 0.0, math.inf).after(2, 0.0, 5.0).after(3, 0.0, 5.0).after(4, 0.0, 3.0)
    assert growth.generation == 4
    assert growth.after(5, 0.0, 4.0) is growth
    assert growth.after(5, 0.1, 0.0).after(6, 0.1, 0.0).generation == 5


@pytest.mark.parametrize("growth", [Growth(), Growth(0.25, 0.0, 7), Growth(0.0, math.inf, 2)])
def test_growth_survives_a_store(growth: Growth) -> None:
    assert Growth.from_json(json.loads(json.dumps(growth.to_json(), allow_nan=False))) == growth
