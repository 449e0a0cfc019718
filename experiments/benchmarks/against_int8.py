"""Joint search of architectures and bits against architectures in uniform int8, at equal accuracy.

Sridhar et al. (SimQ-NAS, 2023) report up to 4.8 times less latency and 3.44 times smaller networks. Both searches
have the same supernet, predictor, evaluations by prediction and number of measured members.
"""

from __future__ import annotations

from bitfront.experiments.benchmarks.compared_fronts import Searches, compared_fronts
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.study import Study
from bitfront.experiments.reporter import Reporter
from bitfront.supernet.space import SearchSpace

_INT8 = "int8"
_GOALS = ("{device}_int8_latency_ms_ratio >= 1", "{device}_int8_size_bytes_ratio >= 1")


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Seeds are those of the searches."""
    metrics = ("latency_ms", "size_bytes", "energy_mj")
    return compared_fronts(
        "against-int8", _rivals, {_INT8: "int8 throughout"}, metrics, _GOALS, quick, seeds, reporter
    )


def _rivals(studied: Study) -> Searches:
    return {_INT8: [(uniform(studied.space), "nsga2")]}


def uniform(space: SearchSpace) -> SearchSpace:
    """Every layer in 8 bits, weights and activations."""
    return space.restrict_formats(lambda op: {(_INT8, _INT8)})
