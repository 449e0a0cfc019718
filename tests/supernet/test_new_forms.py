"""bf16, stems that go on with a block, and packed classifiers, from the supernet to the exported model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.export.onnx_graph import onnx_model
from bitfront.supernet.export.onnx_runtime import run_onnx
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.subnet import Subnet

Genome = NDArray[np.uint8]


@pytest.fixture(scope="module")
def space(tiny_space: MBConvSpace) -> MBConvSpace:
    formats = ("fp32", "bf16", "int8")
    frame = replace(
        tiny_space.frame,
        first_block_channels=4,
        weight_formats=formats,
        activation_formats=formats,
        classifier_formats=(("fp32", "int8", "int4"), ("fp32", "int8")),
    )
    return MBConvSpace("tiny new", frame)


@pytest.fixture(scope="module")
def supernet(space: MBConvSpace) -> Supernet:
    return Supernet(space, seed=3)


def genome(space: MBConvSpace, formats: str, classifier: tuple[str, str] = ("fp32", "fp32")) -> Genome:
    same: Genome = space.assign(space.extremes()[1:], {"weight_format": formats, "activation_format": formats})[0]
    for part, value in zip(("weight_format", "activation_format"), classifier, strict=True):
        position = space.position[f"classifier.{part}"]
        same[position] = space.genes[position].choices.index(value)
    return same


def subnet(supernet: Supernet, data: Dataset, one: Genome) -> Subnet:
    blocks = supernet.space.blocks(one)
    return Subnet(supernet, blocks, Evaluator(supernet, data, 64).statistics(blocks))


def images(space: MBConvSpace, n: int = 32) -> torch.Tensor:
    return torch.randn(n, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def test_bf16_rounds_weights_and_inputs(supernet: Supernet, space: MBConvSpace, tiny_data: Dataset) -> None:
    exact, half = (subnet(supernet, tiny_data, genome(space, name)) for name in ("fp32", "bf16"))
    x = images(space)
    with torch.no_grad():
        a, b = exact(x), half(x)
    error = float((a - b).norm() / a.norm())
    assert 1e-5 < error < 0.05


def test_gradients_go_through_bf16(supernet: Supernet, space: MBConvSpace, tiny_data: Dataset) -> None:
    half = subnet(supernet, tiny_data, genome(space, "bf16"))
    half(images(space)).square().sum().backward()
    gradients = [p.grad for p in half.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0


@pytest.mark.parametrize("classifier", [("fp32", "fp32"), ("int8", "int8"), ("int4", "fp32")])
def test_the_exported_model_says_what_the_subnet_says(
    supernet: Supernet, space: MBConvSpace, tiny_data: Dataset, classifier: tuple[str, str]
) -> None:
    one = subnet(supernet, tiny_data, genome(space, "fp32", classifier))
    model = onnx_model(one.fold())
    x = images(space)
    with torch.no_grad():
        expected = one(x).numpy()
    found = run_onnx(model.SerializeToString(), x.numpy())
    # ONNX Runtime multiplies packed weights with activations that it rounds to 8 bits by blocks of its own.
    bound = 1e-2 if classifier[0] == "int4" else 2e-3
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < bound


def test_packed_weights_are_stored_in_4_bits(supernet: Supernet, space: MBConvSpace, tiny_data: Dataset) -> None:
    model = onnx_model(subnet(supernet, tiny_data, genome(space, "fp32", ("int4", "fp32"))).fold())
    (codes,) = (one for one in model.graph.initializer if one.data_type == onnx.TensorProto.INT4)
    assert list(codes.dims) == [16, 10]
    assert len(codes.raw_data) == 16 * 10 // 2
    assert model.opset_import[0].version == 21
    plain = onnx_model(subnet(supernet, tiny_data, genome(space, "fp32")).fold())
    assert plain.opset_import[0].version == 17


def test_a_sum_in_bf16_is_kept_apart_from_what_quantizes_it(
    supernet: Supernet, space: MBConvSpace, tiny_data: Dataset
) -> None:
    one = genome(space, "bf16")
    for name in ("stage1.block0.pointwise.weight_format", "stage1.block0.pointwise.activation_format"):
        one[space.position[name]] = space.genes[space.position[name]].choices.index("int8")
    networks = (subnet(supernet, tiny_data, each).fold() for each in (one, genome(space, "bf16")))
    mixed, whole = (onnx_model(each, runtime="openvino") for each in networks)
    assert sum(node.op_type == "Max" for node in mixed.graph.node) == 1
    assert not any(node.op_type == "Max" for node in whole.graph.node)
