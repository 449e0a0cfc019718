"""What a further device or a further constraint costs, once there is a supernet with its predictor.

Wang et al. (APQ, CVPR 2020) report half a GPU hour for each further deployment. Here each is an experiment as
people launch them, one after the other in one home: its table is computed, its front is searched for, and some
members of that are measured on validation and test data. Supernet, samples and predictor are made once before,
and told apart; a supernet that comes with bitfront was trained before, and its record says how long that took. The
home is a new one, so that nothing is found that an earlier run of the benchmark paid for. The last device is
measured instead of modelled: its table is profiled here.

Energy is measured by RAPL or estimated (see `spending`). Half a GPU hour is taken at the board power of the
smaller V100, 250 W (NVIDIA, Tesla V100 PCIe product brief, 2017): that GPU is assumed. APQ's networks are for
ImageNet: what compares is what a user pays for a further device, not the same work.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.further_devices import further_devices
from bitfront.experiments.benchmarks.growth_plot import Growth, growth_figure
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.shared_cost import paid_once
from bitfront.experiments.benchmarks.spending import WATTS_PER_CORE, Meter, Spent, StageClock
from bitfront.experiments.benchmarks.studied import studied_spec
from bitfront.experiments.pipeline import run_experiment
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.rows import read_front
from bitfront.experiments.spec import Spec
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import home, open_store

_COUNTS, _QUICK_COUNTS = (1, 5, 20), (1, 2, 4)
_MEASURED, _QUICK_MEASURED = 4, 3
_QUICK_SEARCH = {"population": 20, "generations": 10}
_CONSTRAINED, _PROFILED = "bitfusion", "host-onnxruntime"
_GOLDEN = (1 + math.sqrt(5)) / 2
_ROOM = 1.05  # of the least latency, so that the first limit leaves a choice
_APQ_GPU_HOURS, _GPU_WATTS = 0.5, 250.0
_PIECES = {
    "1 space": "found",
    "2 supernet": "found",
    "3 measured samples": "found",
    "4 predictor and device table": "table",
    "5 search": "search",
    "6 measured front": "measuring",
    "7 export": "measuring",
}
_GOALS = (
    "seconds_per_further_device <= 1800",
    "devices_growth <= 1.2",
    "seconds_per_further_constraint <= 1800",
    "constraints_growth <= 1.2",
)
_FULL_GOALS = ("measured_device_seconds <= 1800",)


@dataclass(frozen=True)
class Paid:
    """What one experiment cost, in pieces: what it found again, its table, its search, and measuring its front."""

    pieces: Mapping[str, Spent]

    @property
    def all(self) -> Spent:
        """The pieces together."""
        return sum(self.pieces.values(), Spent())


@dataclass(frozen=True)
class _Place:
    """A home in which experiments are run one after the other."""

    folder: Path
    store: Store
    quick: bool
    meter: Meter
    reporter: Reporter
    experiments: list[str] = field(default_factory=list)

    def spec(self, **sections: Any) -> Spec:
        front = {"measure": _QUICK_MEASURED if self.quick else _MEASURED}
        search = {"search": _QUICK_SEARCH} if self.quick else {}
        return studied_spec(_CONSTRAINED, self.quick, front=front, **search, **sections)

    def paid(self, spec: Spec) -> Paid:
        one = self.store.create_experiment(spec.name, spec.as_json(), spec.seed).id
        self.experiments.append(one)
        clock = StageClock(self.reporter, self.meter)
        with clock.running():
            run_experiment(self.store, self.folder, one, clock)
        pieces = dict.fromkeys(_PIECES.values(), Spent())
        for stage, spent in clock.spent.items():
            pieces[_PIECES[stage]] += spent
        return Paid(pieces)

    def each(self, specs: Sequence[Spec], label: str) -> list[Paid]:
        progress, found = self.reporter.progress(label), []
        for spec in specs:
            found.append(self.paid(spec))
            progress(len(found), len(specs))
        return found


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Every device and every constraint is a search of its own; ``seeds`` are not used.

    Quick: four of each, on digits with a supernet that is barely trained here, and no device that is measured.
    """
    meter = Meter()
    with new_home(home() / "bench" / "search-cost") as folder, open_store(folder) as store:
        place = _Place(folder, store, quick, meter, reporter)
        once = paid_once(place.folder, store, place.spec(), meter, reporter)
        counts = _QUICK_COUNTS if quick else _COUNTS
        sections = further_devices(place.folder)[: counts[-1]]
        devices = place.each([place.spec(device=section) for section in sections], "devices")
        unconstrained = place.experiments[sections.index({"name": _CONSTRAINED, "options": {}})]
        limits = _limits(store, unconstrained, counts[-1])
        constraints = place.each([place.spec(constraints=[limit]) for limit in limits], "constraints")
        profiled = None if quick else place.paid(place.spec(device={"name": _PROFILED}))
    figures = {
        "energy_is_measured": float(meter.is_measured),
        "watts_per_core": WATTS_PER_CORE,
        "measured_members": float(_QUICK_MEASURED if quick else _MEASURED),
        **once.figures(),
        **grown("device", devices, counts),
        **grown("constraint", constraints, counts),
        **_of_profiled(profiled),
    }
    figures |= _beside_apq(figures["joules_per_further_device"])
    goals = _GOALS if quick else (*_GOALS, *_FULL_GOALS)
    picture = growth_figure({"devices": _growth(devices), "constraints": _growth(constraints)})
    return BenchResult.of("search-cost", 1, figures, goals, {"growth": picture}, [once.words, meter.words])


@contextmanager
def new_home(folder: Path) -> Iterator[Path]:
    """An empty folder, one run's at a time, which is removed after it; so is what a killed run left there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def grown(kind: str, paid: Sequence[Paid], counts: Sequence[int]) -> dict[str, float]:
    """Costs of the first ``counts`` together, what a further one costs by a line through all sums, and its pieces.

    ``KINDs_growth`` is what each of the last count costs by what each of the one before does: 1 where the cost is
    proportional to their number, above 1 where it grows faster.
    """
    figures: dict[str, float] = {}
    number = np.arange(1, len(paid) + 1)
    for name in ("seconds", "cpu_seconds", "joules"):
        total = np.cumsum([getattr(one.all, name) for one in paid])
        figures |= {f"{kind}s_{count}_{name}": float(total[count - 1]) for count in counts}
        figures[f"{name}_per_further_{kind}"] = float(np.polyfit(number, total, 1)[0])
    few, many = counts[-2:]
    growth = figures[f"{kind}s_{many}_seconds"] / many / (figures[f"{kind}s_{few}_seconds"] / few)
    return (
        figures
        | {f"{kind}s_growth": growth}
        | {f"{piece}_seconds_per_{kind}": seconds for piece, seconds in _growth(paid).pieces.items()}
    )


def _growth(paid: Sequence[Paid]) -> Growth:
    pieces = {piece: float(np.mean([one.pieces[piece].seconds for one in paid])) for piece in paid[0].pieces}
    return Growth(np.array([one.all.seconds for one in paid]), pieces)


def _limits(store: Store, experiment: str, n: int) -> list[str]:
    """Constraints in equal ratios over the latencies of an experiment's front, in `mixed` order."""
    latency = read_front(store, experiment).predicted["latency_ms"]
    limits = np.geomspace(_ROOM * latency.min(), latency.max(), n)[mixed(n)]
    return [f"latency_ms <= {limit:.6g}" for limit in limits]


def mixed(n: int) -> NDArray[np.intp]:
    """Places (n,) in an order in which the first few are spread over all, as networks of loose limits cost more.

    Steps of the golden section, of which any number are spread well (Weyl 1916).
    """
    step = next(step for step in range(round(n / _GOLDEN), n + 1) if math.gcd(step, n) == 1)
    return np.arange(n) * step % n


def _of_profiled(paid: Paid | None) -> dict[str, float]:
    if paid is None:
        return {}
    return {
        "measured_device_seconds": paid.all.seconds,
        "measured_device_cpu_seconds": paid.all.cpu_seconds,
        "measured_device_joules": paid.all.joules,
        "measured_device_table_seconds": paid.pieces["table"].seconds,
    }


def _beside_apq(joules: float) -> dict[str, float]:
    apq = _APQ_GPU_HOURS * 3600 * _GPU_WATTS
    return {"apq_joules_per_further_device": apq, "times_less_energy_than_apq": apq / joules}
