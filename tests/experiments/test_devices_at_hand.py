"""Profiles and latencies from where the device is: the same as in this process, whatever happens to workers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitfront.experiments.concluding import CancelledError
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages import device_work
from bitfront.experiments.stages.device_work import Profile, make_profiler
from bitfront.experiments.stages.devices_at_hand import measured, profile_on, profiled
from bitfront.experiments.stages.measuring import MeasurementError
from bitfront.experiments.store.home import open_store
from bitfront.latency_lut.bundle.profile import Protocol
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.runtime_device import RuntimeDevice
from bitfront.latency_lut.table import Table
from bitfront.search.executors import EXECUTORS
from bitfront.search.executors.base import Executor, WorkerStartError, device_resource
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.files import write_json
from bitfront.supernet.folded import Folded
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace

STEPS = 15
TABLE = "slow-runtime-1.json"


class SlowRuntime(RuntimeDevice):
    """A runtime on its own clock, which takes steps before it profiles, and keeps how many beside its table."""

    name = "slow-runtime"

    def __init__(
        self, pairs: Sequence[str] = ("fp32", "int8"), broken: bool = False, step_s: float = 0.02
    ) -> None:
        super().__init__(1, 8, Protocol(rounds=2, sample_ns=1_000), self.clock)
        self.pairs, self.broken, self.step_s = tuple(pairs), broken, step_s
        self.now_ns = 0

    def clock(self) -> int:
        return self.now_ns

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        return frozenset((one, one) for one in self.pairs)

    def machine(self) -> dict[str, Any]:
        return {"cpu_model": "fake", "isa": ["x"], "runtime": "fake", "runtime_version": "1"}

    def compile_part(self, part: Folded, rng: np.random.Generator) -> Callable[[], None]:
        cost = 7_000 + sum(one.layer.macs for one in part.layers)

        def run() -> None:
            self.now_ns += cost

        return run

    def table(
        self, space: SearchSpace, path: Path | None, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        assert path is not None
        assert progress is not None
        notes = path.with_name(f"{path.stem}.steps.json")
        done = json.loads(notes.read_text()) if notes.is_file() else []
        while len(done) < STEPS:
            time.sleep(self.step_s)
            done.append(self.begun)
            write_json(notes, done)
            progress(len(done), STEPS)
        if self.broken:
            raise RuntimeError("no such instruction")
        write_json(path.with_name(f"{path.stem}.done.json"), done)
        notes.unlink()
        return super().table(space, path, rng)

    @property
    def begun(self) -> str:
        """Which device of several took a step."""
        return f"{id(self):x}"


class Losing(Executor):
    """Loses its worker before some of its calls, counted from 1."""

    def __init__(self, *before: int) -> None:
        self._inner, self._before, self.calls = EXECUTORS.get("local")(), before, 0
        self.resources: list[Any] = []

    def map(self, make_worker: Any, shared: Any, items: Any, on_result: Any = None, resources: Any = None) -> Any:
        self.calls += 1
        self.resources.append(resources)
        if self.calls in self._before:
            self.dismiss()
        return self._inner.map(make_worker, shared, items, on_result, resources)

    def dismiss(self) -> None:
        self._inner.dismiss()

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def space(tiny_space: MBConvSpace) -> SearchSpace:
    return SlowRuntime().restrict(tiny_space.restrict({"resolution": [8]}))


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_work, "_ANSWER_S", 0.03)


def profile(space: SearchSpace, **options: Any) -> Profile:
    return Profile(lambda: SlowRuntime(**options), space, np.random.default_rng(3), TABLE)


def leave(executor: Executor, space: SearchSpace, folder: Path, progress: Progress, **options: Any) -> None:
    profile_on(executor, "slow-runtime", profile(space, **options), folder, progress, lambda words: None)


def without_date(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    del content["provenance"]["date"]
    return content


def test_a_profile_is_that_of_this_process(space: SearchSpace, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    executor = Losing()
    leave(executor, space, tmp_path / "there", lambda done, total: heard.append((done, total)))
    SlowRuntime().table(space, tmp_path / "here" / TABLE, np.random.default_rng(3), lambda done, total: None)
    assert without_date(tmp_path / "there" / TABLE) == without_date(tmp_path / "here" / TABLE)
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["slow-runtime-1.done.json", TABLE]
    assert heard == sorted(heard)
    assert len(heard) > 3
    assert heard[-1] == (STEPS, STEPS)
    assert executor.resources == [{device_resource("slow-runtime"): 1}] * executor.calls


def test_what_was_measured_before_a_cancel_is_gone_on_from(space: SearchSpace, tmp_path: Path) -> None:
    def cancel(done: int, total: int) -> None:
        if done >= 3:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        leave(Losing(), space, tmp_path, cancel, step_s=0.1)
    kept = json.loads((tmp_path / "slow-runtime-1.steps.json").read_text())
    assert 3 <= len(kept) < STEPS
    leave(Losing(), space, tmp_path, lambda done, total: None)
    steps = json.loads((tmp_path / "slow-runtime-1.done.json").read_text())
    assert steps[: len(kept)] == kept
    assert len(steps) == STEPS
    assert not (tmp_path / "slow-runtime-1.steps.json").exists()


def test_a_worker_that_dies_costs_little(space: SearchSpace, tmp_path: Path) -> None:
    executor = Losing(6)
    leave(executor, space, tmp_path, lambda done, total: None)
    steps = json.loads((tmp_path / "slow-runtime-1.done.json").read_text())
    assert len(steps) == STEPS
    assert executor.calls > 6
    assert len(set(steps)) == 2, "two devices took part"
    Table.load(tmp_path / TABLE, "slow-runtime", space.hash())


def test_workers_that_die_before_anything_is_kept_end_it(space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="3 workers died of it in a row"):
        leave(Losing(*range(2, 20, 2)), space, tmp_path, lambda done, total: None, step_s=30.0)


def test_an_error_of_the_profile_is_told(space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="on its machine: RuntimeError: no such instruction"):
        leave(Losing(), space, tmp_path, lambda done, total: None, broken=True)
    assert not (tmp_path / TABLE).exists()


def test_a_machine_with_other_formats_is_refused(space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(WorkerStartError, match="executes fewer formats on the machine that measures"):
        leave(Losing(), space, tmp_path, lambda done, total: None, pairs=["fp32"])


def test_an_answer_has_only_what_changed(space: SearchSpace) -> None:
    answer = make_profiler(profile(space, step_s=0.08))
    assert answer(None) is None
    answers = [answer({"slow-runtime-1.foreign.json": b"{}"})]
    while answers[-1] is not None and not answers[-1].has_ended:
        answers.append(answer(None))
    files = [dict(one.files) for one in answers if one is not None]
    assert not any("slow-runtime-1.foreign.json" in changed for changed in files)
    assert {} in files
    assert [changed["slow-runtime-1.steps.json"] for changed in files if "slow-runtime-1.steps.json" in changed][
        -1
    ] is None


SPEC = "{{space: digits, data: digits, device: slow-runtime, executor: {{kind: {kind}}}}}"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The device is known here, and travels as code to workers, which can not import this module."""
    ray = pytest.importorskip("ray")
    monkeypatch.setitem(DEVICES._targets, "slow-runtime", f"{__name__}:SlowRuntime")
    monkeypatch.setitem(DEVICES._loaded, "slow-runtime", SlowRuntime)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def at_hand(
    home: Path, kind: str, space: SearchSpace, networks: list[Folded]
) -> tuple[dict[str, Any], list[float]]:
    """The table and the latencies that an experiment with this executor finds, and finds again."""
    device, path = SlowRuntime(), home / "tables" / TABLE
    with open_store(home) as store:
        spec = parse_spec(SPEC.format(kind=kind))
        experiment = store.create_experiment(spec.name, spec.as_json(), 0)
        store.claim(experiment.id)
        run = Run(store, home, experiment.id, spec, Reporters())
        try:
            profiled(run, "slow-runtime", device, space, path, np.random.default_rng(3))
            before = path.read_bytes()
            found = measured(run, "slow-runtime", device, networks, np.random.default_rng(4))
            profiled(run, "slow-runtime", device, space, path, np.random.default_rng(3))
            assert path.read_bytes() == before
        finally:
            run.close()
    return without_date(path), found.tolist()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("registered")
def test_a_machine_of_a_cluster_measures_what_this_process_does(
    space: SearchSpace, tiny_space: MBConvSpace, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    networks = [random_folded(space.blocks(genome), rng) for genome in space.sample(3, rng)]
    here = at_hand(tmp_path / "here", "local", space, networks)
    there = at_hand(tmp_path / "there", "ray", space, networks)
    assert there == here
    assert len(set(here[1])) == 3
