"""True evaluations on Ray: what a second worker brings, and what is lost when workers and machines go away.

All is done on a cluster of three machines, which are processes of this one, with a worker on each. Speed is wall
time: each round measures the same candidates of `digits` with one of the workers and with two, in turn, and the
ratio of each round counts. Busy neighbours take a second worker's core away; ``load_average`` says how many there
were. The networks are untrained, with step sizes set from what their layers show: times do not depend on weights.

Then a search over true evaluations runs twice with the same seed: in this process, and on the cluster, of which
one machine goes away while a worker of another is killed. Workers write down whatever they measure, so that a
candidate that was measured again, into another value, is found even where nobody was told of it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bitfront.experiments.benchmarks.evaluate import prepared_supernet
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.stages.measuring import Item, Shared
from bitfront.experiments.stages.measuring import make_worker as make_measurer
from bitfront.latency_lut.devices import DEVICES
from bitfront.search import search
from bitfront.search.executors import EXECUTORS
from bitfront.search.executors.base import Executor, WorkerStartError
from bitfront.search.executors.local import one_thread
from bitfront.search.front import Front
from bitfront.search.measured import MeasuredProblem, Outcome, measure_on
from bitfront.supernet.data.digits import digits
from bitfront.supernet.evaluation_plan import sharing_order
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.settings import SpaceSettings

_NAME = "digits"
_CHUNK = 8
_CALIBRATION_IMAGES = 256
_MACHINES = 3
_MOST_SECONDS, _LOOK_EVERY_S = 600.0, 0.2
_THERE, _FOUND = ".machine", ".values"
_GOALS = (
    "times_one_worker >= 1.7",
    "workers_killed >= {seeds}",
    "machines_removed >= {seeds}",
    "candidates_lost <= 0",
    "values_that_differ <= 0",
    "fronts_that_differ <= 0",
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Candidates and rounds whose time is taken; population and generations of the disturbed search."""

    candidates: int
    rounds: int
    population: int
    generations: int


FULL, QUICK = Sizes(96, 5, 24, 8), Sizes(16, 1, 8, 3)


@dataclass(frozen=True)
class Watched:
    """What a worker needs, and a folder in which it says where it is and what it finds."""

    measuring: Shared
    folder: str


def make_worker(shared: Watched) -> Callable[[Genomes], list[Outcome]]:
    """A worker that measures genomes (k, n_genes) on the validation split."""
    work, folder = make_measurer(shared.measuring), Path(shared.folder)
    (folder / f"{os.getpid()}{_THERE}").write_text(_machine())

    def measured(genomes: Genomes) -> list[Outcome]:
        found = work(tuple(Item(genome.tobytes(), "validation", "quantized") for genome in genomes))
        outcomes = [one if isinstance(one, str) else one.top1 for one in found]
        with (folder / f"{os.getpid()}{_FOUND}").open("a") as file:
            for genome, outcome in zip(genomes, outcomes, strict=True):
                file.write(json.dumps([genome.tobytes().hex(), outcome]) + "\n")
        return outcomes

    return measured


def _machine() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else ""


def _workers(folder: Path) -> dict[int, str]:
    """Process to machine of the workers that were made and not taken away."""
    return {int(path.name.removesuffix(_THERE)): path.read_text() for path in folder.glob(f"*{_THERE}")}


def found_in(folder: Path) -> dict[bytes, set[Outcome]]:
    """All values that workers have found of each genome; a line that a kill cut short says nothing."""
    found: dict[bytes, set[Outcome]] = {}
    for path in folder.glob(f"*{_FOUND}"):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                genome, outcome = json.loads(line)
                found.setdefault(bytes.fromhex(genome), set()).add(outcome)
    return found


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Seeds draw the candidates whose time is taken, and the searches."""
    sizes = QUICK if quick else FULL
    figures = {"load_average": os.getloadavg()[0]}
    with one_thread(), TemporaryDirectory() as folder:
        supernet = prepared_supernet(SPACES.get(_NAME)(), digits(), 0)
        weights = {name: tensor.detach().numpy() for name, tensor in supernet.state_dict().items()}
        watched = Watched(Shared(SpaceSettings(_NAME), _NAME, weights, _CALIBRATION_IMAGES), folder)
        with _cluster() as cluster, closing(_executor(cluster)) as executor:
            figures |= _speeds(executor, watched, sizes, seeds, reporter)
            figures |= _losses(cluster, executor, watched, sizes, seeds, reporter)
    return BenchResult.of("ray", seeds, figures, [goal.format(seeds=seeds) for goal in _GOALS])


@contextmanager
def _cluster() -> Iterator[Any]:
    """So many machines, each with one CPU."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(_MACHINES - 1):
            cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def _executor(cluster: Any) -> Executor:
    return EXECUTORS.get("ray")(workers=_MACHINES, address=cluster.address)


# -- speed ------------------------------------------------------------------------------------------------------


def _speeds(executor: Executor, shared: Watched, sizes: Sizes, seeds: int, reporter: Reporter) -> dict[str, float]:
    progress = reporter.progress("measuring with one worker and with two")
    ratios, rates = [], []
    started = _started(executor, shared)  # all stay, so that nothing of what follows is starting
    for number in range(seeds * sizes.rounds):
        chunks = _chunks(sizes.candidates, number)
        order = (1, 2) if number % 2 == 0 else (2, 1)  # who is second finds what the first has kept
        seconds = {workers: _seconds(executor, shared, chunks, workers) for workers in order}
        alone, together = seconds[1], seconds[2]
        ratios.append(alone / together)
        rates.append(sizes.candidates / alone)
        progress(number + 1, seeds * sizes.rounds)
    return {
        "times_one_worker": float(np.median(ratios)),
        "times_one_worker_least": min(ratios),
        "times_one_worker_most": max(ratios),
        "trials_per_second_one_worker": float(np.median(rates)),
        "seconds_of_first_call": started,
        "seconds_of_further_call": _seconds(executor, shared, _chunks(1, 0), 2),
    }


def _chunks(n: int, seed: int) -> list[Genomes]:
    space = SPACES.get(_NAME)()
    genomes = space.sample(n, np.random.default_rng([seed, n]), "sizes")
    ordered = genomes[sharing_order(space, genomes)]
    return [ordered[start : start + _CHUNK] for start in range(0, n, _CHUNK)]


def _started(executor: Executor, shared: Watched) -> float:
    """Seconds until the first of the workers is there; then waits for all, and lets each measure something.

    Raises:
        WorkerStartError: they do not all start.
    """
    warm, until = [_chunks(_CHUNK, 1)[0]] * (2 * _MACHINES), time.monotonic() + _MOST_SECONDS
    seconds = _seconds(executor, shared, [_chunks(1, 0)[0]] * _MACHINES, _MACHINES)
    while (there := len(_workers(Path(shared.folder)))) < _MACHINES:
        if time.monotonic() > until:
            raise WorkerStartError(
                f"{there} of {_MACHINES} workers have started in {_MOST_SECONDS:g} s: free memory and processors, "
                "and run the benchmark again"
            )
        time.sleep(_LOOK_EVERY_S)  # they need the processors to start
    _seconds(executor, shared, warm, _MACHINES)
    return seconds


def _seconds(executor: Executor, shared: Watched, chunks: Sequence[Genomes], workers: int) -> float:
    """Wall time of measuring chunks with so many of the workers."""
    executor.workers = workers
    start = time.perf_counter()
    try:
        results = executor.map(make_worker, shared, chunks)
    finally:
        executor.workers = _MACHINES
    assert all(isinstance(result, list) for result in results)
    return time.perf_counter() - start


# -- losses -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Searched:
    """A search over true evaluations: its front, what it took of each candidate, and all values found of each."""

    front: Front
    outcomes: dict[bytes, Outcome]
    found: dict[bytes, set[Outcome]] = field(default_factory=dict)


def _losses(
    cluster: Any, executor: Executor, watched: Watched, sizes: Sizes, seeds: int, reporter: Reporter
) -> dict[str, float]:
    progress = reporter.progress("searching while workers and machines go away")
    totals = np.zeros(5)
    for seed in range(seeds):
        with TemporaryDirectory() as folder, closing(EXECUTORS.get("local")()) as local:
            here = searched(local, Watched(watched.measuring, folder), sizes, seed, lambda *_: None)
        _started(executor, watched)
        trouble = _Trouble(cluster, Path(watched.folder))
        there = searched(executor, watched, sizes, seed, trouble)
        totals += [trouble.killed, trouble.removed, *differences(here, there)]
        if seed < seeds - 1:
            cluster.add_node(num_cpus=1)
        progress(seed + 1, seeds)
    names = ("workers_killed", "machines_removed", "candidates_lost", "values_that_differ", "fronts_that_differ")
    return dict(zip(names, totals.tolist(), strict=True))


def searched(
    executor: Executor,
    shared: Watched,
    sizes: Sizes,
    seed: int,
    on_measured: Callable[[Genomes, Sequence[Outcome]], None],
) -> Searched:
    """NSGA-II over measured accuracy and the cycles of a modelled accelerator."""
    device, space = DEVICES.get("bitfusion")(), SPACES.get(_NAME)()
    space = device.restrict(space)
    measure = measure_on(
        executor, make_worker, shared, order=lambda some: sharing_order(space, some), on_measured=on_measured
    )
    problem = MeasuredProblem(space, ["top1", "latency_ms", "size_bytes"], measure, device.compile(space).cost)
    front = search(
        problem,
        rng=np.random.default_rng(seed),
        generations=sizes.generations,
        options={"population": sizes.population},
    )
    return Searched(front, dict(problem.outcomes), found_in(Path(shared.folder)))


def differences(here: Searched, there: Searched) -> tuple[int, int, int]:
    """Candidates that only one of two searches measured, those with other values, and whether fronts differ.

    A candidate has other values too where one search measured it twice, into different ones.
    """
    lost = len(here.outcomes.keys() ^ there.outcomes.keys())
    other = sum(len(_values(key, here) | _values(key, there)) > 1 for key in {**here.outcomes, **there.outcomes})
    same = np.array_equal(here.front.genomes, there.front.genomes) and np.array_equal(here.front.F, there.front.F)
    return lost, other, int(not same)


def _values(genome: bytes, one: Searched) -> set[Outcome]:
    taken = {one.outcomes[genome]} if genome in one.outcomes else set()
    return taken | one.found.get(genome, set())


class _Trouble:
    """Kills a worker as soon as something is measured, and later takes away a machine on which another one is."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder
        self._machine = next(iter(cluster.worker_nodes))
        self.killed = self.removed = 0

    def __call__(self, genomes: Genomes, outcomes: Sequence[Outcome]) -> None:
        workers = _workers(self._folder)
        mine = [pid for pid, machine in workers.items() if machine == self._machine.node_id]
        elsewhere = [pid for pid in workers if pid not in mine]
        if not self.killed and elsewhere:
            self._gone(elsewhere[0])
            os.kill(elsewhere[0], signal.SIGKILL)
            self.killed += 1
        elif not self.removed and mine:
            for pid in mine:
                self._gone(pid)
            self._cluster.remove_node(self._machine, allow_graceful=False)
            self.removed += 1

    def _gone(self, pid: int) -> None:
        (self._folder / f"{pid}{_THERE}").unlink()
