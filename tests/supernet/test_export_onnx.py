from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.supernet.errors import CorruptFileError, MissingFileError, UnsupportedError
from bitfront.supernet.export.host_cpu import HostCPU, host_cpu, parse_cpuinfo
from bitfront.supernet.export.onnx_graph import onnx_model, part_model
from bitfront.supernet.export.onnx_runtime import open_session, run_onnx, session_options
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.files import write_bytes
from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.policy import is_integer_layer
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits

SPACE = digits()
HOST_SPACE = SPACE.restrict_formats(lambda op: {("fp32", "fp32"), ("int8", "int8")})
BITS = {"int8": 8, "int6": 6, "int4": 4}
Images = NDArray[np.float32]


# -- an independent reading of what a folded network means -------------------------------------------------


def fake_quant(x: torch.Tensor, quant: TensorQuant | None) -> torch.Tensor:
    if quant is None:
        return x
    scale = torch.tensor(quant.scale, dtype=torch.float32)
    codes = torch.clamp(torch.round(x / scale) + quant.zero_point, 0, 2**quant.bits - 1)
    return (codes - quant.zero_point) * scale


def reference(folded: Folded, images: Images) -> Images:
    x = torch.from_numpy(images)
    layers = iter(folded.layers)
    for block in folded.blocks:
        addend = None
        for layer in block.layers:
            part = next(layers)
            if layer.op == "linear":
                x = x.mean(dim=(2, 3))
            x = fake_quant(x, part.input)
            addend = x if addend is None else addend
            weight, bias = torch.from_numpy(part.weight), torch.from_numpy(part.bias)
            if layer.op == "linear":
                x = F.linear(x, weight, bias)
            else:
                x = F.conv2d(x, weight, bias, layer.stride, layer.kernel // 2, 1, layer.groups)
            x = fake_quant(F.relu(x) if layer.relu else x, part.output)
        if block.residual and addend is not None:
            x = x + addend
    result: Images = x.numpy()
    return result


def with_integer_biases(folded: Folded) -> Folded:
    """The network whose 8-bit layers hold their biases as whole multiples of input scale times weight scale."""
    layers: list[FoldedLayer] = []
    for part in folded.layers:
        # After a residual addition or pooling no single format describes a tensor.
        first = any(part.layer is block.layers[0] for block in folded.blocks)
        stored = layers[-1].output if layers and not first and part.layer.op != "linear" else None
        quant = part.input or stored
        if part.weight_scale is not None and BITS[part.layer.weight_format] == 8 and quant and quant.bits == 8:
            step = np.float64(quant.scale) * part.weight_scale
            part = replace(part, bias=(np.rint(part.bias / step) * step).astype(np.float32))
        layers.append(part)
    return replace(folded, layers=tuple(layers))


def network(space: SearchSpace, seed: int, **formats: str) -> Folded:
    rng = np.random.default_rng(seed)
    genomes = space.sample(1, rng)
    if formats:
        genomes = space.assign(
            genomes, {"weight_format": formats["weights"], "activation_format": formats["activations"]}
        )
    return random_folded(space.blocks(genomes[0]), rng)


def images_for(folded: Folded, n: int = 48, seed: int = 0) -> Images:
    shape = (n, folded.in_channels, folded.resolution, folded.resolution)
    # Wider than the quantizers' range, so that codes saturate too.
    return np.random.default_rng(seed).normal(0.0, 1.5, shape).astype(np.float32)


def relative_error(found: Images, expected: Images) -> float:
    return float(np.abs(found - expected).mean() / expected.std())


def agreement(found: Images, expected: Images) -> float:
    return float(np.mean(found.argmax(1) == expected.argmax(1)))


def run(folded: Folded, images: Images) -> Images:
    return run_onnx(onnx_model(folded).SerializeToString(), images)


def optimized(model: onnx.ModelProto, folder: Path) -> Sequence[onnx.NodeProto]:
    """The nodes that ONNX Runtime really executes."""
    options = session_options()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    open_session(model.SerializeToString(), "a test model", options)
    nodes: Sequence[onnx.NodeProto] = onnx.load(folder / "optimized.onnx").graph.node
    return nodes


# -- semantics ---------------------------------------------------------------------------------------------


class TestSemantics:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize(
        ("weights", "activations"),
        [("fp32", "fp32"), ("int8", "fp32"), ("int4", "fp32"), ("fp32", "int8"), ("fp32", "int4")],
    )
    def test_float_arithmetic_gives_the_reference_logits(self, weights: str, activations: str, seed: int) -> None:
        folded = network(SPACE, seed, weights=weights, activations=activations)
        images = images_for(folded)
        found, expected = run(folded, images), reference(folded, images)
        # A rare code may fall to the other side of a tie, as sums are added in another order.
        same = np.isclose(found, expected, rtol=1e-4, atol=1e-4 * expected.std()).all(axis=1)
        assert same.mean() >= 0.9
        assert agreement(found, expected) >= 0.95

    @pytest.mark.parametrize("seed", range(4))
    def test_int8_network_differs_by_the_rounding_of_biases_alone(self, seed: int) -> None:
        folded = network(SPACE, seed, weights="int8", activations="int8")
        images = images_for(folded)
        found = run(folded, images)
        # Integer kernels round ties, sums and pooled means otherwise: single codes of 255 differ.
        assert relative_error(found, reference(with_integer_biases(folded), images)) < 0.01
        assert relative_error(found, reference(folded, images)) < 0.05
        assert agreement(found, reference(folded, images)) >= 0.9

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def test_any_mix_of_formats_is_close_to_the_reference(self, seed: int) -> None:
        folded = network(SPACE, seed)
        images = images_for(folded)
        found, expected = run(folded, images), reference(with_integer_biases(folded), images)
        # In a narrow random network one code that differs is a step of 1/15 of the range further on.
        assert relative_error(found, expected) < 0.15
        assert agreement(found, expected) >= 0.75

    def test_mixes_agree_on_average_far_better_than_the_bound_for_one(self) -> None:
        errors, agreements = [], []
        for seed in range(20):
            folded = network(SPACE, seed)
            images = images_for(folded)
            found, expected = run(folded, images), reference(with_integer_biases(folded), images)
            errors.append(relative_error(found, expected))
            agreements.append(agreement(found, expected))
        assert np.median(errors) < 0.02
        assert np.mean(agreements) > 0.97

    @pytest.mark.parametrize("seed", range(3))
    def test_optimisations_keep_the_meaning(self, seed: int) -> None:
        folded = network(HOST_SPACE, seed)
        images = images_for(folded)
        options = session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        plain = open_session(onnx_model(folded).SerializeToString(), "a test model", options)
        expected = plain.run(None, {"input": images})[0]
        assert relative_error(run(folded, images), expected) < 0.01

    def test_narrow_codes_saturate(self) -> None:
        folded = network(SPACE, 1, weights="fp32", activations="int4")
        images = 100 * images_for(folded)
        assert relative_error(run(folded, images), reference(folded, images)) < 0.01

    def test_bias_that_no_32_bit_code_can_hold_is_kept(self) -> None:
        folded = network(SPACE, 0, weights="int8", activations="int8")
        layers = list(folded.layers)
        stem = layers[0]
        assert stem.weight_scale is not None
        assert stem.weight_codes is not None
        scale = stem.weight_scale.copy()
        scale[0] = 1e-15
        weight = stem.weight_codes * scale[:, None, None, None]
        layers[0] = replace(stem, weight_scale=scale, weight=weight)
        folded = replace(folded, layers=tuple(layers))
        images = images_for(folded)
        assert relative_error(run(folded, images), reference(folded, images)) < 0.05


# -- what ONNX Runtime makes of it -------------------------------------------------------------------------


class TestFusion:
    def test_int8_network_runs_on_integer_kernels_alone(self, tmp_path: Path) -> None:
        folded = next(one for one in map(_int8, range(20)) if any(block.residual for block in one.blocks))
        ops = Counter(node.op_type for node in optimized(onnx_model(folded), tmp_path))
        convolutions = sum(part.layer.op != "linear" for part in folded.layers)
        assert ops["QLinearConv"] == convolutions
        assert ops["QLinearAdd"] == sum(block.residual for block in folded.blocks)
        assert ops["QLinearGlobalAveragePool"] == 1
        assert ops["QGemm"] == 1
        assert ops["QuantizeLinear"] == 1  # the image
        assert ops["DequantizeLinear"] == 0

    @pytest.mark.parametrize("seed", range(6))
    def test_exactly_the_integer_layers_run_on_integer_kernels(self, seed: int, tmp_path: Path) -> None:
        folded = network(HOST_SPACE, seed)
        ops = Counter(node.op_type for node in optimized(onnx_model(folded), tmp_path))
        integer = [part.layer for part in folded.layers if is_integer_layer(part.layer)]
        assert ops["QLinearConv"] == sum(layer.op != "linear" for layer in integer)
        assert ops["QGemm"] == sum(layer.op == "linear" for layer in integer)

    def test_float_convolutions_keep_their_fast_form_between_integer_layers(self, tmp_path: Path) -> None:
        genomes = HOST_SPACE.sample(1, np.random.default_rng(0))
        genomes = HOST_SPACE.assign(genomes, {"weight_format": "int8", "activation_format": "int8"})
        depthwise = [i for i, gene in enumerate(HOST_SPACE.genes) if ".depthwise." in gene.name]
        genomes[:, depthwise] = 0  # fp32
        folded = random_folded(HOST_SPACE.blocks(HOST_SPACE.canonical(genomes)[0]), np.random.default_rng(0))
        nodes = optimized(onnx_model(folded), tmp_path)
        floats = [node for node in nodes if node.op_type in ("Conv", "FusedConv")]
        assert len(floats) == sum(part.layer.op == "depthwise" for part in folded.layers)
        # Where there is a blocked layout for this CPU, all of them or none of those with enough channels use it.
        wide = [
            part.layer for part in folded.layers if part.layer.op == "depthwise" and part.layer.in_channels >= 16
        ]
        blocked = sum(node.domain == "com.microsoft.nchwc" for node in floats)
        assert blocked == 0 or blocked >= len(wide)

    def test_no_tensor_is_quantized_twice_in_one_format(self) -> None:
        for seed in range(5):
            nodes = onnx_model(_int8(seed)).graph.node
            read = Counter((node.input[0], *node.input[1:]) for node in nodes if node.op_type == "QuantizeLinear")
            assert set(read.values()) == {1}


def _int8(seed: int) -> Folded:
    return network(SPACE, seed, weights="int8", activations="int8")


# -- the model file ----------------------------------------------------------------------------------------


class TestModel:
    def test_names_shapes_and_versions(self) -> None:
        folded = network(SPACE, 0)
        model = onnx_model(folded)
        onnx.checker.check_model(model, full_check=True)
        assert model.producer_name == "bitfront"
        assert 17 <= model.opset_import[0].version <= 21
        assert _signature(model.graph.input) == [
            ("input", onnx.TensorProto.FLOAT, ["batch", 1, folded.resolution, folded.resolution])
        ]
        assert _signature(model.graph.output) == [("logits", onnx.TensorProto.FLOAT, ["batch", 10])]

    def test_free_and_fixed_batch_give_the_same(self) -> None:
        folded = network(HOST_SPACE, 2)
        images = images_for(folded, n=4)
        fixed = run_onnx(onnx_model(folded, batch=4).SerializeToString(), images)
        free = run_onnx(onnx_model(folded).SerializeToString(), images)
        np.testing.assert_allclose(free, fixed, rtol=1e-5, atol=1e-6)
        one = run_onnx(onnx_model(folded).SerializeToString(), images[:1])
        np.testing.assert_allclose(one, fixed[:1], rtol=1e-4, atol=1e-5)

    def test_same_network_gives_the_same_bytes(self) -> None:
        first, second = (onnx_model(network(SPACE, 3)).SerializeToString() for _ in range(2))
        assert first == second

    def test_weights_are_stored_as_the_codes_they_are(self) -> None:
        folded = network(SPACE, 0, weights="int4", activations="int4")
        stored = [onnx.numpy_helper.to_array(tensor) for tensor in onnx_model(folded).graph.initializer]
        for part in folded.layers:
            if part.weight_codes is not None:
                alike = (one for one in stored if one.shape == part.weight_codes.shape)
                assert any(np.array_equal(one.astype(np.int8), part.weight_codes) for one in alike)

    @pytest.mark.parametrize("kind", ["stem", "mbconv", "head"])
    @pytest.mark.parametrize("number_format", ["fp32", "int8"])
    def test_block_models_run(self, kind: str, number_format: str) -> None:
        rng = np.random.default_rng(0)
        block = _block(kind, number_format)
        model = part_model(random_folded((block,), rng), 2)
        session = open_session(model.SerializeToString(), "a block")
        (entry,), (result,) = session.get_inputs(), session.get_outputs()
        integer = number_format == "int8"
        assert entry.type == ("tensor(uint8)" if integer and kind != "stem" else "tensor(float)")
        assert result.type == ("tensor(uint8)" if integer and kind != "head" else "tensor(float)")
        values = np.zeros(entry.shape, np.uint8 if "uint8" in entry.type else np.float32)
        output = session.run(None, {entry.name: values})[0]
        last = block.layers[-1]
        assert output.shape == ((2, 10) if kind == "head" else (2, last.out_channels, *[last.out_size] * 2))

    def test_parts_hand_codes_to_one_another(self) -> None:
        folded = network(HOST_SPACE, 0, weights="int8", activations="int8")
        images = images_for(folded, n=2)
        whole = open_session(part_model(folded, 2).SerializeToString(), "a network")
        np.testing.assert_allclose(
            whole.run(None, {"input": images})[0], run(folded, images), rtol=1e-4, atol=1e-5
        )


def _signature(values: Sequence[onnx.ValueInfoProto]) -> list[tuple[str, int, list[str | int]]]:
    return [
        (
            value.name,
            value.type.tensor_type.elem_type,
            [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
        )
        for value in values
    ]


def _block(kind: str, number_format: str) -> Block:
    genomes = HOST_SPACE.sample(8, np.random.default_rng(0))
    genomes = HOST_SPACE.assign(genomes, {"weight_format": number_format, "activation_format": number_format})
    return next(block for genome in genomes for block in HOST_SPACE.blocks(genome) if block.kind == kind)


# -- running -----------------------------------------------------------------------------------------------


class TestRunning:
    def test_file_and_bytes_give_the_same(self, tmp_path: Path) -> None:
        folded = network(SPACE, 0)
        content = onnx_model(folded).SerializeToString()
        write_bytes(tmp_path / "model.onnx", content)
        images = images_for(folded, n=2)
        np.testing.assert_array_equal(run_onnx(tmp_path / "model.onnx", images), run_onnx(content, images))

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match=r"none\.onnx is missing"):
            run_onnx(tmp_path / "none.onnx", np.zeros((1, 1, 8, 8), np.float32))

    @pytest.mark.parametrize("content", [b"", b"no model", None])
    def test_corrupt_file(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "model.onnx"
        whole = onnx_model(network(SPACE, 0)).SerializeToString()
        path.write_bytes(whole[: len(whole) // 2] if content is None else content)
        with pytest.raises(CorruptFileError, match=r"model\.onnx.*export it again"):
            run_onnx(path, np.zeros((1, 1, 8, 8), np.float32))

    @pytest.mark.parametrize("shape", [(1, 1, 9, 9), (1, 3, 8, 8), (1, 64)])
    def test_images_of_another_shape(self, shape: tuple[int, ...]) -> None:
        blocks = SPACE.blocks(SPACE.genome({"resolution": 8}))
        content = onnx_model(random_folded(blocks, np.random.default_rng(0))).SerializeToString()
        with pytest.raises(UnsupportedError, match="takes images of shape"):
            run_onnx(content, np.zeros(shape, np.float32))

    def test_session_options(self) -> None:
        options = session_options(threads=3)
        assert options.intra_op_num_threads == 3
        assert options.inter_op_num_threads == 1
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"

    @pytest.mark.parametrize(("isa", "expected"), [(("avx2",), True), (("avx2", "avx512_vnni"), False)])
    def test_exact_sums_are_asked_for_where_the_cpu_needs_it(
        self, monkeypatch: pytest.MonkeyPatch, isa: tuple[str, ...], expected: bool
    ) -> None:
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        monkeypatch.setattr(
            "bitfront.supernet.export.onnx_runtime.host_cpu", lambda: HostCPU("some cpu", isa)
        )  # fmt: skip
        options = session_options()
        if expected:
            assert options.get_session_config_entry("session.x64quantprecision") == "1"
        else:
            with pytest.raises(RuntimeError, match="x64quantprecision"):
                options.get_session_config_entry("session.x64quantprecision")


class TestHostCPU:
    def test_reads_linux_on_x86(self) -> None:
        cpu = parse_cpuinfo(
            "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512_vnni\n\nmodel name: B\n"
        )
        assert cpu == HostCPU("Some CPU", ("avx2", "avx512_vnni"))

    def test_reads_linux_on_arm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("platform.machine", lambda: "aarch64")
        cpu = parse_cpuinfo("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
        assert cpu.isa == ("asimd", "asimddp")
        assert cpu.model == "aarch64"
        assert cpu.sums_8bit_products_exactly

    def test_this_machine_has_a_name(self) -> None:
        assert host_cpu().model


def test_layers_of_a_random_network_hold_what_their_formats_say() -> None:
    folded = network(SPACE, 5)
    for part in folded.layers:
        layer: Layer = part.layer
        assert (part.weight_codes is None) == (layer.weight_format == "fp32")
        assert (part.input is None) == (layer.activation_format == "fp32")
        if part.weight_codes is not None and part.weight_scale is not None:
            assert np.abs(part.weight_codes).max() <= 2 ** (BITS[layer.weight_format] - 1) - 1
            shape = (-1, *[1] * (part.weight.ndim - 1))
            np.testing.assert_allclose(part.weight, part.weight_codes * part.weight_scale.reshape(shape))
