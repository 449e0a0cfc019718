"""Joint search against fixed networks with searched bits: how much less it costs at equal accuracy.

Wang et al. (APQ, CVPR 2020) report half of the latency and 1.3 times less energy than MobileNetV2 with the bits of
HAQ. Here the fixed networks are the supernet's own largest and its median one (the middle choice of every gene
that is no format), so that weights, data and measurements are the same. Their bits are searched by NSGA-II and,
as HAWQ-V3 does it, by integer linear programs over sensitivities; the joint search is NSGA-II over everything.
All have the same predictor, the same evaluations by prediction, and the same number of members that are measured.
``_of_ilp`` is the share of a fixed network's measured front that integer programs put forward.
"""

from __future__ import annotations

from bitfront.experiments.benchmarks.compared_fronts import Searches, compared_fronts
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.study import Study
from bitfront.experiments.reporter import Reporter
from bitfront.supernet.space import SearchSpace

_BITS = ("nsga2", "ilp")
_NAMES = {"largest": "the largest network", "median": "the median network"}
_GOALS = (
    "{device}_largest_latency_ms_ratio >= 2",
    "{device}_largest_energy_mj_ratio >= 1.3",
    "{device}_median_latency_ms_ratio >= 1",
    "{device}_median_energy_mj_ratio >= 1",
)


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Seeds are those of the searches."""
    metrics = ("latency_ms", "energy_mj")
    return compared_fronts("against-fixed", _rivals, _NAMES, metrics, _GOALS, quick, seeds, reporter)


def _rivals(studied: Study) -> Searches:
    return {
        name: [(fixed_network(studied.space, place), strategy) for strategy in _BITS]
        for name, place in (("largest", 1.0), ("median", 0.5))
    }


def fixed_network(space: SearchSpace, place: float) -> SearchSpace:
    """The space of one network's policies; ``place``: 0 is the smallest choice of every gene, 1 the largest."""
    chosen = {}
    for gene in (each for each in space.genes if not each.is_policy):
        allowed = space.allowed_choices(gene.name)
        chosen[gene.name] = [allowed[round(place * (len(allowed) - 1))]]
    return space.restrict(chosen)
