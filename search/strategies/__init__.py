"""Search strategies, one a file. A new strategy is one file and one line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.registry import Registry

if TYPE_CHECKING:  # names are listed without importing pymoo
    from bitfront.search.problem import Problem
    from bitfront.search.strategies.base import Strategy

STRATEGIES: Registry[Callable[..., Strategy]] = Registry(
    "strategy",
    {
        "aging_evolution": "bitfront.search.strategies.aging_evolution:AgingEvolution",
        "ilp": "bitfront.search.strategies.ilp:IlpBits",
        "iterated": "bitfront.search.strategies.iterated:Iterated",
        "nsga2": "bitfront.search.strategies.nsga2:Nsga2",
        "nsga3": "bitfront.search.strategies.nsga3:Nsga3",
        "optuna": "bitfront.search.strategies.optuna_samplers:OptunaSampling",
        "random": "bitfront.search.strategies.random_sampling:RandomSampling",
        "sequential": "bitfront.search.strategies.sequential:Sequential",
    },
)
"""Factories: called with (problem, rng) and the strategy's own options as keyword arguments."""


def make_strategy(name: str, problem: Problem, rng: np.random.Generator, options: Mapping[str, Any]) -> Strategy:
    """The strategy called ``name``, set up with its own ``options``.

    Raises:
        UnknownNameError: there is no such strategy, or it has no such option.
        InvalidOptionError: an option is out of its range.
    """
    factory = STRATEGIES.get(name)
    known = [p.name for p in inspect.signature(factory).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of strategy {name!r}:", option, known)
    return factory(problem, rng, **options)
