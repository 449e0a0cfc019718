from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bitfront.latency_lut.cost_model import CostModel
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.smallest import largest, smallest
from bitfront.search.constraints import Constraint
from bitfront.search.devices import ExactExtreme, combined_cost
from bitfront.search.executors.local import LocalExecutor
from bitfront.search.islands import Island, IslandError, search_islands
from bitfront.search.loop import search
from bitfront.search.narrowed import NarrowedProblem
from bitfront.search.problem import InfeasibleError, Problem
from bitfront.search.reachable import refuse_unreachable
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits

DEVICE = DEVICES.get("bitfusion")()
SPACE = DEVICE.restrict(digits()).restrict({"resolution": [8]})


@pytest.fixture(scope="module")
def model() -> CostModel:
    return DEVICE.compile(SPACE)


def never(genomes: Genomes) -> Any:
    raise AssertionError("a predictor call was spent")


def posed(models: dict[str, CostModel], *constraints: Constraint, space: SearchSpace = SPACE) -> Problem:
    cost = combined_cost({name: model.cost for name, model in models.items()})
    return Problem(space, ("top1", "size_bytes"), never, cost, constraints, ExactExtreme(models, space))


@pytest.mark.parametrize("name", ["latency_ms", "size_bytes", "peak_memory_bytes", "macs"])
def test_tells_before_anything_is_predicted(model: CostModel, name: str) -> None:
    least, genome = smallest(model, SPACE, name)
    problem = posed({"a": model}, Constraint(name, "<=", 0.99 * least))
    with pytest.raises(InfeasibleError) as caught:
        search(problem, rng=np.random.default_rng(0), evaluations=10**9)
    assert f"the smallest {name} is {least:.6g}, that of resolution 8, stage0.depth" in str(caught.value)
    most, _ = largest(model, SPACE, name)
    with pytest.raises(InfeasibleError, match=rf"the largest {name} is {most:.6g}".replace("+", r"\+")):
        refuse_unreachable(posed({"a": model}, Constraint(name, ">=", 1.01 * most)))
    assert model.cost(genome[None])[name][0] == least


@pytest.mark.parametrize("name", ["latency_ms", "size_bytes", "peak_memory_bytes", "bitops"])
def test_never_refuses_what_a_candidate_meets(model: CostModel, name: str) -> None:
    values = model.cost(SPACE.sample(200, np.random.default_rng(1)))[name]
    bounds = [smallest(model, SPACE, name)[0], largest(model, SPACE, name)[0], *values[:20]]
    for bound in bounds:
        for sense in ("<=", ">="):
            refuse_unreachable(posed({"a": model}, Constraint(name, sense, float(bound))))


def test_knows_each_device_and_no_more_than_it_should(model: CostModel) -> None:
    both = {"a": model, "b": model}
    least = smallest(model, SPACE, "latency_ms")[0]
    with pytest.raises(InfeasibleError, match="smallest latency_ms@b"):
        refuse_unreachable(posed(both, Constraint("latency_ms@b", "<=", least / 2)))
    with pytest.raises(InfeasibleError, match="smallest size_bytes is"):
        refuse_unreachable(posed(both, Constraint("size_bytes", "<=", 1.0)))
    extreme = ExactExtreme(both, SPACE)
    assert extreme("latency_ms", "<=") is None
    assert extreme("latency_ms@c", "<=") is None
    assert extreme("top1", ">=") is None
    refuse_unreachable(posed({"a": model}, Constraint("top1", ">=", 1.0)))


def test_counts_only_what_the_restricted_space_has(model: CostModel) -> None:
    least = smallest(model, SPACE, "size_bytes")[0]
    wide = SPACE.restrict({"stage0.block0.width": [32], "stage2.depth": [2]})
    limit = Constraint("size_bytes", "<=", least)
    refuse_unreachable(posed({"a": model}, limit))
    with pytest.raises(InfeasibleError, match=r"stage2\.depth 2, .*stage0\.block0\.width 32"):
        refuse_unreachable(posed({"a": model}, limit, space=wide))


def test_an_island_whose_own_limits_are_at_odds_is_named(model: CostModel) -> None:
    """Each alone is met, and so are all those of the other islands."""
    most, _ = largest(model, SPACE, "macs")
    whole = posed({"a": model}, Constraint("size_bytes", "<=", 1.02 * smallest(model, SPACE, "size_bytes")[0]))
    islands = [
        Island(whole, "random"),
        Island(NarrowedProblem(whole, None, [Constraint("macs", ">=", 0.98 * most)])),
    ]

    def search_them(insist: bool) -> None:
        search_islands(islands, LocalExecutor(), rng=np.random.default_rng(0), generations=1, insist=insist)

    with pytest.raises(InfeasibleError, match=r"^island 2 of 2: no candidate .*meets .*size_bytes.* macs"):
        search_them(insist=False)
    with pytest.raises(IslandError, match="a predictor call was spent"):
        search_them(insist=True)


def test_an_island_is_judged_by_what_its_fixed_genes_leave(model: CostModel) -> None:
    least = smallest(model, SPACE, "size_bytes")[0]
    wide = SPACE.restrict({"stage0.block0.width": [32], "stage2.depth": [2]})
    whole = posed({"a": model})
    limit = [Constraint("size_bytes", "<=", least)]
    refuse_unreachable(NarrowedProblem(whole, None, limit))
    with pytest.raises(InfeasibleError, match=r"stage2\.depth 2, .*stage0\.block0\.width 32"):
        refuse_unreachable(NarrowedProblem(whole, None, limit, wide))
