"""Settings of a training, its devices, its rates and what it hints to the system."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bitfront.supernet.errors import TrainingSettingsError, UnknownNameError, UnsupportedError
from bitfront.supernet.training import TrainingSettings
from bitfront.supernet.training.hardware import device_of, keep_freed_memory, uses_bf16
from bitfront.supernet.training.optimisation import new_optimizer, rate_at

NUMBERS = [f.name for f in dataclasses.fields(TrainingSettings) if type(f.default) in (int, float)]
FROM_ONE = {"batch_size", "accumulation"}
ABOVE_ZERO = {"learning_rate", "quantized_learning_rate"}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_no_number_below_zero_or_without_end(name: str, value: float) -> None:
    with pytest.raises(TrainingSettingsError, match=rf"training\.{name} = {value} is out of range: give a number"):
        TrainingSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NUMBERS)
def test_zero(name: str) -> None:
    if name in FROM_ONE | ABOVE_ZERO:
        rule = "from 1" if name in FROM_ONE else "above 0"
        with pytest.raises(TrainingSettingsError, match=rf"{name} = 0 is out of range: give a number {rule}"):
            TrainingSettings(**{name: 0})  # type: ignore[arg-type]
    else:
        assert getattr(TrainingSettings(**{name: 0}), name) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing = 1.0 is out of range: give a number from 0 to below 1"),
        ({"batch_size": 8, "accumulation": 9}, "accumulation = 9 is out of range: a batch of 8 has no more parts"),
    ],
)
def test_ranges_with_another_end(values: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainingSettingsError, match=words):
        TrainingSettings(**values)


@pytest.mark.parametrize(
    ("name", "wrong", "near"),
    [("schedule", "sandwhich", "sandwich"), ("optimizer", "adam", "adamw"), ("precision", "bfloat16", "bf16")],
)
def test_unknown_names(name: str, wrong: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown {name} '{wrong}': did you mean '{near}'"):
        TrainingSettings(**{name: wrong})  # type: ignore[arg-type]


# -- devices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "meta", "mps", "Cuda", "cpu:cpu"])
def test_no_such_device(name: str) -> None:
    with pytest.raises(UnsupportedError, match="is no device that trains: give auto, cpu, cuda or cuda:N"):
        device_of(name)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UnsupportedError, match="torch sees 0 CUDA devices; give auto or cpu"):
        device_of("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UnsupportedError, match="device 'cuda:2' is not there: torch sees 2"):
        device_of("cuda:2")


def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert device_of("auto") == torch.device("cuda", 3)


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("auto", "cpu", False),
        ("auto", "cuda", True),
        ("fp32", "cuda", False),
        ("bf16", "cpu", True),
        ("bf16", "cuda", True),
        ("fp32", "cpu", False),
    ],
)
def test_where_bf16_is_used(precision: Any, device: str, expected: bool) -> None:
    assert uses_bf16(precision, torch.device(device)) is expected


def test_the_hint_about_memory_fails_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_freed_memory()
    for platform in ("darwin", "win32"):
        monkeypatch.setattr("sys.platform", platform)
        monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("there is no glibc"))
        keep_freed_memory()

    def none(name: str) -> object:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("sys.platform", "linux")
    for library in (none, lambda name: object()):  # no glibc; a library without mallopt, such as musl's
        monkeypatch.setattr(ctypes, "CDLL", library)
        keep_freed_memory()


# -- rates and optimizers ----------------------------------------------------------------------------------


@given(st.floats(0, 1), st.floats(1e-8, 10))
def test_rates_are_between_zero_and_their_peak(progress: float, peak: float) -> None:
    assert 0 <= rate_at(peak, progress) <= peak
    assert rate_at(peak, progress) == pytest.approx(peak * rate_at(1.0, progress))


def test_rates_rise_and_fall() -> None:
    rates = [rate_at(1.0, i / 1000) for i in range(1001)]
    top = rates.index(max(rates))
    assert 30 <= top <= 60
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a > b for a, b in itertools.pairwise(rates[top:]))
    assert rates[0] == pytest.approx(0.02)
    assert rates[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_weights_decay_and_biases_and_scales_do_not(name: Any, kind: type[torch.optim.Optimizer]) -> None:
    """A step without a gradient to speak of shrinks weights alone."""
    weight, bias, scale = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(()))
    settings = TrainingSettings(optimizer=name, weight_decay=0.1, learning_rate=0.5)
    optimizer = new_optimizer([weight, bias, scale], settings)
    assert isinstance(optimizer, kind)
    for parameter in (weight, bias, scale):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    shrunk = 1 - 0.5 * 0.1 * (1.9 if name == "sgd" else 1)
    torch.testing.assert_close(weight.detach(), torch.full((2, 3), shrunk))
    assert bool((bias == 1).all())
    assert float(scale.detach()) == 1
