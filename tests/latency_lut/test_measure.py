from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.latency_lut.measure import Protocol, measure_calls, repeatability, timer_for, typical

PROTOCOL = Protocol(rounds=8, warm_calls=2, sample_ns=10_000)


@dataclass
class Clock:
    """A clock that only calls move."""

    now_ns: int = 0
    log: list[int] = field(default_factory=list)

    def __call__(self) -> int:
        return self.now_ns

    def call(self, number: int, cost_ns: int) -> Callable[[], None]:
        def run() -> None:
            self.now_ns += cost_ns
            self.log.append(number)

        return run


@given(st.lists(st.integers(1, 50_000), min_size=1, max_size=6))
def test_on_a_quiet_machine_it_gives_exactly_the_cost(costs: list[int]) -> None:
    clock = Clock()
    calls = [clock.call(i, cost) for i, cost in enumerate(costs)]
    samples = measure_calls(calls, np.random.default_rng(0), PROTOCOL, clock)
    assert samples.shape == (len(costs), PROTOCOL.rounds)
    np.testing.assert_allclose(samples, np.array(costs)[:, None] / 1e6 * np.ones(PROTOCOL.rounds))


def test_a_sample_is_long_and_warm() -> None:
    clock = Clock()
    short, long = clock.call(0, 100), clock.call(1, 50_000)
    measure_calls(
        [short, long], np.random.default_rng(0), Protocol(rounds=3, warm_calls=2, sample_ns=10_000), clock
    )
    calibration = 1 + 2 + 2  # one cold, two warm, two timed
    assert clock.log.count(0) == calibration + 3 * (2 + 100)
    assert clock.log.count(1) == calibration + 3 * (2 + 1)


def test_every_round_visits_all_calls_in_a_new_order() -> None:
    clock = Clock()
    calls = [clock.call(i, 20_000) for i in range(12)]
    protocol = Protocol(rounds=6, warm_calls=0, sample_ns=10_000)
    measure_calls(calls, np.random.default_rng(0), protocol, clock)
    rounds = np.array(clock.log[-6 * 12 :]).reshape(6, 12)
    np.testing.assert_array_equal(np.sort(rounds, axis=1), np.tile(np.arange(12), (6, 1)))
    assert len({tuple(row) for row in rounds.tolist()}) == 6


def test_the_order_comes_from_the_generator() -> None:
    logs = []
    for _ in range(2):
        clock = Clock()
        measure_calls([clock.call(i, 5) for i in range(5)], np.random.default_rng(7), PROTOCOL, clock)
        logs.append(clock.log)
    assert logs[0] == logs[1]


def test_a_clock_that_does_not_move_is_not_waited_for() -> None:
    samples = measure_calls([lambda: None], np.random.default_rng(0), Protocol(rounds=2), lambda: 0)
    assert (samples == 0).all()


def test_disturbed_rounds_do_not_count() -> None:
    quiet = np.full((1, 12), 2.0)
    disturbed = quiet.copy()
    disturbed[:, [0, 3, 4, 7, 8, 9]] = 50.0
    assert typical(disturbed) == pytest.approx(typical(quiet))


def test_repeatability() -> None:
    rng = np.random.default_rng(0)
    levels = np.arange(1.0, 31.0)[:, None]
    assert repeatability(levels + rng.uniform(0, 0.01, (30, 12))) == pytest.approx(1.0)
    noise = repeatability(rng.uniform(0, 1, (30, 12)))
    assert noise is not None
    assert abs(noise) < 0.5


@pytest.mark.parametrize("shape", [(1, 12), (5, 12), (2, 2)])
def test_calls_without_differences_have_no_order(shape: tuple[int, int]) -> None:
    assert repeatability(np.ones(shape)) is None


def test_one_thread_is_timed_by_its_own_work() -> None:
    timer = timer_for(1)
    start = timer()
    time.sleep(0.05)
    assert timer() - start < 20_000_000
    start = timer_for(4)()
    time.sleep(0.05)
    assert timer_for(4)() - start >= 45_000_000
