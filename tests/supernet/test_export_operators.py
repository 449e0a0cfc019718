"""Squeeze and excitation, h-swish, shortcuts and maxima as ONNX graphs: what they mean, and in what they run."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.supernet.calibration import calibrate, initialise_scales
from bitfront.supernet.export.host_cpu import host_cpu
from bitfront.supernet.export.onnx_graph import onnx_model, part_model
from bitfront.supernet.export.onnx_runtime import open_session, run_onnx, session_options
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.layers import Block
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.policy import is_integer_layer
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.subnet import Subnet

Images = NDArray[np.float32]
SPACES = ["gated_space", "bottleneck_space"]
HOST_PAIRS = {("fp32", "fp32"), ("int8", "int8")}


@pytest.fixture(params=SPACES, scope="module")
def space(request: pytest.FixtureRequest) -> SearchSpace:
    found: SearchSpace = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def host_space(space: SearchSpace) -> SearchSpace:
    return space.restrict_formats(lambda op: HOST_PAIRS)


# -- an independent reading of what a folded network means -------------------------------------------------


def fake_quant(x: torch.Tensor, quant: TensorQuant | None) -> torch.Tensor:
    if quant is None:
        return x
    scale = torch.tensor(quant.scale, dtype=torch.float32)
    codes = torch.clamp(torch.round(x / scale) + quant.zero_point, 0, 2**quant.bits - 1)
    return (codes - quant.zero_point) * scale


def affine(part: FoldedLayer, x: torch.Tensor) -> torch.Tensor:
    layer, weight, bias = part.layer, torch.from_numpy(part.weight), torch.from_numpy(part.bias)
    if layer.op == "linear":
        return F.linear(x, weight, bias)
    return F.conv2d(x, weight, bias, layer.stride, layer.kernel // 2, 1, layer.groups)


def layer_output(part: FoldedLayer, x: torch.Tensor) -> torch.Tensor:
    """(Relu, quantization) or (quantization, smooth function)."""
    y = affine(part, x)
    if part.layer.act == "relu":
        return fake_quant(y.clamp_min(0), part.output)
    y = fake_quant(y, part.output)
    ramp = (y + 3).clamp(0, 6) / 6
    return {"none": y, "hswish": y * ramp, "hsigmoid": ramp}[part.layer.act]


def block_output(block: Block, parts: Sequence[FoldedLayer], x: torch.Tensor) -> torch.Tensor:
    entry = fake_quant(x, parts[0].input) if parts[0].layer.op != "linear" else x
    addend = entry
    pooled = x
    for part in parts:
        layer = part.layer
        if layer.source == "block":
            out, stride = layer.in_size, -(-block.layers[0].in_size // layer.in_size)
            means = torch.empty(*entry.shape[:2], out, out)
            for i in range(out):
                for j in range(out):
                    square = entry[:, :, stride * i : stride * (i + 1), stride * j : stride * (j + 1)]
                    means[:, :, i, j] = square.mean((2, 3))
            addend = layer_output(part, fake_quant(means, part.input))
            continue
        if layer.source == "pooled":
            pooled, x = x, x.mean((2, 3), keepdim=True)
        elif layer.op == "linear":
            x = x.flatten(2).mean(2) if x.ndim == 4 else x
        x = layer_output(part, fake_quant(x, part.input))
        x = pooled * x if layer.gate else x
    if block.residual:
        x = x + addend
        x = x.clamp_min(0) if block.sum_act == "relu" else x
    return F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, 2) if block.max_pool else x


def reference(folded: Folded, images: Images) -> Images:
    x, parts = torch.from_numpy(images), iter(folded.layers)
    for block in folded.blocks:
        x = block_output(block, [next(parts) for _ in block.layers], x)
    result: Images = x.numpy()
    return result


def with_integer_biases(folded: Folded) -> Folded:
    """The network whose 8-bit layers hold their biases as whole multiples of input scale times weight scale."""
    first = {layer.name: block.layers[0].name for block in folded.blocks for layer in block.layers}
    inputs = {part.layer.name: part.input for part in folded.layers}

    def rounded(part: FoldedLayer) -> FoldedLayer:
        layer = part.layer
        quant = part.input or (inputs[first[layer.name]] if layer.source == "block" else None)
        if part.weight_scale is None or layer.weight_format != "int8" or quant is None or quant.bits != 8:
            return part
        step = np.float64(quant.scale) * part.weight_scale
        return replace(part, bias=(np.rint(part.bias / step) * step).astype(np.float32))

    return replace(folded, layers=tuple(map(rounded, folded.layers)))


def images_for(folded: Folded, n: int = 48) -> Images:
    shape = (n, folded.in_channels, folded.resolution, folded.resolution)
    return np.random.default_rng(0).normal(0.0, 1.5, shape).astype(np.float32)


def relative_error(found: Images, expected: Images) -> float:
    return float(np.abs(found - expected).mean() / expected.std())


def drawn(space: SearchSpace, seed: int, weights: str | None = None, activations: str | None = None) -> Folded:
    rng = np.random.default_rng(seed)
    genomes = space.sample(1, rng)
    if weights and activations:
        genomes = space.assign(genomes, {"weight_format": weights, "activation_format": activations})
    return with_scales_of_their_own(random_folded(space.blocks(genomes[0]), rng))


def with_scales_of_their_own(folded: Folded) -> Folded:
    """Random networks have one scale for all inputs of a format, and means of its codes lie between two codes."""

    def rescaled(part: FoldedLayer) -> FoldedLayer:
        if part.layer.source != "block" or part.input is None:
            return part
        return replace(part, input=replace(part.input, scale=part.input.scale * 0.93))

    return replace(folded, layers=tuple(map(rescaled, folded.layers)))


# -- semantics ---------------------------------------------------------------------------------------------


class TestSemantics:
    @pytest.mark.parametrize("formats", [("fp32", "fp32"), ("int8", "fp32"), ("fp32", "int8"), ("fp32", "int4")])
    @pytest.mark.parametrize("seed", range(3))
    def test_float_arithmetic_gives_the_reference_logits(
        self, space: SearchSpace, formats: tuple[str, str], seed: int
    ) -> None:
        folded = drawn(space, seed, *formats)
        images = images_for(folded)
        found = run_onnx(onnx_model(folded).SerializeToString(), images)
        expected = reference(folded, images)
        # A rare code may fall to the other side of a tie, as sums are added in another order.
        same = np.isclose(found, expected, rtol=1e-4, atol=2e-4 * expected.std()).all(axis=1)
        assert same.mean() >= 0.85
        assert relative_error(found, expected) < 0.02

    @pytest.mark.parametrize("seed", range(4))
    def test_int8_network_differs_by_rounding_alone(self, space: SearchSpace, seed: int) -> None:
        folded = drawn(space, seed, "int8", "int8")
        images = images_for(folded)
        found = run_onnx(onnx_model(folded).SerializeToString(), images)
        assert relative_error(found, reference(with_integer_biases(folded), images)) < 0.05

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def test_any_mix_of_formats_is_close_to_the_reference(self, space: SearchSpace, seed: int) -> None:
        folded = drawn(space, seed)
        images = images_for(folded)
        found = run_onnx(onnx_model(folded).SerializeToString(), images)
        assert relative_error(found, reference(with_integer_biases(folded), images)) < 0.15

    def test_trained_weights_fold_without_a_trace(self, space: SearchSpace, rng: np.random.Generator) -> None:
        supernet = Supernet(space, 1)
        for genome in np.concatenate([space.extremes(), space.sample(10, rng)]):
            blocks = space.blocks(genome)
            size = blocks[0].layers[0].in_size
            x = torch.randn(48, 1, size, size, generator=torch.Generator().manual_seed(size))
            real = space.blocks(
                space.assign(genome[None], {"weight_format": "fp32", "activation_format": "fp32"})[0]
            )
            initialise_scales(supernet, [real], [x])
            subnet = Subnet(supernet, blocks, calibrate(supernet, blocks, x))
            folded = subnet.fold()
            with torch.no_grad():
                logits = subnet(x).numpy()
            assert relative_error(reference(folded, x.numpy()), logits) < 0.06
            assert relative_error(run_onnx(onnx_model(folded).SerializeToString(), x.numpy()), logits) < 0.1


# -- what the runtimes make of it ---------------------------------------------------------------------------


def ops_executed(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """Operators that ONNX Runtime really executes."""
    options = session_options()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    open_session(model.SerializeToString(), "a test model", options)
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


class TestIntegerKernels:
    @pytest.mark.parametrize("seed", range(4))
    def test_exactly_the_integer_layers_run_on_them_in_onnx_runtime(
        self, host_space: SearchSpace, seed: int, tmp_path: Path
    ) -> None:
        folded = drawn(host_space, seed)
        ops = ops_executed(onnx_model(folded), tmp_path)
        integer = [part.layer for part in folded.layers if is_integer_layer(part.layer)]
        assert ops["QLinearConv"] == sum(layer.op != "linear" for layer in integer)
        assert ops["QGemm"] == sum(layer.op == "linear" for layer in integer)

    def test_all_layers_of_an_int8_network_do(self, space: SearchSpace, tmp_path: Path) -> None:
        genome = space.assign(space.extremes()[1:], {"weight_format": "int8", "activation_format": "int8"})[0]
        folded = random_folded(space.blocks(genome), np.random.default_rng(0))
        ops = ops_executed(onnx_model(folded), tmp_path)
        linear = sum(part.layer.op == "linear" for part in folded.layers)
        assert (ops["QLinearConv"], ops["QGemm"]) == (len(folded.layers) - linear, linear)
        assert ops["Conv"] == ops["FusedConv"] == ops["Gemm"] == ops["AveragePool"] == 0
        # The last sum is pooled, and nothing quantizes it.
        sums = sum(block.residual for block in folded.blocks)
        assert ops["QLinearAdd"] >= sums - 1
        if any(block.stride == 2 and block.shortcut is not None for block in folded.blocks):
            assert ops["QLinearAveragePool"] == 1

    def test_no_convolution_of_an_int8_network_is_real_in_openvino(
        self, space: SearchSpace, tmp_path: Path
    ) -> None:
        if importlib.util.find_spec("openvino") is None:
            pytest.skip("OpenVINO is not installed")
        import openvino

        genome = space.assign(space.extremes()[1:], {"weight_format": "int8", "activation_format": "int8"})[0]
        folded = random_folded(space.blocks(genome), np.random.default_rng(0))
        images = images_for(folded)
        onnx.save(onnx_model(folded, batch=len(images)), tmp_path / "model.onnx")
        settings_ = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(tmp_path / "model.onnx", "CPU", settings_)
        nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
        kinds = [(info["layerType"].astype(str), info["runtimePrecision"].astype(str)) for info in nodes]
        precisions = {precision for kind, precision in kinds if kind in ("Convolution", "FullyConnected")}
        assert precisions <= {"u8", "i8"}
        assert sum(kind == "Convolution" for kind, _ in kinds) >= sum(len(b.layers) > 1 for b in folded.blocks)
        # Without VNNI, pairs of 8-bit products are added in 16 bits first, where they can saturate.
        bound = 0.15 if {"avx_vnni", "avx512_vnni"} & set(host_cpu().isa) else 0.3
        assert relative_error(compiled(images)[0], reference(with_integer_biases(folded), images)) < bound

    @pytest.mark.parametrize("seed", range(3))
    def test_openvino_gives_the_reference_logits(self, space: SearchSpace, seed: int, tmp_path: Path) -> None:
        if importlib.util.find_spec("openvino") is None:
            pytest.skip("OpenVINO is not installed")
        import openvino

        folded = drawn(space, seed)
        images = images_for(folded, 32)
        onnx.save(onnx_model(folded, batch=32), tmp_path / "model.onnx")
        settings_ = {"INFERENCE_PRECISION_HINT": "f32"}
        found = openvino.Core().compile_model(tmp_path / "model.onnx", "CPU", settings_)(images)[0]
        assert relative_error(found, reference(with_integer_biases(folded), images)) < 0.15


# -- parts of networks --------------------------------------------------------------------------------------


class TestParts:
    @pytest.mark.parametrize("number_format", ["fp32", "int8"])
    def test_every_block_runs_alone(self, space: SearchSpace, number_format: str) -> None:
        genome = space.assign(
            space.extremes()[1:], {"weight_format": number_format, "activation_format": number_format}
        )[0]
        for block in space.blocks(genome):
            model = part_model(random_folded((block,), np.random.default_rng(0)), 2)
            session = open_session(model.SerializeToString(), "a block")
            (entry,), (result,) = session.get_inputs(), session.get_outputs()
            is_integer = number_format == "int8"
            assert entry.type == ("tensor(uint8)" if is_integer and block.kind != "stem" else "tensor(float)")
            assert result.type == ("tensor(uint8)" if is_integer and block.kind != "head" else "tensor(float)")
            values = np.zeros(entry.shape, np.uint8 if "uint8" in entry.type else np.float32)
            output = session.run(None, {entry.name: values})[0]
            tail = (2, 10) if block.kind == "head" else (2, block.tail.out_channels, *[block.out_size] * 2)
            assert output.shape == tail

    def test_parts_hand_codes_to_one_another(self, host_space: SearchSpace) -> None:
        folded = drawn(host_space, 0, "int8", "int8")
        images = images_for(folded, 2)
        whole = open_session(part_model(folded, 2).SerializeToString(), "a network")
        np.testing.assert_allclose(
            whole.run(None, {"input": images})[0],
            run_onnx(onnx_model(folded).SerializeToString(), images),
            rtol=1e-4,
            atol=1e-5,
        )
