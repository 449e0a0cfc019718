"""Several devices in one spec: how they are named, and which metrics there are of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bitfront.experiments.spec_checks import by_name
from bitfront.experiments.spec_errors import Problem, broken, broken_by, nearest, shown
from bitfront.experiments.spec_sections import DeviceSection
from bitfront.search.constraints import METRICS, base_metric, is_of_device, qualified
from bitfront.supernet.errors import BitfrontError

DEFAULT_OBJECTIVES = ("top1", "latency_ms", "size_bytes")

Devices = Mapping[str, DeviceSection]
Costs = Mapping[str, Sequence[str]]
"""By the name of a device in the spec, the costs that it gives."""

_OF_EACH = ("latency_ms", "energy_mj")
_OF_ARCHITECTURE = "macs"
_OF_ONE_ACCURACY = ("iterated",)


def by_names(value: object) -> object:
    """Let mere names stand for devices without options, in a mapping or a list."""
    if isinstance(value, Mapping):
        return {name: by_name(one) for name, one in value.items()}
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        return value
    if twice := sorted({name for name in value if value.count(name) > 1}):
        mapping = f"{{one: {twice[0]}, other: {{name: {twice[0]}, options: ...}}}}"
        raise broken(f"{twice[0]!r} is given twice", f"name each use of it, as in {mapping}")
    return {name: {"name": name} for name in value}


def check_names(devices: dict[str, DeviceSection]) -> dict[str, DeviceSection]:
    """Refuse a single device, and names that can not stand in METRIC@NAME."""
    if len(devices) == 1:
        raise broken("is one device", "write `device: NAME` for one, or name two or more")
    for name in devices:
        try:
            qualified("latency_ms", name)
        except BitfrontError as error:
            raise broken_by(error) from error
    return devices


def with_objectives(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A raw spec with the default objectives of several devices, where it has such and names no objectives.

    With a policy per device these are accuracy and latency, as the sizes would make too many.
    """
    names = value.get("devices")
    if "objectives" in value or not names or not isinstance(names, Mapping | list | tuple):
        return value
    if len(set(map(str, names))) < len(names) or not all(is_of_device(f"latency_ms@{name}") for name in names):
        return value  # the names themselves are wrong, and that is said
    search = value.get("search")
    per_device = isinstance(search, Mapping) and search.get("policies") == "per_device"
    wanted = DEFAULT_OBJECTIVES[:2] if per_device else DEFAULT_OBJECTIVES
    return {**value, "objectives": [one for name in wanted for one in _names(name, names, per_device)]}


def given_problems(device: DeviceSection | None, devices: Devices) -> Iterator[Problem]:
    """What is wrong where there is not exactly one of ``device`` and ``devices``."""
    if device is None and not devices:
        yield Problem("device", None, "is missing", "add it, or `devices` for several at once")
    if device is not None and devices:
        yield Problem("devices", shown(list(devices)), "stands beside `device`", "leave one of the two out")


def policy_problems(devices: Devices, accuracy: str, strategy: str) -> Iterator[Problem]:
    """What does not go together with a policy per device."""
    if len(devices) < 2:
        yield Problem("search.policies", "'per_device'", "there is one device", "name several under `devices`")
    if accuracy == "measured":
        rule = "goes with predicted accuracy alone"
        yield Problem("search.policies", "'per_device'", rule, "leave out `accuracy: measured`")
    if strategy in _OF_ONE_ACCURACY:
        rule = f"{strategy} learns of one accuracy, and here each device has its own"
        yield Problem("search.policies", "'per_device'", rule, "choose another strategy, such as nsga2 or nsga3")


def metric_problems(metrics: Mapping[str, str], costs: Costs, per_device: bool) -> Iterator[Problem]:
    """Metrics (place to name) that the devices do not have, and how to name them.

    ``per_device``: whether each device has a policy of its own.
    """
    known = [name for metric in METRICS for name in _names(metric, _givers(metric, costs), per_device)]
    if len(costs) == 1:
        known = [metric for metric in METRICS if _givers(metric, costs)]
    for place, metric in metrics.items():
        if metric not in known:
            yield Problem(place, shown(metric), *_wrong_with(metric, costs, known))


def _givers(metric: str, costs: Costs) -> list[str]:
    """The devices that give a metric."""
    return [name for name, given in costs.items() if metric not in _OF_EACH or metric in given]


def _names(metric: str, devices: Iterable[str], per_device: bool) -> list[str]:
    """How a metric of several devices is named: once for each where they differ in it."""
    differ = metric != _OF_ARCHITECTURE if per_device else metric in _OF_EACH
    return [f"{metric}@{name}" for name in devices] if differ else [metric]


def _wrong_with(metric: str, costs: Costs, known: Sequence[str]) -> tuple[str, str]:
    """Rule and fix for a metric that is not known."""
    base, _, device = metric.partition("@")
    alike = " or ".join(name for name in known if base_metric(name) == base)
    if device and len(costs) == 1:
        return "there is one device, and plain metrics", f"write {base}"
    if device and device not in costs:
        return f"there is no device {device} here", nearest(device, list(costs))
    if base in known:
        return "is the same on all devices", f"write {base}"
    if alike and not device:
        return "differs from device to device", f"write {alike}"
    gives = "; ".join(f"{name} gives {', '.join(given)}" for name, given in costs.items())
    who = device or (next(iter(costs)) if len(costs) == 1 else "")
    rule = f"the device {who} gives no {base}" if who else f"no device gives {base}"
    return rule, f"leave it out, or choose another device; {gives}"
