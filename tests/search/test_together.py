"""Limits on costs that no candidate meets together: what is called proven is, what is met is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfront.latency_lut.cost_model import CostModel
from bitfront.latency_lut.devices import DEVICES
from bitfront.latency_lut.smallest import smallest_sum
from bitfront.search.constraints import Constraint
from bitfront.search.devices import ExactExtreme, combined_cost, restrict_to_all
from bitfront.search.loop import search
from bitfront.search.problem import InfeasibleError, Problem
from bitfront.search.reachable import refuse_together
from bitfront.search.together import Nearest, nearest_together, neighbours
from bitfront.supernet.errors import UnknownNameError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits

DEVICE = DEVICES.get("roofline")()
SPACE = DEVICE.restrict(digits())
SUMMED = ("latency_ms", "energy_mj", "size_bytes", "macs", "bitops")


def tiny() -> SearchSpace:
    """A space that can be enumerated, in which latency, size and operations pull in different directions."""
    free = ("resolution", "stage0.block0.width", "stage1.block0.kernel", "stage2.depth", "stage2.block0.")
    names = {gene.name for gene in SPACE.genes if gene.name.startswith(free) or gene.name.startswith("head.")}
    kept = SPACE.sample(1, np.random.default_rng(0))[0]
    return SPACE.restrict({g.name: [g.choices[kept[i]]] for i, g in enumerate(SPACE.genes) if g.name not in names})


TINY = tiny()


def everything(space: SearchSpace) -> Genomes:
    found: Genomes = np.zeros((1, space.n_genes), dtype=np.uint8)
    for group in space.groups:
        found = np.repeat(found, len(group.rows), axis=0)
        found[:, group.members] = np.tile(group.rows, (len(found) // len(group.rows), 1))
    found = np.unique(space.canonical(found), axis=0)
    assert len(found) == space.size()
    return found


@pytest.fixture(scope="module")
def model() -> CostModel:
    return DEVICE.compile(SPACE)


@pytest.fixture(scope="module")
def all_costs(model: CostModel) -> Mapping[str, Any]:
    return model.cost(everything(TINY))


def never(genomes: Genomes) -> Any:
    raise AssertionError("a predictor call was spent")


def posed(model: CostModel, space: SearchSpace, *constraints: Constraint, predict: Any = never) -> Problem:
    extreme = ExactExtreme({"a": model}, space)
    return Problem(space, ("top1", "size_bytes"), predict, model.cost, constraints, extreme)


def answer(problem: Problem) -> Nearest | None:
    return nearest_together(problem, np.random.default_rng(0))


def missed(constraints: tuple[Constraint, ...], costs: Mapping[str, Any]) -> Any:
    return np.sum([np.maximum(one.excess(costs[one.metric]), 0.0) for one in constraints], axis=0)


@settings(max_examples=40)
@given(st.data())
def test_equals_the_enumeration_of_a_small_space(
    model: CostModel, all_costs: Mapping[str, Any], data: st.DataObject
) -> None:
    names = data.draw(
        st.lists(st.sampled_from([*SUMMED, "peak_memory_bytes"]), min_size=2, max_size=4, unique=True)
    )
    constraints = tuple(
        Constraint(
            name,
            data.draw(st.sampled_from(["<=", "<=", ">="])),
            float(np.quantile(all_costs[name], data.draw(st.floats(0.0, 1.0)))),
        )
        for name in names
    )
    least = missed(constraints, all_costs).min()
    found = answer(posed(model, TINY, *constraints))
    assert (found is None) == (least <= 0)
    if found is not None:
        assert TINY.valid(found.genome[None])[0]
        costs = model.cost(found.genome[None])
        assert found.values == tuple(costs[one.metric][0] for one in constraints)
        # Of 1,500 such draws, the candidate was in a few up to 1.2 times as far away as the nearest one.
        assert least * (1 - 1e-9) <= missed(constraints, costs)[0] <= 1.25 * least


def test_proves_most_of_what_is_far_out_of_reach(model: CostModel, all_costs: Mapping[str, Any]) -> None:
    """Halfway between the smallest latency and that of what has the most operations, with nearly all of these."""
    low, high = all_costs["latency_ms"].min(), all_costs["latency_ms"][all_costs["macs"].argmax()]
    limits = (
        Constraint("latency_ms", "<=", float(low + 0.05 * (high - low))),
        Constraint("macs", ">=", float(0.999 * all_costs["macs"].max())),
    )
    assert missed(limits, all_costs).min() > 0
    found = answer(posed(model, TINY, *limits))
    assert found is not None
    assert found.proven


@pytest.mark.parametrize("seed", range(8))
def test_finds_what_a_known_candidate_meets_exactly(model: CostModel, seed: int) -> None:
    genome = SPACE.sample(1, np.random.default_rng(seed), "sizes")
    costs = model.cost(genome)
    limits = [Constraint(name, "<=", float(costs[name][0])) for name in ("latency_ms", "size_bytes", "bitops")]
    assert answer(posed(model, SPACE, *limits, Constraint("macs", ">=", float(costs["macs"][0])))) is None


def test_tells_before_anything_is_predicted_with_values_and_limits(model: CostModel) -> None:
    most = model.cost(SPACE.extremes()[1:])
    limits = Constraint("latency_ms", "<=", 0.1), Constraint("macs", ">=", 0.9 * float(most["macs"][0]))
    with pytest.raises(InfeasibleError) as caught:
        search(posed(model, SPACE, *limits), rng=np.random.default_rng(0), evaluations=10**9)
    text = str(caught.value)
    assert text.startswith(f"no candidate meets {limits[0]} and {limits[1]} together; the nearest found has")
    assert "latency_ms " in text
    assert "(limit <= 0.1)" in text
    assert "resolution " in text


def test_what_was_not_found_is_not_called_impossible_and_can_be_insisted_on(model: CostModel) -> None:
    """Peak memory is no sum, so that nothing is proven about it."""
    most = model.cost(SPACE.extremes()[1:])
    least = ExactExtreme({"a": model}, SPACE)("peak_memory_bytes", "<=")
    assert least is not None
    low = Constraint("peak_memory_bytes", "<=", 1.01 * least[0])
    limits = low, Constraint("macs", ">=", 0.9 * float(most["macs"][0]))
    problem = posed(model, SPACE, *limits, predict=lambda genomes: np.full(len(genomes), 0.5))
    with pytest.raises(
        InfeasibleError, match=r"was found that meets .* which does not prove that there is none: of"
    ):
        search(problem, rng=np.random.default_rng(0), evaluations=50)
    with pytest.raises(InfeasibleError, match="none of 50 candidates meets"):
        search(problem, rng=np.random.default_rng(0), evaluations=50, insist=True)


def test_top1_and_single_limits_are_left_to_others(model: CostModel) -> None:
    least = ExactExtreme({"a": model}, SPACE)("latency_ms", "<=")
    assert least is not None
    refuse_together(posed(model, SPACE, Constraint("latency_ms", "<=", least[0] / 2)))
    refuse_together(posed(model, SPACE, Constraint("latency_ms", "<=", least[0]), Constraint("top1", ">=", 1.0)))
    assert answer(posed(model, SPACE, Constraint("top1", ">=", 1.0))) is None


def test_several_devices_at_odds() -> None:
    devices: dict[str, Any] = {"a": DEVICES.get("roofline")(), "b": DEVICES.get("bitfusion")()}
    space = restrict_to_all(digits(), devices).restrict({"resolution": [8]})
    models = {name: device.compile(space) for name, device in devices.items()}
    extreme = ExactExtreme(models, space)
    cost = combined_cost({name: one.cost for name, one in models.items()})
    least = {name: extreme(name, "<=") for name in ("latency_ms@a", "latency_ms@b", "size_bytes")}
    assert extreme.summable(("latency_ms@a", "latency_ms@b", "size_bytes", "energy_mj@b")) == [
        ("latency_ms@a", "size_bytes"),
        ("latency_ms@b", "size_bytes", "energy_mj@b"),
    ]
    dear = Constraint("macs", ">=", 0.9 * float(models["a"].cost(space.extremes()[1:])["macs"][0]))
    for name, found in least.items():
        assert found is not None
        limits = dear, Constraint(name, "<=", 1.1 * found[0])
        nearest = answer(Problem(space, ("macs",), never, cost, limits, extreme))
        assert nearest is not None
        assert nearest.proven
        assert name in str(nearest)


def test_the_search_draws_the_same_numbers_as_without_limits(model: CostModel) -> None:
    loose = [Constraint(name, "<=", 1e12) for name in ("latency_ms", "macs")]
    fronts = [
        search(
            posed(model, SPACE, *limits, predict=lambda genomes: genomes.mean(axis=1) / 9),
            rng=np.random.default_rng(5),
            evaluations=200,
        )
        for limits in ([], loose)
    ]
    np.testing.assert_array_equal(fronts[0].genomes, fronts[1].genomes)


def test_a_weighted_sum_is_smallest_there(model: CostModel, all_costs: Mapping[str, Any]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        weights = {name: float(rng.normal() / all_costs[name].mean()) for name in SUMMED}
        genome = smallest_sum(model, TINY, weights)
        assert TINY.valid(genome[None])[0]
        value = sum(weights[name] * model.cost(genome[None])[name][0] for name in SUMMED)
        assert value == pytest.approx(sum(weights[name] * all_costs[name] for name in SUMMED).min())
    with pytest.raises(UnknownNameError, match="peak_memory_bytes"):
        smallest_sum(model, TINY, {"peak_memory_bytes": 1.0})


@pytest.mark.parametrize("name", ["roofline", "bitfusion"])  # the second does not have the first format
def test_neighbours_are_valid_and_differ_in_one_group(name: str) -> None:
    space = DEVICES.get(name)().restrict(digits())
    genome = space.sample(1, np.random.default_rng(3))[0]
    found = neighbours(space, genome, np.random.default_rng(0))
    assert space.valid(found).all()
    assert len(found) == sum(len(group.rows) for group in space.groups)
    for one in np.unique(found, axis=0):
        both = space.active(one[None])[0] & space.active(genome[None])[0]
        changed = [g for g in space.groups if (one != genome)[g.members][both[g.members]].any()]
        assert len(changed) <= 1
