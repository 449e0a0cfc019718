"""Timing short calls on a machine that others use too.

The recipe: all calls are compiled first and timed in rounds, each round in a new shuffled order, so that what
disturbs the machine for a while disturbs all of them alike. A sample is a loop of calls that is long against the
timer's own cost. Of a call's samples the 25th percentile counts: disturbances only ever make a sample longer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

Call = Callable[[], object]
Timer = Callable[[], int]
"""Nanoseconds since some fixed moment."""

_NS_PER_MS = 1e6
_TYPICAL_PERCENTILE = 25
_MOST_REPEATS = 10_000


@dataclass(frozen=True, slots=True)
class Protocol:
    """``rounds`` samples of at least ``sample_ns`` are taken of a call, each after ``warm_calls`` untimed ones."""

    rounds: int = 12
    warm_calls: int = 1
    sample_ns: int = 300_000


def timer_for(threads: int) -> Timer:
    """The steadiest timer that sees the whole work of a call.

    On one thread that is this thread's processor time: neighbours on the machine, and other threads of this
    process, hardly move it. Several threads overlap, so that only wall time is their latency.
    """
    return time.thread_time_ns if threads == 1 else time.perf_counter_ns


def measure_calls(
    calls: Sequence[Call], rng: np.random.Generator, protocol: Protocol, timer: Timer
) -> NDArray[np.float64]:
    """Samples of the duration of one call in ms, shape (n, rounds)."""
    repeats = [_repeats(call, protocol, timer) for call in calls]
    samples = np.empty((len(calls), protocol.rounds))
    for turn in range(protocol.rounds):
        for i in rng.permutation(len(calls)):
            for _ in range(protocol.warm_calls):
                calls[i]()
            samples[i, turn] = _duration_ns(calls[i], repeats[i], timer) / repeats[i] / _NS_PER_MS
    return samples


def typical(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The duration that counts, in the samples' unit: shape (..., rounds) to (...)."""
    result: NDArray[np.float64] = np.percentile(samples, _TYPICAL_PERCENTILE, axis=-1)
    return result


def repeatability(samples: NDArray[np.float64]) -> float | None:
    """Kendall's tau between the durations that even and odd rounds give: no prediction can be asked to do better.

    ``samples`` has shape (n, rounds). None where there is no order to speak of: fewer than two different calls.
    """
    even, odd = typical(samples[:, ::2]), typical(samples[:, 1::2])
    if np.ptp(even) == 0 or np.ptp(odd) == 0:
        return None
    return float(kendalltau(even, odd).statistic)


def _repeats(call: Call, protocol: Protocol, timer: Timer) -> int:
    for _ in range(1 + protocol.warm_calls):
        call()
    once = max(1, _duration_ns(call, 2, timer) // 2)
    return min(_MOST_REPEATS, math.ceil(protocol.sample_ns / once))


def _duration_ns(call: Call, repeats: int, timer: Timer) -> int:
    start = timer()
    for _ in range(repeats):
        call()
    return timer() - start
