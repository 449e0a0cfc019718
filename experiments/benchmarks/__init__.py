"""The numbers that count as done, one benchmark a file. A new benchmark is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bitfront.supernet.registry import Registry

if TYPE_CHECKING:
    from bitfront.experiments.benchmarks.result import BenchResult

BENCHMARKS: Registry[Callable[..., BenchResult]] = Registry(
    "benchmark",
    {
        "against-fixed": "bitfront.experiments.benchmarks.against_fixed:run",
        "against-int8": "bitfront.experiments.benchmarks.against_int8:run",
        "cost-model": "bitfront.experiments.benchmarks.cost_model:run",
        "demo": "bitfront.experiments.benchmarks.demo:run",
        "evaluate": "bitfront.experiments.benchmarks.evaluate:run",
        "export": "bitfront.experiments.benchmarks.export:run",
        "fashion": "bitfront.experiments.benchmarks.fashion:run",
        "ilp": "bitfront.experiments.benchmarks.ilp:run",
        "iterated": "bitfront.experiments.benchmarks.iterated:run",
        "joint": "bitfront.experiments.benchmarks.joint:run",
        "joint-vs-sequential": "bitfront.experiments.benchmarks.joint_vs_sequential:run",
        "lut-fidelity": "bitfront.experiments.benchmarks.lut_fidelity:run",
        "one-family": "bitfront.experiments.benchmarks.one_family:run",
        "predictor-real": "bitfront.experiments.benchmarks.predictor_real:run",
        "predictor-speed": "bitfront.experiments.benchmarks.predictor_speed:run",
        "ray": "bitfront.experiments.benchmarks.ray_workers:run",
        "rivals": "bitfront.experiments.benchmarks.rivals.bench:run",
        "sampling": "bitfront.experiments.benchmarks.sampling:run",
        "search-cost": "bitfront.experiments.benchmarks.search_cost:run",
        "search-quality": "bitfront.experiments.benchmarks.search_quality:run",
        "search-speed": "bitfront.experiments.benchmarks.search_speed:run",
        "service": "bitfront.experiments.benchmarks.service:run",
        "supernet-overhead": "bitfront.experiments.benchmarks.supernet_overhead:run",
        "transfer": "bitfront.experiments.benchmarks.transfer:run",
    },
)
"""Called with ``quick`` (bool: a small version, for a look), ``seeds`` (int) and ``reporter``."""
