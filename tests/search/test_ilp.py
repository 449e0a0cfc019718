from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfront.search.ilp import (
    Allocation,
    InfeasibleLimitsError,
    InvalidBitTableError,
    TimeLimitError,
    allocate_bits,
)
from bitfront.search.quiet import stdout_closed

NAN = float("nan")
SENSITIVITY = [[0.0, 1.0, 5.0], [0.0, 2.0, 3.0]]  # in 8, 6 and 4 bits
BYTES = [[80.0, 60.0, 40.0], [800.0, 600.0, 400.0]]


def by_brute_force(
    sensitivity: np.ndarray[Any, Any],
    costs: dict[str, np.ndarray[Any, Any]],
    limits: dict[str, float],
    groups: list[int],
) -> float | None:
    """The smallest sum; None where nothing is within the limits."""
    best: float | None = None
    names = sorted(set(groups))
    layers = np.arange(len(groups))
    for choice in itertools.product(range(sensitivity.shape[1]), repeat=len(names)):
        columns = np.array([choice[names.index(group)] for group in groups])
        total = sensitivity[layers, columns].sum()
        within = all(costs[name][layers, columns].sum() <= limit for name, limit in limits.items())
        if not np.isnan(total) and within and (best is None or total < best):
            best = float(total)
    return best


@st.composite
def programs(draw: st.DrawFn) -> dict[str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers, formats, n_costs = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(0, 3))
    whole = draw(st.booleans())  # whole numbers meet limits exactly, and make ties
    unit = 10.0 ** draw(st.integers(-9, 9))
    sensitivity = rng.integers(0, 5, (layers, formats)) * 1.0 if whole else rng.lognormal(0, 3, (layers, formats))
    sensitivity[rng.random(sensitivity.shape) < 0.15] = NAN
    sensitivity[np.isnan(sensitivity).all(axis=1), 0] = 1.0
    costs, limits = {}, {}
    for i in range(n_costs):
        values = rng.integers(0, 6, (layers, formats)) * 1.0 if whole else rng.lognormal(0, 2, (layers, formats))
        costs[f"cost{i}"] = values * unit
        shares = np.where(np.isnan(sensitivity), NAN, values)
        low, high = np.nanmin(shares, axis=1).sum(), np.nanmax(shares, axis=1).sum()
        share = float(rng.choice([-0.1, 0.0, 0.2, 0.5, 0.9, 1.0]))
        limit = low + share * (high - low)
        limits[f"cost{i}"] = float(np.round(limit) if whole else limit) * unit
    return {"sensitivity": sensitivity, "costs": costs, "limits": limits}


@settings(deadline=None, max_examples=60)
@given(programs(), st.integers(0, 2**32 - 1))
def test_it_finds_what_brute_force_finds(program: dict[str, Any], seed: int) -> None:
    layers = len(program["sensitivity"])
    groups = np.random.default_rng(seed).integers(0, layers, layers).tolist()
    try:
        found = allocate_bits(**program, groups=groups)
    except InvalidBitTableError:
        assert by_brute_force(program["sensitivity"], {}, {}, groups) is None
        return
    except InfeasibleLimitsError as error:
        # A limit that is met but for rounding may be taken either way.
        tighter = {name: limit * (1 - 1e-9) for name, limit in program["limits"].items()}
        assert by_brute_force(program["sensitivity"], program["costs"], tighter, groups) is None
        for name, smallest in error.smallest.items():
            shares = np.where(np.isnan(program["sensitivity"]), NAN, program["costs"][name])
            assert smallest >= np.nanmin(shares, axis=1).sum() * (1 - 1e-12)
        return
    expected = by_brute_force(program["sensitivity"], program["costs"], program["limits"], groups)
    looser = {name: limit * (1 + 2e-9) for name, limit in program["limits"].items()}
    at_best = by_brute_force(program["sensitivity"], program["costs"], looser, groups)
    assert at_best is not None
    highest = float(np.nanmax(program["sensitivity"]))
    assert found.sensitivity >= at_best - 1e-9 * highest
    assert expected is None or found.sensitivity <= expected + 1e-9 * highest
    check_sums(found, program, groups)


def check_sums(found: Allocation, program: dict[str, Any], groups: list[int]) -> None:
    assert found.optimal
    assert found.gap == 0
    rows = np.arange(len(groups))
    assert found.sensitivity == pytest.approx(program["sensitivity"][rows, found.formats].sum())
    for name, values in program["costs"].items():
        assert found.totals[name] == pytest.approx(values[rows, found.formats].sum())
        assert found.totals[name] <= program["limits"][name] * (1 + 2e-9)
    for group in set(groups):
        assert len({int(f) for f, of in zip(found.formats, groups, strict=True) if of == group}) == 1


def test_a_loose_limit_leaves_every_layer_its_best_format() -> None:
    found = allocate_bits(SENSITIVITY, {"size_bytes": BYTES}, {"size_bytes": 880})
    assert found.formats.tolist() == [0, 0]
    assert found.totals == {"size_bytes": 880}


def test_the_layer_that_saves_most_for_least_gives_way() -> None:
    found = allocate_bits(SENSITIVITY, {"size_bytes": BYTES}, {"size_bytes": 500})
    assert (found.formats.tolist(), found.sensitivity) == ([0, 2], 3.0)


def test_tied_layers_share_a_format() -> None:
    found = allocate_bits(SENSITIVITY, {"size_bytes": BYTES}, {"size_bytes": 700}, groups=["sum", "sum"])
    assert (found.formats.tolist(), found.sensitivity) == ([1, 1], 3.0)


def test_a_cost_without_a_limit_is_summed() -> None:
    found = allocate_bits(SENSITIVITY, {"size_bytes": BYTES}, {})
    assert found.totals == {"size_bytes": 880}


def test_one_limit_out_of_reach_names_the_smallest_total() -> None:
    with pytest.raises(InfeasibleLimitsError, match=r"size_bytes <= 100 .*smallest total is 440") as caught:
        allocate_bits(SENSITIVITY, {"size_bytes": BYTES}, {"size_bytes": 100})
    assert caught.value.smallest == {"size_bytes": 440}
    assert caught.value.nearest.formats.tolist() == [2, 2]


def test_limits_out_of_reach_together_name_the_nearest_allocation() -> None:
    costs = {"size_bytes": BYTES, "latency_ms": [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]}  # narrow formats are slow here
    with pytest.raises(InfeasibleLimitsError, match=r"not all be met at once, though each can") as caught:
        allocate_bits(SENSITIVITY, costs, {"size_bytes": 460, "latency_ms": 3})
    assert caught.value.smallest == {"size_bytes": 440, "latency_ms": 2}
    excesses = {
        choice: max(sum(BYTES[i][f] for i, f in enumerate(choice)) / 460, (2 + sum(choice)) / 3)
        for choice in itertools.product(range(3), repeat=2)
    }
    nearest = tuple(caught.value.nearest.formats.tolist())
    assert excesses[nearest] == min(excesses.values())


def test_time_that_is_up_is_said() -> None:
    rng = np.random.default_rng(0)
    costs = {f"cost{i}": rng.random((300, 8)) for i in range(6)}
    limits = {name: float(values.mean(axis=1).sum()) * 0.8 for name, values in costs.items()}
    with pytest.raises(TimeLimitError, match="raise time_limit_s"):
        allocate_bits(rng.random((300, 8)), costs, limits, time_limit_s=0.0)
    found = allocate_bits(rng.random((300, 8)), costs, limits, time_limit_s=1.0)
    assert not found.optimal
    assert found.gap > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sensitivity": [[0.0, 1.0]]}, r"size_bytes has shape \(2, 3\)"),
        ({"sensitivity": [0.0, 1.0]}, r"sensitivity has shape \(2,\)"),
        ({"sensitivity": [["much", 1.0]]}, "no table of numbers"),
        ({"sensitivity": [[0.0, float("inf"), 1.0], [0.0, 1.0, 2.0]]}, "layer 0 in format 1 is inf"),
        ({"sensitivity": [[NAN, NAN, NAN], [0.0, 1.0, 2.0]]}, "layer 0 has no format"),
        ({"costs": {"size_bytes": [[80.0, NAN, 40.0], BYTES[1]]}}, "size_bytes of layer 0 in format 1 is nan"),
        ({"limits": {"bytes": 100.0}}, "'bytes' names no cost: costs are size_bytes"),
        ({"limits": {"size_bytes": NAN}}, "must be a finite number"),
        ({"groups": ["a"]}, "1 groups for 2 layers"),
        ({"sensitivity": [[0.0, NAN, NAN], [NAN, 1.0, NAN]], "groups": ["a", "a"]}, "no format in common"),
    ],
)
def test_bad_tables_are_named(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "sensitivity": SENSITIVITY,
        "costs": {"size_bytes": BYTES},
        "limits": {"size_bytes": 700},
    }
    with pytest.raises(InvalidBitTableError, match=message):
        allocate_bits(**{**good, **change})


def test_what_c_code_prints_is_lost_and_nothing_else(tmp_path: Path) -> None:
    kept, saved = tmp_path / "stdout", os.dup(1)
    try:
        with kept.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.write(1, b"before ")
            with stdout_closed():
                os.write(1, b"HiGHS ")
            os.write(1, b"after")
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert kept.read_bytes() == b"before after"
