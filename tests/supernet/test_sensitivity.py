from __future__ import annotations

import numpy as np
import pytest
import torch

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.forward import ready_weight
from bitfront.supernet.hessian import hessian_traces
from bitfront.supernet.layers import Block
from bitfront.supernet.network import Supernet
from bitfront.supernet.sensitivity import Sensitivity, by_hessian, by_probes, in_formats, in_real_numbers

FORMATS = ("fp32", "int8", "int4")


@pytest.fixture
def evaluator(shaken_supernet: Supernet, tiny_data: Dataset) -> Evaluator:
    return Evaluator(shaken_supernet, tiny_data, 64)


@pytest.fixture
def blocks(evaluator: Evaluator) -> tuple[Block, ...]:
    space = evaluator.supernet.space
    return space.blocks(space.extremes()[0])


def names(blocks: tuple[Block, ...]) -> tuple[str, ...]:
    return tuple(layer.name for block in blocks for layer in block.layers)


def test_formats_are_changed_where_asked_and_nowhere_else(blocks: tuple[Block, ...]) -> None:
    real = in_real_numbers(blocks)
    name = names(blocks)[2]
    for block, before in zip(in_formats(real, {name: "int6"}), real, strict=True):
        for layer, was in zip(block.layers, before.layers, strict=True):
            expected = ("int6", "int6") if layer.name == name else ("fp32", "fp32")
            assert (layer.weight_format, layer.activation_format) == expected
            assert (layer.name, layer.weights, layer.in_size) == (was.name, was.weights, was.in_size)


def test_hessian_sensitivity_is_the_trace_times_the_squared_error(
    evaluator: Evaluator, blocks: tuple[Block, ...]
) -> None:
    found = by_hessian(evaluator, blocks, FORMATS, np.random.default_rng(3), images=32, probes=4)
    check_form(found, blocks)
    real = in_real_numbers(blocks)
    shown = evaluator.labelled_calibration_images(real[0].layers[0].in_size, 32)
    average = hessian_traces(evaluator.subnet(real), *shown, np.random.default_rng(3), probes=4).average
    quantized = [
        layer for block in in_formats(real, dict.fromkeys(names(blocks), "int4")) for layer in block.layers
    ]
    with torch.no_grad():
        tensors = [(layer, evaluator.supernet.params(layer, False)) for layer in quantized]
        errors = [float((ready_weight(layer, one) - one.weight).square().sum()) for layer, one in tensors]
    np.testing.assert_allclose(found.values[:, 2], np.maximum(average, 0) * errors, rtol=1e-5)


def test_probes_are_divergences_from_the_real_network(evaluator: Evaluator, blocks: tuple[Block, ...]) -> None:
    heard: list[tuple[int, int]] = []
    found = by_probes(evaluator, blocks, FORMATS, 48, lambda done, total: heard.append((done, total)))
    check_form(found, blocks)
    assert heard[-1] == (found.values.size, found.values.size)
    real = in_real_numbers(blocks)
    images, _ = evaluator.labelled_calibration_images(real[0].layers[0].in_size, 48)
    with torch.no_grad():
        p = evaluator.subnet(real)(images).double().softmax(1)
        q = evaluator.subnet(in_formats(real, {names(blocks)[1]: "int4"}))(images).double().softmax(1)
    expected = float((p * (p.log() - q.log())).sum(1).mean())
    assert found.values[1, 2] == pytest.approx(expected, rel=1e-6)


def check_form(found: Sensitivity, blocks: tuple[Block, ...]) -> None:
    assert found.layers == names(blocks)
    assert found.formats == FORMATS
    assert (found.values[:, 0] == 0).all()  # real numbers cost nothing
    assert (found.values >= 0).all()
    assert (found.values[:, 1:].sum(axis=0) > 0).all()
