"""Optuna's samplers: batches that lie apart, and states that fit no other sampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optuna.samplers import TPESampler

from bitfront.search.problem import Problem
from bitfront.search.strategies import make_strategy, optuna_samplers
from bitfront.search.strategies.optuna_samplers import OptunaSampling
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.space import SearchSpace

MakeProblem = Callable[..., Problem]


class Truthful(TPESampler):
    """Knows nothing of what runs unless it is told to, as older versions do."""

    def __init__(self, *, constant_liar: bool = False, **options: Any) -> None:
        super().__init__(constant_liar=constant_liar, **options)


class AlwaysTruthful(TPESampler):
    """Cannot be told to."""

    def __init__(self, *, constant_liar: bool, **options: Any) -> None:
        super().__init__(constant_liar=False, **options)


def few_genes(space: SearchSpace) -> SearchSpace:
    """So few points that a sampler which forgets what it has just suggested suggests it again."""
    free = [gene.name for gene in space.genes if gene.kind in ("depth", "kernel", "width")][:6]
    kept = space.sample(1, np.random.default_rng(0))[0]
    fixed = {g.name: [g.choices[kept[i]]] for i, g in enumerate(space.genes) if g.name not in free}
    return space.restrict(fixed)


def suggestions(problem: Problem, seed: int) -> int:
    """How many are needed for the third batch of 12 different candidates, the first that is TPE's alone."""
    options = {"population": 12, "startup": 10}
    strategy = make_strategy("optuna", problem, np.random.default_rng(seed), options)
    assert isinstance(strategy, OptunaSampling)
    needed = []
    for _ in range(3):
        before = len(strategy.state()["memory"]["study"]["trials"])
        genomes = strategy.ask()
        needed.append(len(strategy.state()["memory"]["study"]["trials"]) - before)
        strategy.tell(genomes, problem.evaluate(genomes))
    return needed[-1]


@pytest.mark.parametrize("objectives", [("top1",), ("top1", "latency_ms")], ids=len)
def test_a_batch_of_tpe_lies_apart(
    space: SearchSpace, make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch, objectives: tuple[str, ...]
) -> None:
    problem = make_problem(few_genes(space), objectives)
    needed = {}
    for sampler in (Truthful, AlwaysTruthful):
        monkeypatch.setattr(optuna_samplers, "TPESampler", sampler)
        needed[sampler] = sum(suggestions(problem, seed) for seed in range(3))
    assert 36 <= needed[Truthful] < 0.8 * needed[AlwaysTruthful]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "nsga2"}, "sampler = 'tpe', and this one with 'nsga2'"),
        ({"startup": 7}, "startup = 20, and this one with 7"),
    ],
)
def test_a_state_fits_no_other_options(
    space: SearchSpace, make_problem: MakeProblem, options: dict[str, Any], message: str
) -> None:
    problem = make_problem(space)
    saved = make_strategy("optuna", problem, np.random.default_rng(0), {})
    genomes = space.sample(3, np.random.default_rng(0))
    saved.tell(genomes, problem.evaluate(genomes))
    other = make_strategy("optuna", problem, np.random.default_rng(0), options)
    with pytest.raises(CorruptFileError, match=message):
        other.restore(saved.state(), genomes, problem.evaluate(genomes))


def test_what_is_stored_names_every_parameter_once(space: SearchSpace, make_problem: MakeProblem) -> None:
    """TPE notes its suggestions beside them, which would double what is stored each generation."""
    problem = make_problem(space)
    strategy = make_strategy("optuna", problem, np.random.default_rng(0), {"population": 4, "startup": 2})
    for _ in range(2):
        genomes = strategy.ask()
        strategy.tell(genomes, problem.evaluate(genomes))
    assert {key for *_, notes in strategy.state()["memory"]["study"]["trials"] for key in notes} == set()
