from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfront.latency_lut.devices import DEVICES
from bitfront.search.constraints import Constraint, Sense
from bitfront.search.devices import NoDeviceError, combined_cost
from bitfront.search.hypervolume import hypervolume
from bitfront.search.loop import search
from bitfront.search.operators import Mating
from bitfront.search.problem import Problem
from bitfront.search.shared_architecture import SharedArchitecture, SharedExtreme, SharedProblem
from bitfront.search.strategies import STRATEGIES
from bitfront.supernet.errors import InvalidGenomeError, UnsupportedError
from bitfront.supernet.genes import Genomes, Rule
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits

BASE = digits()
SPACES: dict[str, SearchSpace] = {
    # Both give a rule to pairs of formats; each has a restriction of its own as well.
    "bit-fusion": DEVICES.get("bitfusion")().restrict(BASE),
    "host": DEVICES.get("host-onnxruntime")().restrict(BASE).restrict({"stage0.block0.kernel": [3]}),
}
SHARED = SharedArchitecture(SPACES)
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, n: int = 8) -> Genomes:
    return SHARED.sample(n, np.random.default_rng(seed))


@given(SEEDS)
def test_each_part_is_a_network_that_its_device_executes(seed: int) -> None:
    genomes = drawn(seed)
    parts = SHARED.split(genomes)
    for device, part in parts.items():
        np.testing.assert_array_equal(SPACES[device].check(part), part)
    architecture = [i for i, gene in enumerate(BASE.genes) if not gene.is_policy]
    np.testing.assert_array_equal(parts["host"][:, architecture], parts["bit-fusion"][:, architecture])


@given(SEEDS)
def test_join_is_the_inverse_of_split(seed: int) -> None:
    genomes = drawn(seed)
    np.testing.assert_array_equal(SHARED.join(SHARED.split(genomes)), genomes)


@given(SEEDS)
def test_equal_genomes_are_equal_networks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = drawn(seed)
    second = SHARED.repair(np.where(rng.random(first.shape) < 0.02, rng.permuted(first, axis=0), first))
    for a, b in zip(first, second, strict=True):
        same = all(
            BASE.blocks(SHARED.split(a[None])[device][0]) == BASE.blocks(SHARED.split(b[None])[device][0])
            for device in SPACES
        )
        assert same == bool((a == b).all())


@given(SEEDS)
def test_canonical_and_active_are_those_of_the_parts(seed: int) -> None:
    raw = np.random.default_rng(seed).integers(0, SHARED.cardinalities, (8, SHARED.n_genes)).astype(np.uint8)
    parts, active = SHARED.split(SHARED.canonical(raw)), SHARED.split(SHARED.active(raw).view(np.uint8))
    for device, part in SHARED.split(raw).items():
        np.testing.assert_array_equal(parts[device], BASE.canonical(part))
        np.testing.assert_array_equal(active[device].astype(bool), BASE.active(part))
    valid = np.logical_and.reduce([SPACES[device].valid(part) for device, part in parts.items()])
    np.testing.assert_array_equal(SHARED.valid(SHARED.canonical(raw)), valid)
    assert SHARED.valid(SHARED.repair(raw)).all()


@settings(max_examples=20)
@given(SEEDS)
def test_mates(seed: int) -> None:
    mothers, fathers, rng = drawn(seed), drawn(seed + 1), np.random.default_rng(seed)
    mating = Mating(SHARED, 0.9)
    children = mating.children(mothers, fathers, rng, mating.ways(len(mothers), rng, 2.0))
    np.testing.assert_array_equal(SHARED.check(children), children)


def test_encodes_each_policy() -> None:
    genomes = drawn(0, 200)
    assert SHARED.architecture_width == BASE.architecture_width
    assert len(np.unique(SHARED.encode(genomes), axis=0)) == len(np.unique(genomes, axis=0))
    assert SHARED.hash() not in {BASE.hash(), SharedArchitecture({**SPACES, "third": BASE}).hash()}


def test_builds_each_devices_network_in_turn() -> None:
    genome = drawn(3, 1)
    expected = [block for part in SHARED.split(genome).values() for block in BASE.blocks(part[0])]
    assert list(SHARED.blocks(genome[0])) == expected


def test_refuses_parts_that_do_not_belong_together() -> None:
    parts = SHARED.split(drawn(1))
    with pytest.raises(InvalidGenomeError, match="give them for"):
        SHARED.join({"host": parts["host"]})
    parts["host"] = parts["host"].copy()
    parts["host"][3, BASE.position["resolution"]] ^= 1
    with pytest.raises(InvalidGenomeError, match="row 3: the architecture of 'bit-fusion' is another one"):
        SHARED.join(parts)


def test_refuses_devices_that_do_not_go_together(space: SearchSpace) -> None:
    with pytest.raises(NoDeviceError, match="two devices or more"):
        SharedArchitecture({"only": BASE})
    with pytest.raises(InvalidGenomeError, match="differ in their genes"):
        SharedArchitecture({"a": BASE, "b": space})
    with pytest.raises(UnsupportedError, match=r"no choice is left for stage0.block0.kernel"):
        SharedArchitecture(
            {name: BASE.restrict({"stage0.block0.kernel": [k]}) for name, k in (("a", 3), ("b", 5))}
        )
    with pytest.raises(NoDeviceError, match="there are costs of"):
        SharedProblem(SHARED, ["latency_ms@host"], lambda genomes: np.zeros(len(genomes)), {})


def test_rules_that_tie_architecture_to_policy_hold_for_each_device() -> None:
    names = ("stage0.block0.kernel", "stage0.block0.pointwise.weight_format")
    only = {
        "a": BASE.restrict(rules=[Rule(names, frozenset({(3, "int8"), (5, "int4")}))]),
        "b": BASE.restrict(rules=[Rule(names, frozenset({(3, "int4"), (5, "int8"), (5, "int6")}))]),
    }
    genomes = SharedArchitecture(only).sample(300, np.random.default_rng(0))
    for device, part in SharedArchitecture(only).split(genomes).items():
        assert only[device].valid(part).all()
    assert SharedArchitecture(only).size() % 3 == 0


# -- search ---------------------------------------------------------------------------------------------

_BITS = {"fp32": 32.0, "int8": 8.0, "int6": 6.0, "int4": 4.0}


def tasting(favourite: str) -> Callable[[Genomes], dict[str, Any]]:
    """A device on which a layer is fast in one format alone, and larger networks are slower."""
    gain = np.arange(BASE.encoding_width) % 7 / 7.0
    cost = gain.copy()
    for i, gene in enumerate(BASE.genes):
        for j, choice in enumerate(gene.choices if gene.is_policy else ()):
            cost[BASE.columns[i] + j] = 1.0 if choice == favourite else 6.0
    return lambda genomes: {"latency_ms": 1.0 + BASE.encode(genomes) @ cost, "macs": genomes[:, 0] + 1.0}


def accuracy(genomes: Genomes) -> Any:
    bits = np.zeros(BASE.encoding_width)
    for i, gene in enumerate(BASE.genes):
        for j, choice in enumerate(gene.choices):
            bits[BASE.columns[i] + j] = np.log2(_BITS[str(choice)]) if gene.is_policy else j
    score = BASE.encode(genomes) @ bits
    return 1.0 - np.exp(-score / 60.0)


TASTES = {"a": tasting("int8"), "b": tasting("int4")}
OBJECTIVES = ("latency_ms@a", "latency_ms@b")


def _shared(seed: int, evaluations: int) -> Any:
    space = SharedArchitecture(dict.fromkeys(TASTES, BASE))
    limits = [Constraint(f"top1@{name}", ">=", 0.6) for name in TASTES]
    problem = SharedProblem(space, OBJECTIVES, accuracy, TASTES, limits)
    return search(problem, rng=np.random.default_rng(seed), evaluations=evaluations)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_policy_per_device_beats_one_for_both(seed: int) -> None:
    one = Problem(BASE, OBJECTIVES, accuracy, combined_cost(TASTES), [Constraint("top1", ">=", 0.6)])
    same = search(one, rng=np.random.default_rng(seed), evaluations=3000).F
    own = _shared(seed, 3000).F
    reference = 1.1 * np.maximum(same.max(axis=0), own.max(axis=0))
    assert hypervolume(own, reference) > hypervolume(same, reference)


def test_scores_are_those_of_the_parts() -> None:
    front = _shared(5, 600)
    space = SharedArchitecture(dict.fromkeys(TASTES, BASE))
    for device, part in space.split(front.genomes).items():
        expected = TASTES[device](part)["latency_ms"]
        np.testing.assert_allclose(front.predicted[f"latency_ms@{device}"], expected, rtol=1e-12)
        np.testing.assert_array_equal(front.predicted[f"top1@{device}"], accuracy(part))
        np.testing.assert_array_equal(front.predicted["macs"], front.genomes[:, 0] + 1.0)
    assert front.query("top1@a < 0.6 or top1@b < 0.6").genomes.shape[0] == 0


@pytest.mark.parametrize(
    ("metric", "sense"), [("latency_ms@fusion", "<="), ("size_bytes@edge", ">="), ("macs", "<=")]
)
def test_extremes_of_one_device_are_reached_and_not_passed(metric: str, sense: Sense) -> None:
    """What the other device alone can not have (its first block has one kernel) is left out as well."""
    devices = {"fusion": DEVICES.get("bitfusion")(), "edge": DEVICES.get("roofline")()}
    spaces = {name: device.restrict(BASE) for name, device in devices.items()}
    shared = SharedArchitecture(spaces | {"edge": spaces["edge"].restrict({"stage0.block0.kernel": [5]})})
    models = {name: device.compile(BASE) for name, device in devices.items()}
    extreme = SharedExtreme(models, shared)
    found = extreme(metric, sense)
    assert found is not None
    value, genome = found
    np.testing.assert_array_equal(shared.check(genome[None])[0], genome)
    problem = SharedProblem(shared, [metric], accuracy, {name: model.cost for name, model in models.items()})
    assert problem.cost(genome[None])[metric][0] == pytest.approx(value, rel=1e-12)
    sign = 1.0 if sense == "<=" else -1.0
    others = np.concatenate([shared.extremes(), shared.sample(500, np.random.default_rng(0), "sizes")])
    assert (sign * problem.cost(others)[metric] >= sign * value * (1 - sign * 1e-9)).all()
    assert extreme("latency_ms", sense) is None
    assert extreme("top1@edge", sense) is None


@pytest.mark.parametrize("name", [name for name in STRATEGIES.names() if name not in ("iterated", "optuna")])
def test_strategies_leave_each_device_what_it_executes_and_what_is_fixed(name: str) -> None:
    """All but `iterated`, which learns of one accuracy, and the slow ones."""
    fixed = {device: one.fix({"resolution": 8, "stem.*_format": "int8"}) for device, one in SPACES.items()}
    space = SharedArchitecture(fixed)
    costs = dict(zip(SPACES, TASTES.values(), strict=True))
    limits = [Constraint("latency_ms@host", "<=", 150.0)]
    problem = SharedProblem(space, [f"top1@{one}" for one in SPACES], accuracy, costs, limits)
    scored: list[Genomes] = []
    front = search(
        problem,
        name,
        rng=np.random.default_rng(0),
        evaluations=120,
        options={"population": 30},
        on_generation=lambda generation: scored.append(generation.genomes),
    )
    assert len(front) > 0
    for device, part in space.split(np.concatenate(scored)).items():
        assert fixed[device].valid(part).all()
