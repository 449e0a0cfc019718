"""Do measured tables predict whole networks? Sums of blocks against the networks themselves, on this machine.

Per target and space a table is profiled, and in the same rounds random networks with mixed bit-width policies are
timed, of which neither the table nor its correction knows; they are compared with what the cost model says. Beside
it is a baseline that counts MACs, fitted on the very networks that corrected the table. The truth does not repeat
itself exactly either: Kendall's tau between its even and odd rounds is the most that can be asked of a prediction,
and ``truth_moved`` is how much slower the last seed's networks are when they are measured once more, after all of
that: ``mape_later`` holds the table against those.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from bitfront.experiments.benchmarks.fidelity_cases import CASES, QUICK_CASES, Case
from bitfront.experiments.benchmarks.fidelity_plot import Scatter, fidelity_figure
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.reporter import Reporter
from bitfront.latency_lut.bundle.profile import Samples, Times, summary
from bitfront.latency_lut.correction import fit_correction, mean_relative_error
from bitfront.latency_lut.cost_model import CostModel, compile_costs
from bitfront.latency_lut.derive import LATENCY, repeatability
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.op_key import layers_in
from bitfront.latency_lut.profile_plan import JOINED_BY, call_key, profile_plan
from bitfront.latency_lut.runtime_device import RuntimeDevice
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.table import Correction, Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.genes import Genomes
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

_NETWORKS = 40
_QUICK_NETWORKS = 12
_HIGHEST_ERROR = 0.03
_LEAST_TAU = 0.95
_TAU_BELOW_TRUTH = 0.02


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Figures of every case; seeds draw the networks.

    Quick: a tiny space with few choices, few networks and few rounds.
    """
    figures: dict[str, float] = {}
    goals: list[str] = []
    scatters: list[Scatter] = []
    notes: list[str] = []
    for case in QUICK_CASES if quick else CASES:
        device = _device(case)
        if device is None:
            notes.append(f"{case.words}: left out, as it can not run on this machine.")
            continue
        found, scatter = _one(case, device, quick, seeds, reporter)
        figures |= {f"{name}_{case.name}": value for name, value in found.items()}
        goals += [f"mape_{case.name} <= {_HIGHEST_ERROR}", f"tau_over_least_{case.name} >= 0"]
        scatters.append(scatter)
    return BenchResult.of("lut-fidelity", seeds, figures, goals, {"scatter": fidelity_figure(scatters)}, notes)


def _device(case: Case) -> RuntimeDevice | None:
    try:
        device = DEVICES.get(case.device)(**case.options)
    except UnsupportedError:
        return None
    return device if isinstance(device, RuntimeDevice) else None


def _one(
    case: Case, device: RuntimeDevice, quick: bool, seeds: int, reporter: Reporter
) -> tuple[dict[str, float], Scatter]:
    space = device.restrict(_space(case, quick))
    n = _QUICK_NETWORKS if quick else _NETWORKS
    drawn = [_drawn(space, n, np.random.default_rng([1, seed])) for seed in range(seeds)]
    start = time.monotonic()
    table, times = _profiled(device, space, np.concatenate(drawn), reporter.progress(case.name))
    seconds = time.monotonic() - start
    model, by_macs = compile_costs(space, device, table), _by_macs(table)
    found = [_judged(space, genomes, model, by_macs, times) for genomes in drawn]
    figures = {name: float(np.mean([score[name] for score in found])) for name in found[0]}
    costs, measured = model.cost(drawn[-1])[LATENCY], _measured(space, drawn[-1], times)
    rng = np.random.default_rng(2)
    later = device.measure([random_folded(space.blocks(genome), rng) for genome in drawn[-1]], rng)
    figures |= {"blocks": float(len(table.entries)), "seconds": seconds}
    figures |= {
        "mape_later": mean_relative_error(costs, later),
        "truth_moved": float(np.median(later / measured) - 1),
    }
    return figures, _scatter(case, costs, measured, found)


def _scatter(
    case: Case, predicted: NDArray[np.float64], measured: NDArray[np.float64], found: list[dict[str, float]]
) -> Scatter:
    """Of the last seed's networks, with their own scores: those of the others are in the figures' means."""
    title = case.words if len(found) == 1 else f"{case.words}\nthe last of {len(found)} seeds"
    return Scatter(title, predicted, measured, *(found[-1][score] for score in ("mape", "tau", "truth_tau")))


def _profiled(
    device: RuntimeDevice, space: SearchSpace, genomes: Genomes, progress: Progress
) -> tuple[Table, dict[str, Times]]:
    """The table of a space, and the times of networks beside it, all taken in the same rounds."""
    plan_rng, rng = np.random.default_rng(0).spawn(2)
    plan = profile_plan(space, unique_blocks(space, device), plan_rng)
    chains = [space.blocks(genome) for genome in genomes]
    unseen = {call_key(chain): chain for chain in chains if call_key(chain) not in plan}
    parts = {key: partial(random_folded, chain, rng) for key, chain in {**unseen, **plan}.items()}
    samples: Samples = {}
    device.sample(parts, samples, rng, progress=progress)
    times = {key: summary(values) for key, values in samples.items()}
    return device.derived_table(space.hash(), plan, {key: times[key] for key in plan}), times


def _judged(
    space: SearchSpace, genomes: Genomes, model: CostModel, by_macs: Correction, times: dict[str, Times]
) -> dict[str, float]:
    costs = model.cost(genomes)
    truth = repeatability([times[call_key(space.blocks(genome))] for genome in genomes])
    macs = by_macs.offset + by_macs.scale * costs["macs"]
    return scores(costs[LATENCY], macs, _measured(space, genomes, times), truth)


def _measured(space: SearchSpace, genomes: Genomes, times: dict[str, Times]) -> NDArray[np.float64]:
    return np.array([times[call_key(space.blocks(genome))].latency_ms for genome in genomes])


def _by_macs(table: Table) -> Correction:
    """MACs in the place of the table's sums, fitted to the same measured networks."""
    networks = [key for key in table.details if key.startswith("stem") and f"{JOINED_BY}head" in key]
    macs = np.array([sum(layer.macs for layer in layers_in(key)) for key in networks], dtype=np.float64)
    return fit_correction(macs, np.array([table.details[key]["latency_ms"] for key in networks]))


def _space(case: Case, quick: bool) -> SearchSpace:
    """At its largest resolution: networks of one resolution are harder to tell apart than those of several.

    A profile of all resolutions has more models than are in memory at a time, so that some blocks are timed after
    others; this bench has not.
    """
    whole = SPACES.get(case.space)()
    space = whole.restrict({"resolution": whole.allowed_choices("resolution")[-1:]})
    if not quick:
        return space
    few = {gene.name: gene.choices[:1] for gene in space.genes if gene.kind == "kernel"}
    return space.restrict(few | {gene.name: gene.choices[-2:] for gene in space.genes if gene.kind == "width"})


def _drawn(space: SearchSpace, n: int, rng: np.random.Generator) -> Genomes:
    """Half of middling networks, as uniform genes give, half from the smallest to the largest."""
    return np.concatenate([space.sample(n - n // 2, rng), space.sample(n // 2, rng, "sizes")])


def scores(
    predicted: NDArray[np.float64],
    by_macs: NDArray[np.float64],
    measured: NDArray[np.float64],
    truth: float | None,
) -> dict[str, float]:
    """How latencies predicted by a table and by MACs, all of shape (n,), stand to measured ones.

    ``truth`` is Kendall's tau of the measurement with itself; ``tau_over_least`` is how far the table's tau is
    above what is asked of it.
    """
    truth_tau = 1.0 if truth is None else truth
    tau = float(kendalltau(predicted, measured).statistic)
    return {
        "mape": mean_relative_error(predicted, measured),
        "tau": tau,
        "truth_tau": truth_tau,
        "tau_over_least": tau - min(_LEAST_TAU, truth_tau - _TAU_BELOW_TRUTH),
        "r2": float(np.corrcoef(predicted, measured)[0, 1] ** 2),
        "mape_macs": mean_relative_error(by_macs, measured),
        "tau_macs": float(kendalltau(by_macs, measured).statistic),
        "shortest_ms": float(measured.min()),
        "longest_ms": float(measured.max()),
    }
