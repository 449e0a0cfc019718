"""The experiments that benchmarks of headline claims share: one supernet, its samples and its predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bitfront.experiments.spec import Spec, spec_from
from bitfront.search.front import Front
from bitfront.search.loop import search
from bitfront.search.problem import Problem

DEVICES = ("bitfusion", "host-openvino")
"""A modelled accelerator whose cycles depend on bits, and this machine's CPU."""

FAMILY = ("bitfusion", "roofline", "host-openvino", "host-onnxruntime")
"""Devices that differ in the formats that they execute, and in what these cost."""

_COMMON = {"space": "fashion", "data": "fashion_mnist", "export": {"pick": "none"}}
_QUICK = {
    "space": "digits",
    "data": "digits",
    "supernet": {"warmup_epochs": 2, "elastic_epochs": 6, "quantized_epochs": 3},
    "samples": {"fp32": 20, "quantized": 20, "held_out": 10, "stop": "none"},
    "export": {"pick": "none"},
}
_QUICK_OPTIONS = {"rounds": 4}
_EVALUATIONS, _QUICK_EVALUATIONS = 20_000, 300
_POPULATION, _QUICK_POPULATION = 100, 20


def studied_spec(device: str, quick: bool, /, **sections: Any) -> Spec:
    """Fashion-MNIST with the supernet that comes with bitfront; ``quick``: digits, barely trained.

    ``sections``: of the spec, others than these.
    """
    own = {"device": _section(device, quick), "objectives": ["top1", "latency_ms"], **sections}
    return _spec(device, own, quick)


def family_spec(devices: Sequence[str], quick: bool) -> Spec:
    """The same on several devices, of which each may have its own formats."""
    sections = {device: _section(device, quick) for device in devices}
    return _spec("family", {"devices": sections, "search": {"policies": "per_device"}}, quick)


def _spec(name: str, own: Mapping[str, Any], quick: bool) -> Spec:
    given = {"name": f"bench-{'quick-' if quick else ''}{name}", **(_QUICK if quick else _COMMON), **own}
    return spec_from(given)


def _section(device: str, quick: bool) -> dict[str, Any]:
    return {"name": device, "options": _QUICK_OPTIONS if quick and device.startswith("host-") else {}}


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


def budget_words(quick: bool) -> str:
    """What every search has, for people."""
    evaluations, population = budget(quick)
    return (
        f"Each search scores {evaluations:,} candidates by prediction, in populations of {population}; all share "
        "one supernet and one predictor, fitted once to samples that were truly measured."
    )


def budget(quick: bool) -> tuple[int, int]:
    """Evaluations by prediction of one search, and its population."""
    return (_QUICK_EVALUATIONS, _QUICK_POPULATION) if quick else (_EVALUATIONS, _POPULATION)
