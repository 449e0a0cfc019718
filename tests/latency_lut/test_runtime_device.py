from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitfront.latency_lut.bundle.profile import Call, Protocol, Samples
from bitfront.latency_lut.cost_model import compile_costs
from bitfront.latency_lut.op_key import op_key
from bitfront.latency_lut.runtime_device import RuntimeDevice
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.stored_times import ForeignTableWarning
from bitfront.latency_lut.table import InvalidTableError, Table
from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.folded import Folded
from bitfront.supernet.layers import Block
from bitfront.supernet.spaces.mbconv import MBConvSpace

CALL_NS = 7_000
PAIRS = frozenset({("fp32", "fp32"), ("int8", "int8")})


def block_ns(block: Block) -> int:
    """What a block costs on the fake runtime: whole, and different for different formats."""
    return sum(layer.macs * (1 if layer.weight_format == "int8" else 3) + 500 for layer in block.layers)


class FakeRuntime(RuntimeDevice):
    """A runtime whose calls take known times on its own clock."""

    name = "fake-runtime"

    def __init__(self, threads: int = 1, batch: int = 8, rounds: int = 4, version: str = "1.0") -> None:
        super().__init__(threads, batch, Protocol(rounds=rounds, sample_ns=1_000), self.clock)
        self.now_ns, self.version = 0, version
        self.parts: list[str] = []

    def clock(self) -> int:
        return self.now_ns

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        return PAIRS

    def machine(self) -> dict[str, Any]:
        return {"cpu_model": "fake", "isa": ["x"], "runtime": "fake", "runtime_version": self.version}

    def compile_part(self, part: Folded, rng: np.random.Generator) -> Call:
        if len(part.blocks) == 1:
            self.parts.append(op_key(part.blocks[0]))
        return self._call(part)

    def _call(self, folded: Folded) -> Callable[[], None]:
        cost = CALL_NS + sum(map(block_ns, folded.blocks))

        def run() -> None:
            self.now_ns += cost

        return run


class KillError(Exception):
    """Stands for a kill of the process."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.json"


@pytest.fixture
def space(tiny_space: MBConvSpace) -> MBConvSpace:
    """More blocks than are compiled at a time."""
    return tiny_space.restrict({"stage0.block0.kernel": [3], "stage0.block1.kernel": [3, 5]})


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


class TestTable:
    def test_blocks_are_freed_of_the_call_and_networks_keep_one(self, space: MBConvSpace, path: Path) -> None:
        device = FakeRuntime()
        table = device.table(space, path, rng())
        blocks = unique_blocks(device.restrict(space), device)
        assert table.entries.keys() == blocks.keys()
        for key, block in blocks.items():
            ends = 0.5 if block.kind in ("stem", "head") else 0
            cost = (ends * CALL_NS + block_ns(block)) / 1e6
            assert table.entries[key]["latency_ms"] == pytest.approx(cost, rel=1e-3)
            assert table.details[key]["median_ms"] == pytest.approx((CALL_NS + block_ns(block)) / 1e6)
        assert table.corrected("latency_ms").offset == pytest.approx(0, abs=1e-5)
        assert table.corrected("latency_ms").scale == pytest.approx(1.0, rel=1e-3)
        assert table.provenance["correction_error"] == pytest.approx(0.0, abs=1e-4)

    def test_the_cost_model_then_predicts_what_is_measured(self, space: MBConvSpace, path: Path) -> None:
        device = FakeRuntime()
        restricted = device.restrict(space)
        genomes = restricted.sample(20, np.random.default_rng(1))
        model = compile_costs(restricted, device, device.table(space, path, rng()))
        networks = [random_folded(restricted.blocks(genome), rng()) for genome in genomes]
        np.testing.assert_allclose(model.cost(genomes)["latency_ms"], device.measure(networks, rng()), rtol=1e-3)

    def test_it_is_kept_with_all_that_made_it(self, space: MBConvSpace, path: Path) -> None:
        device = FakeRuntime()
        table = device.table(space, path, rng())
        assert Table.load(path, device.name, space.hash()) == table
        assert list(path.parent.iterdir()) == [path]
        assert table.provenance.keys() >= {
            *device.provenance(),
            "correction_networks",
            "networks_tau_with_themselves",
        }

    def test_asked_again_it_measures_nothing(self, space: MBConvSpace, path: Path) -> None:
        first = FakeRuntime().table(space, path, rng())
        again = FakeRuntime()
        assert again.table(space, path, rng()) == first
        assert again.now_ns == 0

    def test_progress_goes_from_nothing_to_all(self, space: MBConvSpace, path: Path) -> None:
        seen: list[tuple[int, int]] = []
        FakeRuntime().table(space, path, rng(), lambda done, total: seen.append((done, total)))
        assert len({total for _, total in seen}) == 1
        assert seen[0][0] == 0
        assert seen[-1][0] == seen[-1][1]
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)

    def test_without_a_place_nothing_is_kept(self, space: MBConvSpace, path: Path) -> None:
        table = FakeRuntime().table(space, None, rng())
        assert table.entries == FakeRuntime().table(space, path, rng()).entries


class TestResuming:
    def _killed(self, device: FakeRuntime, space: MBConvSpace, path: Path, share: float) -> Samples:
        """What is on disk after a kill when ``share`` of the work was done."""

        def listen(done: int, total: int) -> None:
            if done >= share * total:
                raise KillError

        with pytest.raises(KillError):
            device.table(space, path, rng(), listen)
        assert not path.exists()
        kept: Samples = json.loads(path.with_name("table.partial.json").read_text())["samples"]
        return kept

    def test_what_was_measured_before_a_kill_is_not_measured_again(self, space: MBConvSpace, path: Path) -> None:
        undisturbed = FakeRuntime(rounds=12)
        wanted = undisturbed.table(space, path.with_name("other.json"), rng())
        resumed = FakeRuntime(rounds=12)
        kept = self._killed(FakeRuntime(rounds=12), space, path, share=0.9)
        table = resumed.table(space, path, rng())
        assert table.entries == wanted.entries
        assert not list(path.parent.glob("*.partial.json"))
        taken = sum(map(len, kept.values()))
        assert taken >= 8 * len(wanted.entries)
        assert resumed.now_ns < 0.7 * undisturbed.now_ns

    def test_a_kill_loses_a_few_rounds_at_most(self, space: MBConvSpace, path: Path) -> None:
        kept = self._killed(FakeRuntime(rounds=12), space, path, share=0.95)
        assert {len(values) for values in kept.values()} <= {8, 12}

    @pytest.mark.parametrize("other", [FakeRuntime(version="2.0"), FakeRuntime(batch=1)])
    def test_work_begun_under_other_conditions_is_begun_anew(
        self, space: MBConvSpace, path: Path, other: FakeRuntime
    ) -> None:
        self._killed(other, space, path, share=1.0)
        device = FakeRuntime()
        with pytest.warns(ForeignTableWarning, match="all is measured anew"):
            table = device.table(space, path, rng())
        assert len(device.parts) == len(table.entries)

    def test_more_rounds_are_measured_and_fewer_are_not(self, space: MBConvSpace, path: Path) -> None:
        FakeRuntime(rounds=4).table(space, path, rng())
        fewer, more = FakeRuntime(rounds=3), FakeRuntime(rounds=6)
        fewer.table(space, path, rng())
        assert fewer.now_ns == 0
        table = more.table(space, path, rng())
        assert {row["rounds"] for row in table.details.values()} == {6}

    def test_a_table_for_a_part_of_the_space_is_completed(self, space: MBConvSpace, path: Path) -> None:
        part = FakeRuntime().table(space.restrict({"stage0.block1.kernel": [3]}), path, rng())
        device = FakeRuntime()
        whole = device.table(space, path, rng())
        assert part.entries.keys() < whole.entries.keys()
        assert sorted(device.parts) == sorted(whole.entries.keys() - part.entries.keys())

    def test_a_part_of_the_space_needs_no_new_table(self, space: MBConvSpace, path: Path) -> None:
        whole = FakeRuntime().table(space, path, rng())
        assert FakeRuntime().table(space.restrict({"stage0.block1.kernel": [3]}), path, rng()) == whole


class TestForeignTables:
    def test_another_version_is_used_with_a_warning(self, space: MBConvSpace, path: Path) -> None:
        table = FakeRuntime().table(space, path, rng())
        with pytest.warns(ForeignTableWarning, match=r"runtime_version '1\.0', here '2\.0'"):
            assert FakeRuntime(version="2.0").table(space, path, rng()) == table

    def test_another_version_is_not_mixed_in(self, space: MBConvSpace, path: Path) -> None:
        FakeRuntime().table(space.restrict({"stage0.block1.kernel": [3]}), path, rng())
        with pytest.raises(InvalidTableError, match=r"lacks \d+ blocks and was measured on another machine"):
            FakeRuntime(version="2.0").table(space, path, rng())

    def test_other_settings_are_refused(self, space: MBConvSpace, path: Path) -> None:
        FakeRuntime().table(space, path, rng())
        with pytest.raises(InvalidTableError, match="batch 8, here 1"):
            FakeRuntime(batch=1).table(space, path, rng())

    def test_another_space_is_refused(self, space: MBConvSpace, path: Path) -> None:
        device = FakeRuntime()
        Table(device.name, "0" * 64, device.costs, {}).save(path)
        with pytest.raises(InvalidTableError, match="space"):
            device.table(space, path, rng())

    @pytest.mark.parametrize("name", ["table.json", "table.partial.json"])
    def test_a_broken_file_is_named(self, space: MBConvSpace, path: Path, name: str) -> None:
        path.with_name(name).write_text('{"kind": ')
        with pytest.raises(CorruptFileError, match=name):
            FakeRuntime().table(space, path, rng())


class TestMeasuring:
    def test_networks_take_what_they_cost(self, space: MBConvSpace) -> None:
        device = FakeRuntime()
        restricted = device.restrict(space)
        networks = [random_folded(restricted.blocks(genome), rng()) for genome in restricted.sample(6, rng())]
        costs = [(CALL_NS + sum(map(block_ns, network.blocks))) / 1e6 for network in networks]
        np.testing.assert_allclose(device.measure(networks, rng()), costs)

    def test_no_networks(self) -> None:
        assert FakeRuntime().measure([], rng()).shape == (0,)

    def test_what_it_can_not_execute_is_refused(self, tiny_space: MBConvSpace) -> None:
        genome = tiny_space.genome(
            {"stage0.block0.depthwise.weight_format": "int4", "stage0.block0.depthwise.activation_format": "int8"}
        )
        network = random_folded(tiny_space.blocks(genome), rng())
        with pytest.raises(UnsupportedError, match=r"stage0\.block0\.depthwise with int4 weights and int8"):
            FakeRuntime().measure([network], rng())

    @pytest.mark.parametrize(
        ("option", "value"),
        [("threads", 0), ("batch", 0), ("batch", 1.5), ("batch", True), ("rounds", 1), ("threads", "2")],
    )
    def test_bad_options_are_named(self, option: str, value: Any) -> None:
        with pytest.raises(UnsupportedError, match=f"{option} = "):
            FakeRuntime(**{option: value})
