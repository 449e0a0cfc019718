"""True evaluations on Ray: what a second worker brings, and what is lost when workers and machines go away.

Speed is wall time, as workers are processes of their own: each round measures the same candidates of `digits` with
one worker and with two, in turn, and the ratio of each round counts. Busy neighbours take a second worker's core
away; ``load_average`` says how many there were. The networks are untrained, with step sizes set from what their
layers show: times do not depend on weights.

Then a search over true evaluations runs twice with the same seed: in this process, and on a cluster of three
machines (processes of this one) of which one goes away while a worker of another is killed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
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
from bitfront.search.executors.base import Executor
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
    """What a worker needs, and a folder in which it says which process it is and on which machine."""

    measuring: Shared
    folder: str


def make_worker(shared: Watched) -> Callable[[Genomes], list[Outcome]]:
    """A worker that measures genomes (k, n_genes) on the validation split."""
    work = make_measurer(shared.measuring)
    (Path(shared.folder) / str(os.getpid())).write_text(_machine())

    def measured(genomes: Genomes) -> list[Outcome]:
        found = work(tuple(Item(genome.tobytes(), "validation", "quantized") for genome in genomes))
        return [one if isinstance(one, str) else one.top1 for one in found]

    return measured


def _machine() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else ""


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Seeds draw the candidates whose time is taken, and the searches."""
    sizes = QUICK if quick else FULL
    figures = {"load_average": os.getloadavg()[0]}
    with one_thread():
        supernet = prepared_supernet(SPACES.get(_NAME)(), digits(), 0)
        weights = {name: tensor.detach().numpy() for name, tensor in supernet.state_dict().items()}
        shared = Shared(SpaceSettings(_NAME), _NAME, weights, _CALIBRATION_IMAGES)
        with TemporaryDirectory() as folder:
            figures |= _speeds(Watched(shared, folder), sizes, seeds, reporter)
        figures |= _losses(shared, sizes, seeds, reporter)
    return BenchResult.of("ray", seeds, figures, [goal.format(seeds=seeds) for goal in _GOALS])


# -- speed ------------------------------------------------------------------------------------------------------


def _speeds(shared: Watched, sizes: Sizes, seeds: int, reporter: Reporter) -> dict[str, float]:
    import ray

    progress = reporter.progress("measuring with one worker and with two")
    ratios, rates = [], []
    # Both keep their workers all along, so that none of it is starting.
    with closing(EXECUTORS.get("ray")(workers=3)):
        assert ray.is_initialized()
        one, two = EXECUTORS.get("ray")(workers=1), EXECUTORS.get("ray")(workers=2)
        with closing(one), closing(two):
            started = [_started(executor, shared) for executor in (one, two)]
            for number in range(seeds * sizes.rounds):
                chunks = _chunks(sizes.candidates, number)
                alone, together = _seconds(one, shared, chunks), _seconds(two, shared, chunks)
                ratios.append(alone / together)
                rates.append(sizes.candidates / alone)
                progress(number + 1, seeds * sizes.rounds)
            kept = _seconds(two, shared, _chunks(1, 0))
    return {
        "times_one_worker": float(np.median(ratios)),
        "times_one_worker_least": min(ratios),
        "times_one_worker_most": max(ratios),
        "trials_per_second_one_worker": float(np.median(rates)),
        "seconds_of_first_call": started[0],
        "seconds_of_further_call": kept,
    }


def _chunks(n: int, seed: int) -> list[Genomes]:
    space = SPACES.get(_NAME)()
    genomes = space.sample(n, np.random.default_rng([seed, n]), "sizes")
    ordered = genomes[sharing_order(space, genomes)]
    return [ordered[start : start + _CHUNK] for start in range(0, n, _CHUNK)]


def _started(executor: Executor, shared: Watched) -> float:
    """Seconds until its workers are all there; each has then measured something."""
    seconds, before = 0.0, _made(shared)
    while _made(shared) < before + executor.workers:
        seconds = seconds or _seconds(executor, shared, [_chunks(1, 0)[0]] * (2 * executor.workers))
    _seconds(executor, shared, [_chunks(_CHUNK, 1)[0]] * (2 * executor.workers))
    return seconds


def _made(shared: Watched) -> int:
    return len(list(Path(shared.folder).iterdir()))


def _seconds(executor: Executor, shared: Watched, chunks: Sequence[Genomes]) -> float:
    start = time.perf_counter()
    results = executor.map(make_worker, shared, chunks)
    assert all(isinstance(result, list) for result in results)
    return time.perf_counter() - start


# -- losses -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Searched:
    """A search over true evaluations: its front and all that was measured."""

    front: Front
    outcomes: dict[bytes, Outcome]


def _losses(shared: Shared, sizes: Sizes, seeds: int, reporter: Reporter) -> dict[str, float]:
    progress = reporter.progress("searching while workers and machines go away")
    totals = np.zeros(5)
    for seed in range(seeds):
        with TemporaryDirectory() as folder, closing(EXECUTORS.get("local")()) as local:
            here = searched(local, Watched(shared, folder), sizes, seed, lambda *_: None)
        there, killed, removed = _disturbed(shared, sizes, seed)
        totals += [killed, removed, *differences(here, there)]
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
    return Searched(front, dict(problem.outcomes))


def differences(here: Searched, there: Searched) -> tuple[int, int, int]:
    """Candidates that only one of two searches measured, those with other values, and whether fronts differ."""
    lost = len(here.outcomes.keys() ^ there.outcomes.keys())
    common = here.outcomes.keys() & there.outcomes.keys()
    other = sum(here.outcomes[key] != there.outcomes[key] for key in common)
    same = np.array_equal(here.front.genomes, there.front.genomes) and np.array_equal(here.front.F, there.front.F)
    return lost, other, int(not same)


def _disturbed(shared: Shared, sizes: Sizes, seed: int) -> tuple[Searched, int, int]:
    """(What was found, workers killed, machines removed)."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        others = [cluster.add_node(num_cpus=1) for _ in range(2)]
        with TemporaryDirectory() as folder:
            watched, trouble = Watched(shared, folder), _Trouble(cluster, others[0], Path(folder))
            with closing(EXECUTORS.get("ray")(workers=3, address=cluster.address)) as executor:
                _started(executor, watched)
                found = searched(executor, watched, sizes, seed, trouble)
        return found, trouble.killed, trouble.removed
    finally:
        cluster.shutdown()


class _Trouble:
    """Kills a worker as soon as something is measured, and later takes away a machine on which a worker is."""

    def __init__(self, cluster: Any, machine: Any, folder: Path) -> None:
        self._cluster, self._machine, self._folder = cluster, machine, folder
        self.killed = self.removed = 0

    def __call__(self, genomes: Genomes, outcomes: Sequence[Outcome]) -> None:
        workers = {int(path.name): path.read_text() for path in self._folder.iterdir()}
        elsewhere = [pid for pid, machine in workers.items() if machine and machine != self._machine.node_id]
        if not self.killed and elsewhere:
            os.kill(elsewhere[0], signal.SIGKILL)
            self.killed += 1
        elif not self.removed and self._machine.node_id in workers.values():
            self._cluster.remove_node(self._machine, allow_graceful=False)
            self.removed += 1
