"""What further devices cost: meters, sums and growth, on costs that are made up."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.experiments.benchmarks import BENCHMARKS, search_cost
from bitfront.experiments.benchmarks.further_devices import MOST, further_devices
from bitfront.experiments.benchmarks.growth_plot import Growth, growth_figure
from bitfront.experiments.benchmarks.search_cost import Paid, grown, mixed, new_home
from bitfront.experiments.benchmarks.shared_cost import Once
from bitfront.experiments.benchmarks.spending import WATTS_PER_CORE, Meter, Spent, StageClock
from bitfront.experiments.reporter import Reporter, Reporters
from bitfront.latency_lut.devices import DEVICES

_STAGES = tuple(search_cost._PIECES)


def package(folder: Path, name: str, microjoules: int, most: int = 1_000_000_000) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "energy_uj").write_text(f"{microjoules}\n")
    (place / "max_energy_range_uj").write_text(f"{most}\n")
    return place / "energy_uj"


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class TestMeter:
    def test_packages_are_summed_and_may_begin_anew(self, tmp_path: Path) -> None:
        one, two = package(tmp_path, "intel-rapl:0", 1_000_000), package(tmp_path, "intel-rapl:1", 999_999_999)
        package(tmp_path, "intel-rapl:0:0", 5)  # a part of the first, which would count twice
        meter = Meter(tmp_path)
        assert meter.is_measured
        assert "RAPL" in meter.words
        begun = meter.read()
        one.write_text("4000000\n")
        two.write_text("1999999\n")  # the largest value, then 0, then on
        assert meter.since(begun).joules == pytest.approx(3.0 + 2.000001, abs=1e-5)

    @pytest.mark.parametrize("damage", ["energy_uj", "max_energy_range_uj"])
    def test_what_can_not_be_read_is_estimated(self, tmp_path: Path, damage: str) -> None:
        package(tmp_path, "intel-rapl:0", 1)
        (tmp_path / "intel-rapl:0" / damage).write_text("denied")
        meter = Meter(tmp_path)
        begun = meter.read()
        busy(0.05)
        spent = meter.since(begun)
        assert not meter.is_measured
        assert "12 W" in meter.words
        assert spent.cpu_seconds >= 0.03  # the clock of a process ticks in hundredths
        assert spent.joules == WATTS_PER_CORE * spent.cpu_seconds
        assert spent.seconds > 0


class FakeMeter(Meter):
    """Seconds are told by the test."""

    def __init__(self) -> None:
        self.now = 0.0

    @property
    def is_measured(self) -> bool:
        return False

    def read(self) -> Any:
        return self.now

    def since(self, before: Any) -> Spent:
        return Spent(self.now - before, 0.5 * (self.now - before), 2 * (self.now - before))


def test_a_stage_ends_where_the_next_one_begins() -> None:
    meter = FakeMeter()
    clock = StageClock(Reporters(), meter)
    meter.now = 100.0  # before the run: nobody's
    with clock.running():
        meter.now = 101.0
        clock.stage("space")
        meter.now = 103.0
        clock.stage("search")
        meter.now = 110.0
    meter.now = 200.0
    assert {name: spent.seconds for name, spent in clock.spent.items()} == {"space": 3.0, "search": 7.0}


def paid(search: float, table: float = 1.0) -> Paid:
    return Paid({"table": Spent(table, table, 12 * table), "search": Spent(search, search, 12 * search)})


class TestGrown:
    def test_equal_costs_grow_in_proportion(self) -> None:
        figures = grown("device", [paid(3.0)] * 20, (1, 5, 20))
        assert [figures[f"devices_{n}_seconds"] for n in (1, 5, 20)] == [4.0, 20.0, 80.0]
        assert figures["seconds_per_further_device"] == pytest.approx(4.0)
        assert figures["joules_per_further_device"] == pytest.approx(48.0)
        assert figures["devices_growth"] == pytest.approx(1.0)
        assert (figures["table_seconds_per_device"], figures["search_seconds_per_device"]) == (1.0, 3.0)

    def test_costs_that_grow_with_their_number_are_told(self) -> None:
        figures = grown("device", [paid(float(n)) for n in range(20)], (1, 5, 20))
        assert figures["devices_growth"] == pytest.approx((210 / 20) / (15 / 5))

    def test_a_first_one_that_is_dear_does_not_make_others_so(self) -> None:
        figures = grown("device", [paid(1000.0), *[paid(3.0)] * 19], (1, 5, 20))
        assert figures["seconds_per_further_device"] == pytest.approx(4.0)


def test_further_devices_are_all_different_and_all_can_be_made(tmp_path: Path) -> None:
    sections = further_devices(tmp_path)
    assert len(sections) == MOST == 20
    devices = [DEVICES.get(one["name"])(**one["options"]) for one in sections]
    assert len({str(device.provenance()) for device in devices}) == MOST
    assert {one["name"] for one in sections[:2]} == {"bitfusion", "roofline"}


@pytest.mark.parametrize(
    ("paid_s", "trained", "words"), [(90.0, True, "in this run, in 1 min 20 s"), (2.0, False, "not paid")]
)
def test_a_training_that_was_not_paid_is_told(paid_s: float, trained: bool, words: str) -> None:
    once = Once(Spent(paid_s), Spent(), Spent(), 80.0)
    assert words in once.words.replace("\n", " ")
    assert once.figures()["once_training_in_this_run"] == float(trained)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("growing", [False, True])
def test_goals_are_judged_by_what_experiments_cost(growing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    meter, specs = FakeMeter(), []

    def run_experiment(store: Any, folder: Path, experiment: str, reporter: Reporter) -> None:
        specs.append(store.get(experiment).spec)
        for stage in _STAGES:
            reporter.stage(stage)
            meter.now += 1.0 + (2.0 * len(specs) if growing else 0.0)

    latency = {"latency_ms": np.array([1.0, 10.0])}
    monkeypatch.setattr(search_cost, "Meter", lambda: meter)
    monkeypatch.setattr(search_cost, "run_experiment", run_experiment)
    monkeypatch.setattr(search_cost, "paid_once", lambda *_: Once(Spent(1.0), Spent(), Spent(), 80.0))
    monkeypatch.setattr(search_cost, "read_front", lambda *_: SimpleNamespace(predicted=latency))
    result = BENCHMARKS.get("search-cost")(quick=True, seeds=1, reporter=Reporters())
    assert len(specs) == 8
    limits = [float(spec["constraints"][0].removeprefix("latency_ms <= ")) for spec in specs[4:]]
    assert sorted(limits) == pytest.approx(np.geomspace(1.05, 10, 4), rel=1e-5)
    assert limits[:2] == [min(limits), max(limits)]
    assert result.figures["devices_1_seconds"] == (7.0 if not growing else 21.0)
    holds = {goal.figure: goal.holds for goal in result.goals}
    assert holds["devices_growth"] is not growing
    assert holds["seconds_per_further_device"]
    assert result.pictures["growth"].startswith(b"\x89PNG")


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "bench" / "search-cost" / "bitfront.db"
    left.parent.mkdir(parents=True)
    left.write_text("old")
    with new_home(left.parent) as folder:
        assert list(folder.iterdir()) == []
        (folder / "new").write_text("")
    assert not folder.exists()
    with pytest.raises(KeyError), new_home(folder):
        raise KeyError
    assert not folder.exists()


def test_the_picture_takes_one_of_a_kind() -> None:
    one = Growth(np.array([2.0]), {"search": 2.0})
    assert growth_figure({"devices": one, "constraints": one}).startswith(b"\x89PNG")


@given(st.integers(1, 200))
def test_the_first_few_limits_are_spread_over_all(n: int) -> None:
    order = mixed(n)
    assert sorted(order) == list(range(n))
    for few in range(5, n):
        assert abs(order[:few].mean() - (n - 1) / 2) <= 0.2 * n
