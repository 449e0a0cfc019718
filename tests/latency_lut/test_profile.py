from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.latency_lut.bundle.profile import Protocol, Samples, summary, take_samples, timer_for, typical

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


def measured(
    clock: Clock, costs: list[int], protocol: Protocol = PROTOCOL, seed: int = 0, known: Samples | None = None
) -> Samples:
    samples: Samples = dict(known or {})
    take_samples(
        lambda key: clock.call(int(key), costs[int(key)]),
        [str(i) for i in range(len(costs))],
        samples,
        np.random.default_rng(seed),
        protocol,
        clock,
    )
    return samples


@given(st.lists(st.integers(1, 50_000), min_size=1, max_size=6))
def test_on_a_quiet_machine_it_gives_exactly_the_cost(costs: list[int]) -> None:
    samples = measured(Clock(), costs)
    assert samples.keys() == {str(i) for i in range(len(costs))}
    for i, cost in enumerate(costs):
        np.testing.assert_allclose(samples[str(i)], [cost / 1e6] * PROTOCOL.rounds)


def test_a_sample_is_long_and_warm() -> None:
    clock = Clock()
    measured(clock, [100, 50_000], Protocol(rounds=3, warm_calls=2, sample_ns=10_000))
    calibration = 1 + 2 + 2  # one cold, two warm, two timed
    assert clock.log.count(0) == calibration + 3 * (2 + 100)
    assert clock.log.count(1) == calibration + 3 * (2 + 1)


def test_every_round_visits_all_calls_in_a_new_order() -> None:
    clock = Clock()
    measured(clock, [20_000] * 12, Protocol(rounds=6, warm_calls=0, sample_ns=10_000))
    rounds = np.array(clock.log[-6 * 12 :]).reshape(6, 12)
    np.testing.assert_array_equal(np.sort(rounds, axis=1), np.tile(np.arange(12), (6, 1)))
    assert len({tuple(row) for row in rounds.tolist()}) == 6


def test_the_order_comes_from_the_generator() -> None:
    logs = []
    for _ in range(2):
        clock = Clock()
        measured(clock, [5] * 5, seed=7)
        logs.append(clock.log)
    assert logs[0] == logs[1]


def test_a_clock_that_does_not_move_is_not_waited_for() -> None:
    samples: Samples = {}
    take_samples(lambda key: lambda: None, ["0"], samples, np.random.default_rng(0), Protocol(rounds=2), lambda: 0)
    assert samples == {"0": [0.0, 0.0]}


def test_what_is_known_is_topped_up_and_not_taken_again() -> None:
    clock = Clock()
    samples = measured(clock, [20_000] * 3, known={"0": [9.0] * 8, "1": [9.0] * 5})
    assert samples["0"] == [9.0] * 8
    assert samples["1"] == [9.0] * 5 + [0.02] * 3
    assert samples["2"] == [0.02] * 8
    assert 0 not in clock.log


def test_samples_are_kept_while_they_are_taken() -> None:
    clock, samples, seen, shares = Clock(), {}, [], []  # type: Clock, Samples, list[int], list[float]
    take_samples(
        lambda key: clock.call(int(key), 20_000),
        ["0", "1"],
        samples,
        np.random.default_rng(0),
        Protocol(rounds=10),
        clock,
        lambda: seen.append(len(samples["0"])),
        lambda done, total: shares.append(done / total),
    )
    assert seen == [4, 8, 10]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


def test_many_models_are_not_all_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitfront.latency_lut.bundle.profile._MOST_AT_ONCE", 3)
    clock, opened, samples = Clock(), [], {}  # type: Clock, list[str], Samples
    compiled_before_first_kept: list[int] = []

    def open_call(key: str) -> Callable[[], None]:
        opened.append(key)
        return clock.call(int(key), 20_000)

    keys = [str(i) for i in range(8)]
    keep = lambda: compiled_before_first_kept.append(len(opened))  # noqa: E731
    take_samples(open_call, keys, samples, np.random.default_rng(0), Protocol(rounds=2), clock, keep)
    assert sorted(opened) == keys
    assert {len(values) for values in samples.values()} == {2}
    assert compiled_before_first_kept[0] <= 3


def test_disturbed_rounds_do_not_count() -> None:
    disturbed = np.full(32, 2.0)
    disturbed[np.arange(32) % 4 != 0] = 50.0
    assert typical(disturbed) == 2.0


def test_a_summary_says_how_samples_spread() -> None:
    times = summary([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (times.q1_ms, times.median_ms, times.q3_ms, times.rounds) == (2.0, 3.0, 4.0, 5)
    assert times.latency_ms == pytest.approx(np.percentile([1, 2, 3, 4, 5], 10))
    assert (times.even_ms, times.odd_ms) == (typical([1.0, 3.0, 5.0]), typical([2.0, 4.0]))


def test_a_single_sample_is_all_there_is() -> None:
    assert summary([3.0]) == (3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 1)


def test_one_thread_is_timed_by_its_own_work() -> None:
    timer = timer_for(1)
    start = timer()
    time.sleep(0.05)
    assert timer() - start < 20_000_000
    start = timer_for(4)()
    time.sleep(0.05)
    assert timer_for(4)() - start >= 45_000_000
