"""The experiments that benchmarks of headline claims share: one supernet, its samples and its predictor."""

from __future__ import annotations

import numpy as np

from bitfront.experiments.spec import Spec, parse_spec
from bitfront.search.front import Front
from bitfront.search.loop import search
from bitfront.search.problem import Problem

DEVICES = ("bitfusion", "host-openvino")
"""A modelled accelerator whose cycles depend on bits, and this machine's CPU."""

_SPEC = """
name: bench-{device}
space: fashion
data: fashion_mnist
device: {device}
objectives: [top1, latency_ms]
export: {{pick: none}}
"""
_QUICK_SPEC = """
name: bench-quick-{device}
space: digits
data: digits
device: {{name: {device}, options: {options}}}
objectives: [top1, latency_ms]
supernet: {{warmup_epochs: 2, elastic_epochs: 6, quantized_epochs: 3}}
samples: {{fp32: 20, quantized: 20, held_out: 10, stop: none}}
export: {{pick: none}}
"""
_QUICK_OPTIONS = {"rounds": 4}
_EVALUATIONS, _QUICK_EVALUATIONS = 20_000, 300
_POPULATION, _QUICK_POPULATION = 100, 20


def studied_spec(device: str, quick: bool) -> Spec:
    """Fashion-MNIST with the supernet that comes with bitfront; ``quick``: digits, barely trained."""
    options = _QUICK_OPTIONS if device.startswith("host-") else {}
    return parse_spec((_QUICK_SPEC if quick else _SPEC).format(device=device, options=options))


def searched(problem: Problem, strategy: str, quick: bool, seed: int) -> Front:
    """What one search finds by prediction; all searches that are compared have this budget."""
    evaluations, population = budget(quick)
    return search(
        problem,
        strategy,
        rng=np.random.default_rng(seed),
        evaluations=evaluations,
        options={"population": population},
    )


def budget(quick: bool) -> tuple[int, int]:
    """Evaluations by prediction of one search, and its population."""
    return (_QUICK_EVALUATIONS, _QUICK_POPULATION) if quick else (_EVALUATIONS, _POPULATION)
