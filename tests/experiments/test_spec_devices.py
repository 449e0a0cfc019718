"""Several devices in a spec: how they may be written, what is searched for then, and what is refused."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from bitfront.experiments.spec import Spec, SpecError, parse_spec, spec_from

BASE: dict[str, Any] = {"space": "digits", "data": "digits"}
PHONE_AND_CPU = {"phone": "bitfusion", "cpu": {"name": "host-onnxruntime", "options": {"batch": 1}}}


def spec(**fields: object) -> Spec:
    return spec_from({**BASE, **fields})


def problems(**fields: object) -> dict[str, str]:
    """Path to what is said about it."""
    with pytest.raises(SpecError) as caught:
        spec(**fields)
    return {problem.path: str(problem) for problem in caught.value.problems}


def test_a_mapping_names_them_and_a_list_calls_them_as_they_are() -> None:
    named = spec(devices=PHONE_AND_CPU)
    assert {name: one.name for name, one in named.named_devices.items()} == {
        "phone": "bitfusion",
        "cpu": "host-onnxruntime",
    }
    assert named.named_devices["cpu"].options == {"batch": 1}
    assert list(spec(devices=["bitfusion", "roofline"]).named_devices) == ["bitfusion", "roofline"]
    assert spec(devices=["bitfusion", "roofline"]) == spec(
        devices={"bitfusion": {"name": "bitfusion"}, "roofline": "roofline"}
    )


def test_one_device_stays_as_it_was() -> None:
    one = parse_spec("space: digits\ndata: digits\ndevice: bitfusion\n")
    assert list(one.named_devices) == ["bitfusion"]
    assert one.objectives == ("top1", "latency_ms", "size_bytes")
    # As specs were stored before there was `devices`.
    stored = {name: value for name, value in one.as_json().items() if name != "devices"}
    assert spec_from(stored) == one


def test_default_objectives_are_those_of_every_device() -> None:
    assert spec(devices=PHONE_AND_CPU).objectives == ("top1", "latency_ms@phone", "latency_ms@cpu", "size_bytes")
    assert spec(devices=PHONE_AND_CPU, objectives=["top1", "macs"]).objectives == ("top1", "macs")


def test_comes_back_from_json() -> None:
    one = spec(devices=PHONE_AND_CPU, constraints=["latency_ms@cpu<=2", "energy_mj@phone <= 1"])
    again = spec_from(json.loads(json.dumps(one.as_json())))
    assert again == one
    assert one.parsed_constraints()[0].metric == "latency_ms@cpu"


def test_one_device_twice_under_two_names() -> None:
    twice = spec(devices={"one": "bitfusion", "eight": {"name": "bitfusion", "options": {"batch": 8}}})
    assert twice.objectives == ("top1", "latency_ms@one", "latency_ms@eight", "size_bytes")


@pytest.mark.parametrize(
    ("fields", "place", "words"),
    [
        ({}, "device", "is missing: add it, or `devices`"),
        ({"device": "bitfusion", "devices": ["bitfusion", "roofline"]}, "devices", "leave one of the two out"),
        ({"devices": ["bitfusion"]}, "devices", "write `device: NAME` for one"),
        ({"devices": {"phone": "bitfusion"}}, "devices", "write `device: NAME` for one"),
        ({"devices": ["bitfusion", "bitfusion"]}, "devices", "'bitfusion' is given twice"),
        ({"devices": {"my phone": "bitfusion", "b": "roofline"}}, "devices", "a device's name of letters"),
        ({"devices": ["bitfussion", "roofline"]}, "devices.bitfussion.name", "did you mean 'bitfusion'"),
        ({"devices": {"a": "bitfusion", "b": "rooflin"}}, "devices.b", "did you mean 'roofline'"),
        (
            {"devices": {"a": "bitfusion", "b": {"name": "roofline", "option": {}}}},
            "devices.b.option",
            "'options'",
        ),
        (
            {"devices": {"a": "bitfusion", "b": {"name": "bitfusion", "options": {"bach": 2}}}},
            "devices.b.options.bach",
            "did you mean 'batch'",
        ),
        (
            {"devices": {"a": "bitfusion", "b": {"name": "bitfusion", "options": {"batch": 0}}}},
            "devices.b",
            "batch",
        ),
        ({"devices": 3}, "devices", "must be a mapping"),
        ({"devices": None}, "devices", "must be a mapping"),
        ({"devices": ["bitfusion", 3]}, "devices", "must be a mapping"),
    ],
)
def test_devices_that_are_refused(fields: dict[str, Any], place: str, words: str) -> None:
    found = problems(**fields)
    assert len(found) == 1
    assert words in found[place]


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("latency_ms", "differs from device to device: write latency_ms@phone or latency_ms@cpu"),
        ("latency_ms@fone", "there is no device fone here: did you mean 'phone'? Known here: phone, cpu"),
        ("size_bytes@phone", "is the same on all devices: write size_bytes"),
        ("top1@phone", "is the same on all devices: write top1"),
        (
            "energy_mj@cpu",
            "the device cpu gives no energy_mj: leave it out, or choose another device; phone gives",
        ),
        ("energy_mj", "differs from device to device: write energy_mj@phone"),
    ],
)
def test_metrics_that_are_refused(metric: str, words: str) -> None:
    found = problems(
        devices=PHONE_AND_CPU, objectives=["macs", metric], constraints=["macs <= 1", f"{metric} <= 1"]
    )
    assert list(found) == ["objectives[1]", "constraints[1]"]
    assert all(words in text for text in found.values())


def test_a_metric_that_no_device_gives() -> None:
    found = problems(devices=["host-onnxruntime", "host-openvino-avx2"], objectives=["top1", "energy_mj"])
    assert "no device gives energy_mj" in found["objectives[1]"]


class TestPolicyPerDevice:
    def given(self, **fields: object) -> dict[str, Any]:
        search = {"policies": "per_device", **cast(dict[str, Any], fields.pop("search", {}))}
        return {"devices": PHONE_AND_CPU, "search": search, **fields}

    def test_metrics_have_a_device_all_but_macs(self) -> None:
        one = spec(**self.given())
        assert one.has_policies_per_device
        assert one.objectives == ("top1@phone", "top1@cpu", "latency_ms@phone", "latency_ms@cpu")
        more = ["top1@cpu", "size_bytes@phone", "energy_mj@phone", "bitops@cpu", "peak_memory_bytes@cpu", "macs"]
        assert spec(**self.given(objectives=more)).objectives == tuple(more)
        assert spec_from(json.loads(json.dumps(one.as_json()))) == one

    @pytest.mark.parametrize(
        ("metric", "words"),
        [
            ("top1", "differs from device to device: write top1@phone or top1@cpu"),
            ("size_bytes", "write size_bytes@phone or size_bytes@cpu"),
            ("macs@phone", "is the same on all devices: write macs"),
            ("energy_mj@cpu", "the device cpu gives no energy_mj"),
            ("top1@fone", "there is no device fone here: did you mean 'phone'"),
        ],
    )
    def test_metrics_that_are_refused(self, metric: str, words: str) -> None:
        found = problems(**self.given(objectives=["macs", metric]))
        assert list(found) == ["objectives[1]"]
        assert words in found["objectives[1]"]

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"devices": {}, "device": "bitfusion"}, "name several under `devices`"),
            ({"search": {"accuracy": "measured"}}, "predicted accuracy alone"),
            ({"search": {"strategy": "iterated"}}, "choose another strategy"),
        ],
    )
    def test_what_it_does_not_go_with(self, fields: dict[str, Any], words: str) -> None:
        assert words in problems(**self.given(**fields))["search.policies"]

    def test_islands_are_refused(self) -> None:
        said = problems(**self.given(search={"islands": 3}))["search.islands"]
        assert "does not go with a policy per device" in said
        assert "leave one of the two out" in said
