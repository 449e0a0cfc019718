from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.latency_lut.devices import DEVICES
from bitfront.search.constraints import (
    Constraint,
    InvalidConstraintError,
    base_metric,
    check_metric,
    parse_constraint,
)
from bitfront.search.devices import NoDeviceError, combined_cost, restrict_to_all
from bitfront.search.front import Front
from bitfront.search.loop import search
from bitfront.search.problem import Problem, minimised
from bitfront.search.query import InvalidQueryError, select
from bitfront.supernet.errors import UnknownNameError, UnsupportedError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

_NAMES = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,8}[A-Za-z0-9_])?", fullmatch=True)


def constant(latency: float, size: float = 7.0) -> Callable[[Genomes], dict[str, Any]]:
    return lambda genomes: {
        "latency_ms": genomes.sum(axis=1) * latency,
        "size_bytes": np.full(len(genomes), size),
    }


@given(device=_NAMES, metric=st.sampled_from(["latency_ms", "top1", "macs"]), bound=st.floats(0, 1))
def test_a_constraint_on_one_device_reads_back(device: str, metric: str, bound: float) -> None:
    constraint = Constraint(f"{metric}@{device}", "<=", float(f"{bound:.6g}"))
    assert parse_constraint(str(constraint)) == constraint
    assert base_metric(constraint.metric) == metric
    assert parse_constraint(str(constraint).replace(" ", "")) == constraint


@given(device=_NAMES)
def test_a_condition_speaks_of_one_device(device: str) -> None:
    columns = {
        f"latency_ms@{device}": np.array([1.0, 5.0]),
        f"predicted_latency_ms@{device}": np.array([9.0, 0.0]),
        "q0": np.array([0.0, 1.0]),
    }
    assert select(f"latency_ms@{device} <= 3 and q0 < 1", columns).tolist() == [True, False]
    assert select(f"predicted_latency_ms@{device}<3", columns).tolist() == [False, True]


def test_a_wrong_condition_on_one_device_is_named_as_written() -> None:
    columns = {"latency_ms@pixel-6": np.ones(1)}
    with pytest.raises(UnknownNameError, match="did you mean 'latency_ms@pixel-6'"):
        select("latency_ms@pixel-7 < 3", columns)
    with pytest.raises(InvalidQueryError, match=r"'latency_ms@pixel-6 \+ 1' is neither"):
        select("latency_ms@pixel-6 + 1 < 3", columns)
    for text in ("latency_ms@ < 3", "latency_ms@@a < 3", "@a < 3"):
        with pytest.raises(InvalidQueryError, match="can not read"):
            select(text, columns)


@pytest.mark.parametrize("name", ["latency_ms@", "latency_ms@a b", "latency_ms@a@b", "latency_ms@-a", "top1@a/b"])
def test_refuses_what_is_no_devices_name(name: str) -> None:
    with pytest.raises(InvalidConstraintError, match="METRIC@DEVICE"):
        check_metric(name)


def test_signs_and_bounds_are_those_of_the_metric() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'latency_ms'"):
        check_metric("latency@pixel")
    assert minimised("top1@pixel", np.array([0.25])).tolist() == [0.75]
    with pytest.raises(InvalidConstraintError, match=r"for percent write 0\.9"):
        Constraint("top1@pixel", ">=", 90.0)


def test_one_device_keeps_plain_names_and_several_are_qualified(space: SearchSpace) -> None:
    genomes = space.sample(3, np.random.default_rng(0))
    assert combined_cost({"a": constant(1.0)})(genomes).keys() == {"latency_ms", "size_bytes"}
    both = combined_cost({"a": constant(1.0), "b-2": constant(2.0)})(genomes)
    assert both.keys() == {"latency_ms@a", "latency_ms@b-2", "size_bytes"}
    np.testing.assert_array_equal(both["latency_ms@b-2"], 2 * both["latency_ms@a"])
    with pytest.raises(NoDeviceError):
        combined_cost({})
    with pytest.raises(InvalidConstraintError, match="METRIC@DEVICE"):
        combined_cost({"a": constant(1.0), "b c": constant(1.0)})


@pytest.mark.parametrize(
    ("objective", "hint"),
    [
        ("latency_ms", "write latency_ms@a or latency_ms@b, that of one device"),
        ("latency_ms@c", "write latency_ms@a or latency_ms@b, that of one device"),
        ("size_bytes@a", "write size_bytes, which is the same for all"),
        ("energy_mj", "this device gives no energy_mj"),
    ],
)
def test_says_how_to_name_a_metric_of_one_device(space: SearchSpace, objective: str, hint: str) -> None:
    cost = combined_cost({"a": constant(1.0), "b": constant(2.0)})
    problem = Problem(space, (objective,), lambda genomes: np.zeros(len(genomes)), cost)
    with pytest.raises(UnsupportedError) as caught:
        problem.evaluate(space.sample(2, np.random.default_rng(0)))
    assert hint in str(caught.value)


def test_a_front_of_several_devices(space: SearchSpace) -> None:
    def slow(genomes: Genomes) -> dict[str, Any]:
        return {"latency_ms": 200.0 - genomes.sum(axis=1), "size_bytes": np.ones(len(genomes))}

    problem = Problem(
        space,
        ("latency_ms@a", "latency_ms@b"),
        lambda genomes: np.zeros(len(genomes)),
        combined_cost({"a": constant(1.0), "b": slow}),
        (parse_constraint("latency_ms@a <= 40"),),
    )
    front: Front = search(problem, rng=np.random.default_rng(0), evaluations=400)
    np.testing.assert_allclose(front.F.sum(axis=1), 200.0)
    assert len(front) > 5
    assert front.F[:, 0].max() <= 40
    assert len(front.query("latency_ms@a <= 30 and predicted_latency_ms@b >= 170")) < len(front)
    assert "latency_ms@b" in front.to_pandas()


def test_the_space_of_several_devices_is_what_all_execute(space: SearchSpace) -> None:
    devices = {"bitfusion": DEVICES.get("bitfusion")(), "host-onnxruntime": DEVICES.get("host-onnxruntime")()}
    both = restrict_to_all(space, devices)
    genomes = both.sample(200, np.random.default_rng(0))
    for device in devices.values():
        assert device.restrict(space).valid(genomes).all()
    alone = devices["bitfusion"].restrict(space).sample(200, np.random.default_rng(0))
    expected = np.logical_and.reduce([device.restrict(space).valid(alone) for device in devices.values()])
    np.testing.assert_array_equal(both.valid(alone), expected)


def test_says_which_device_leaves_nothing(space: SearchSpace) -> None:
    devices: Any = {"first": DEVICES.get("bitfusion")(), "second": DEVICES.get("host-onnxruntime")()}
    odd = space.restrict({"head.weight_format": ["int8"], "head.activation_format": ["fp32"]})
    with pytest.raises(UnsupportedError, match=r"^device '(first|second)'"):
        restrict_to_all(odd, devices)
