"""Traces of the Hessian against sums of second derivatives taken one by one, and against a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.depthwise import depthwise_conv2d, twice_differentiable
from bitfront.supernet.errors import NumericalError, UnsupportedError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.hessian import hessian_traces
from bitfront.supernet.network import Supernet
from bitfront.supernet.sensitivity import in_formats, in_real_numbers
from bitfront.supernet.subnet import Subnet

Shown = tuple[Tensor, NDArray[np.int64]]


@pytest.fixture
def evaluator(shaken_supernet: Supernet, tiny_data: Dataset) -> Evaluator:
    return Evaluator(shaken_supernet, tiny_data, 32)


@pytest.fixture
def network(evaluator: Evaluator) -> Subnet:
    space = evaluator.supernet.space
    return evaluator.subnet(in_real_numbers(space.blocks(space.extremes()[0])))


@pytest.fixture
def shown(evaluator: Evaluator, network: Subnet) -> Shown:
    return evaluator.labelled_calibration_images(network.blocks[0].layers[0].in_size, 16)


def exact_trace(network: Subnet, weight: Tensor, shown: Shown) -> float:
    with twice_differentiable():
        loss = F.cross_entropy(network(shown[0]), torch.from_numpy(shown[1]))
        (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
    flat = gradient.reshape(-1)
    second = [torch.autograd.grad(flat[i], weight, retain_graph=True)[0].reshape(-1)[i] for i in range(len(flat))]
    return float(torch.stack(second).double().sum())


def test_traces_are_sums_of_second_derivatives(network: Subnet, shown: Shown) -> None:
    found = hessian_traces(network, *shown, np.random.default_rng(0), probes=200)
    layers = [layer for block in network.blocks for layer in block.layers]
    assert found.layers == tuple(layer.name for layer in layers)
    assert found.weights.tolist() == [layer.weights for layer in layers]
    checked = [i for i, layer in enumerate(layers) if layer.weights <= 400]
    assert {layers[i].op for i in checked} >= {"depthwise", "pointwise"}
    exact = np.array([exact_trace(network, network.weight(layers[i]), shown) for i in checked])
    assert (np.abs(found.trace[checked] - exact) <= 4 * found.standard_error[checked] + 1e-4 * np.abs(exact)).all()
    assert np.median(found.standard_error[checked] / np.abs(exact)) < 0.5
    np.testing.assert_allclose(found.average, found.trace / found.weights)


def test_the_classifier_has_a_closed_form(network: Subnet, shown: Shown) -> None:
    """Of softmax and cross-entropy: the mean of p (1 - p) summed over classes, times the squared input."""
    read: list[Tensor] = []
    head = network.blocks[-1].tail
    weight = network.weight(head)
    with torch.no_grad():
        probabilities = network(shown[0]).softmax(1)
    hook = torch.nn.functional.linear

    def linear(x: Tensor, w: Tensor, bias: Tensor) -> Tensor:
        read.append(x)
        return hook(x, w, bias)

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(F, "linear", linear)
        network(shown[0])
    spread = (probabilities * (1 - probabilities)).sum(1)
    expected = float((spread * read[-1].square().sum(1)).mean())
    found = hessian_traces(network, *shown, np.random.default_rng(1), probes=400)
    place = found.layers.index(head.name)
    assert weight.shape == (head.out_channels, head.in_channels)
    assert found.trace[place] == pytest.approx(expected, abs=4 * found.standard_error[place])


def test_the_generator_decides(network: Subnet, shown: Shown) -> None:
    traces = [hessian_traces(network, *shown, np.random.default_rng(seed), probes=3).trace for seed in (0, 0, 1)]
    assert (traces[0] == traces[1]).all()
    assert (traces[0] != traces[2]).any()


def test_a_quantized_network_is_refused(evaluator: Evaluator, network: Subnet, shown: Shown) -> None:
    name = network.blocks[1].layers[0].name
    quantized = evaluator.subnet(in_formats(network.blocks, {name: "int8"}))
    with pytest.raises(UnsupportedError, match=f"layer '{name}' is in int8 and int8"):
        hessian_traces(quantized, *shown, np.random.default_rng(0))


def test_one_probe_is_refused(network: Subnet, shown: Shown) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        hessian_traces(network, *shown, np.random.default_rng(0), probes=1)


def test_damaged_weights_are_named(network: Subnet, shown: Shown) -> None:
    with torch.no_grad():
        network.weight(network.blocks[0].layers[0]).fill_(float("nan"))
    with pytest.raises(NumericalError, match="weights are damaged"):
        hessian_traces(network, *shown, np.random.default_rng(0), probes=2)


def test_large_kernels_are_twice_differentiable_where_that_is_asked_for() -> None:
    x, weight = torch.randn(2, 3, 7, 7, dtype=torch.double), torch.randn(3, 1, 5, 5, dtype=torch.double)
    with twice_differentiable():
        assert torch.autograd.gradgradcheck(lambda w: depthwise_conv2d(x, w, 1), weight.requires_grad_())
    (gradient,) = torch.autograd.grad(depthwise_conv2d(x, weight, 1).square().sum(), weight, create_graph=True)
    with pytest.raises(RuntimeError, match="not have been used in the graph"):
        torch.autograd.grad(gradient.sum(), weight)
