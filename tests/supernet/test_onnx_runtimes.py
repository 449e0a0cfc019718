"""ONNX models for each runtime: what they answer, in what they run, and where Q/DQ stands in them."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from bitfront.supernet.errors import CorruptFileError, MissingFileError, UnsupportedError
from bitfront.supernet.export import openvino_run
from bitfront.supernet.export.network_file import stored_tensors
from bitfront.supernet.export.onnx_graph import onnx_model
from bitfront.supernet.export.onnx_runtime import open_session, run_onnx, session_options
from bitfront.supernet.export.openvino_run import openvino_settings, run_openvino
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.targets.base import ExportOptions, RuntimeName
from bitfront.supernet.export.torch_source import built, source
from bitfront.supernet.folded import Folded, FoldedLayer
from bitfront.supernet.layers import Layer
from bitfront.supernet.quantization.policy import is_integer, is_integer_layer
from bitfront.supernet.space import SearchSpace

Images = NDArray[np.float32]
SPACES = ("tiny_space", "gated_space", "bottleneck_space")
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not HAS_OPENVINO, reason="OpenVINO is an extra")
POLICIES = {
    "mixed": None, "fp32": ("fp32", "fp32"), "int8": ("int8", "int8"), "int4": ("int4", "int4"),
    "w4a8": ("int4", "int8"), "w6a4": ("int6", "int4"), "w4": ("int4", "fp32"), "w8": ("int8", "fp32"),
    "a8": ("fp32", "int8"), "a4": ("fp32", "int4"), "any weights": (None, "int8"),
}  # fmt: skip


@pytest.fixture(params=SPACES, scope="module")
def space(request: pytest.FixtureRequest) -> SearchSpace:
    found: SearchSpace = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=get_args(RuntimeName), scope="module")
def runtime(request: pytest.FixtureRequest) -> RuntimeName:
    name: RuntimeName = request.param
    if name == "openvino" and not HAS_OPENVINO:
        pytest.skip("OpenVINO is an extra")
    return name


def drawn(space: SearchSpace, seed: int, policy: tuple[str | None, str] | None = None) -> Folded:
    """A random network. Its shortcuts have scales of their own, as means of equal codes would lie between two."""
    rng = np.random.default_rng(seed)
    genomes = space.sample(1, rng)
    if policy:
        genomes = space.assign(genomes, {"activation_format": policy[1]})
        genomes = space.assign(genomes, {"weight_format": policy[0]}) if policy[0] else genomes
    folded = random_folded(space.blocks(genomes[0]), rng)

    def rescaled(part: FoldedLayer) -> FoldedLayer:
        if part.layer.source != "block" or part.input is None:
            return part
        return replace(part, input=replace(part.input, scale=part.input.scale * 0.93))

    return replace(folded, layers=tuple(map(rescaled, folded.layers)))


def with_packed_ends(space: SearchSpace) -> Folded:
    """The policy w4 in linear layers too, where the spaces here offer fp32 and int8 alone."""

    def packed(layer: Layer) -> Layer:
        return replace(layer, weight_format="int4") if layer.op == "linear" else layer

    blocks = drawn(space, 0, POLICIES["w4"]).blocks
    blocks = tuple(replace(block, layers=tuple(map(packed, block.layers))) for block in blocks)
    return random_folded(blocks, np.random.default_rng(0))


def images_for(folded: Folded, n: int = 48) -> Images:
    shape = (n, folded.in_channels, folded.resolution, folded.resolution)
    return np.random.default_rng(0).normal(0.0, 1.5, shape).astype(np.float32)


def meant(folded: Folded, images: Images) -> Images:
    """What the network says when it is written out in torch, with fake quantization."""
    network = built(source(folded), stored_tensors(folded))
    with torch.no_grad():
        logits: Images = network(torch.from_numpy(images)).numpy()
    return logits


def answers(folded: Folded, images: Images, runtime: RuntimeName) -> Images:
    content = onnx_model(folded, runtime=runtime).SerializeToString()
    return run_openvino(content, images) if runtime == "openvino" else run_onnx(content, images)


def relative_error(found: Images, expected: Images) -> float:
    return float(np.abs(found - expected).mean() / expected.std())


def is_narrow(folded: Folded) -> bool:
    return any(part.input is not None and part.input.bits < 8 for part in folded.layers)


def in_onnx_runtime(model: onnx.ModelProto, folder: Path) -> Sequence[onnx.NodeProto]:
    """The nodes that ONNX Runtime really executes."""
    options = session_options()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    open_session(model.SerializeToString(), "a test model", options)
    nodes: Sequence[onnx.NodeProto] = onnx.load(folder / "optimized.onnx").graph.node
    return nodes


def in_openvino(model: onnx.ModelProto) -> Counter[tuple[str, str]]:
    """How many nodes OpenVINO really executes, by (kind, precision)."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", openvino_settings(1))
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    return Counter((info["layerType"].astype(str), info["runtimePrecision"].astype(str)) for info in nodes)


class TestAnswers:
    @pytest.mark.parametrize("policy", ["fp32", "w4", "w8", "a8", "a4", "w6a4", "int4", "mixed"])
    def test_are_the_networks_own(self, space: SearchSpace, runtime: RuntimeName, policy: str) -> None:
        """Biases are exact in all of these, so that only ties and sums in another order are left."""
        errors, agreements = [], []
        for seed in range(6):
            folded = drawn(space, seed, POLICIES[policy])
            images = images_for(folded)
            found, expected = answers(folded, images, runtime), meant(folded, images)
            errors.append(relative_error(found, expected))
            agreements.append(np.mean(found.argmax(1) == expected.argmax(1)))
        assert np.median(errors) < 0.02
        assert max(errors) < 0.12  # maps of random networks hardly differ, and a code is much there
        assert np.mean(agreements) > 0.97

    @pytest.mark.parametrize("policy", ["int8", "w4a8"])
    def test_of_8_bit_activations_differ_by_single_codes(
        self, space: SearchSpace, runtime: RuntimeName, policy: str
    ) -> None:
        errors = []
        for seed in range(6):
            folded = drawn(space, seed, POLICIES[policy])
            images = images_for(folded)
            errors.append(relative_error(answers(folded, images, runtime), meant(folded, images)))
        assert np.median(errors) < 0.1

    def test_do_not_depend_on_the_batch(self, space: SearchSpace, runtime: RuntimeName) -> None:
        folded = drawn(space, 1)
        images = images_for(folded, 5)
        many, one = answers(folded, images, runtime), answers(folded, images[:1], runtime)
        np.testing.assert_allclose(one, many[:1], atol=0.02 * np.abs(many).max())

    def test_of_a_file_for_one_runtime_are_near_those_of_the_other(self, space: SearchSpace) -> None:
        """Any runtime reads any file; it is only slower there, or rounds otherwise."""
        folded = drawn(space, 2, ("int8", "int8"))
        images = images_for(folded)
        content = onnx_model(folded, runtime="openvino").SerializeToString()
        assert relative_error(run_onnx(content, images), meant(folded, images)) < 0.1


class TestOnnxRuntime:
    @pytest.mark.parametrize("policy", ["int8", "w4a8"])
    def test_all_integer_layers_between_8_bit_tensors_are_integer_kernels(
        self, space: SearchSpace, policy: str, tmp_path: Path
    ) -> None:
        """4-bit weights among them, which are widened once, on loading."""
        folded = drawn(space, 0, POLICIES[policy])
        ops = Counter(node.op_type for node in in_onnx_runtime(onnx_model(folded), tmp_path))
        integer = [part.layer for part in folded.layers if is_integer_layer(part.layer)]
        assert ops["QLinearConv"] == sum(layer.op != "linear" for layer in integer)
        assert ops["QGemm"] == sum(layer.op == "linear" for layer in integer)
        assert len(integer) >= len(folded.layers) - 3

    @pytest.mark.parametrize("policy", ["int4", "w6a4", "w8", "mixed"])
    def test_no_weights_are_decoded_in_each_call(self, space: SearchSpace, policy: str, tmp_path: Path) -> None:
        folded = drawn(space, 0, POLICIES[policy])
        nodes = in_onnx_runtime(onnx_model(folded), tmp_path)
        made = {node.output[0] for node in nodes}
        weighted = [node for node in nodes if node.op_type in ("Conv", "FusedConv", "Gemm", "FusedGemm")]
        assert weighted
        assert not any(node.input[1] in made for node in weighted)

    def test_linear_layers_of_packed_weights_and_real_activations_are_packed_kernels(
        self, space: SearchSpace, tmp_path: Path
    ) -> None:
        folded = with_packed_ends(space)
        executed = Counter(node.op_type for node in in_onnx_runtime(onnx_model(folded), tmp_path))
        assert executed["MatMulNBits"] == sum(part.layer.op == "linear" for part in folded.layers) > 0
        assert not executed.keys() & {"MatMul", "Gemm", "FusedGemm", "DequantizeLinear"}

    @pytest.mark.parametrize("policy", ["int4", "w6a4", "a8", "any weights"])
    def test_no_weights_are_quantized_that_the_policy_left_alone(
        self, space: SearchSpace, policy: str, tmp_path: Path
    ) -> None:
        """ONNX Runtime would quantize real weights between two quantized tensors, by one scale for all."""
        folded = drawn(space, 1, POLICIES[policy])
        executed = Counter(node.op_type for node in in_onnx_runtime(onnx_model(folded), tmp_path))
        integer = 0 if is_narrow(folded) else sum(is_integer_layer(part.layer) for part in folded.layers)
        assert integer == 0 or policy == "any weights"
        assert executed["QLinearConv"] + executed["QGemm"] <= integer < len(folded.layers)


@needs_openvino
class TestOpenVINO:
    @pytest.mark.parametrize("policy", ["int8", "w4a8", "int4", "w6a4", "a8", "w8"])
    def test_exactly_the_integer_layers_are_integer_kernels(self, space: SearchSpace, policy: str) -> None:
        """4-bit weights and narrow activations among them."""
        folded = drawn(space, 0, POLICIES[policy])
        executed = in_openvino(onnx_model(folded, batch=2, runtime="openvino"))
        convolutions = [part.layer for part in folded.layers if part.layer.op != "linear"]
        integer = sum(map(is_integer_layer, convolutions))
        # Behind a layer that stores its output as int8, integer weights alone are enough.
        weights = sum(is_integer(layer.weight_format) for layer in convolutions)
        found = executed["Convolution", "u8"] + executed["Convolution", "i8"]
        assert integer <= found <= (weights if folded.layers[0].output else integer)
        assert executed["Convolution", "f32"] == len(convolutions) - found

    def test_linear_layers_of_packed_weights_and_real_activations_are_packed_kernels(
        self, space: SearchSpace
    ) -> None:
        folded = with_packed_ends(space)
        executed = in_openvino(onnx_model(folded, batch=2, runtime="openvino"))
        found = {key: count for key, count in executed.items() if key[0] in ("FullyConnected", "MatMul")}
        assert found == {("FullyConnected", "i4"): sum(part.layer.op == "linear" for part in folded.layers)}

    def test_sums_are_fused_where_a_code_is_little_and_kept_apart_where_it_is_much(
        self, bottleneck_space: SearchSpace
    ) -> None:
        wide, narrow = (drawn(bottleneck_space, 1, policy) for policy in (("int8", "int8"), ("int4", "int4")))
        kept = [
            Counter(node.op_type for node in onnx_model(one, runtime="openvino").graph.node)["Max"]
            for one in (wide, narrow)
        ]
        assert kept[0] == 0
        assert kept[1] >= sum(block.residual for block in narrow.blocks)
        assert not any(node.op_type == "Max" for node in onnx_model(narrow).graph.node)


class TestPlacement:
    def test_a_real_network_has_no_quantization(self, space: SearchSpace, runtime: RuntimeName) -> None:
        nodes = onnx_model(drawn(space, 0, ("fp32", "fp32")), runtime=runtime).graph.node
        assert not {node.op_type for node in nodes} & {"QuantizeLinear", "DequantizeLinear", "Cast", "Clip"}

    @pytest.mark.parametrize("policy", POLICIES)
    def test_tensors_are_quantized_once_and_only_where_formats_change(
        self, space: SearchSpace, runtime: RuntimeName, policy: str
    ) -> None:
        folded = drawn(space, 0, POLICIES[policy])
        nodes = onnx_model(folded, runtime=runtime).graph.node
        producer = {node.output[0]: node for node in nodes}
        quantizing = [node for node in nodes if node.op_type == "QuantizeLinear"]
        assert len({tuple(node.input) for node in quantizing}) == len(quantizing)
        for node in quantizing:
            before = producer.get(node.input[0])
            assert before is None or before.op_type != "DequantizeLinear" or before.input[1:] != node.input[1:]
        asked = sum(one is not None for part in folded.layers for one in (part.input, part.output))
        assert len(quantizing) <= asked

    def test_what_saturates_below_zero_needs_no_relu(self, tiny_space: SearchSpace, runtime: RuntimeName) -> None:
        folded = drawn(tiny_space, 0, ("int8", "int8"))
        ops = Counter(node.op_type for node in onnx_model(folded, runtime=runtime).graph.node)
        assert any(part.layer.relu for part in folded.layers)
        assert ops["Relu"] == 0


class TestOptions:
    def test_the_target_writes_for_the_runtime_that_is_asked_for_and_runs_in_it(
        self, tiny_space: SearchSpace, runtime: RuntimeName, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target, folded = TARGETS.get("onnx"), drawn(tiny_space, 0)
        files = target.files(folded, ExportOptions(runtime))
        assert target.described(folded, files)["runtime"] == runtime
        ran = []
        for name in ("run_onnx", "run_openvino"):

            def run(content: bytes, images: Images, name: str = name) -> Images:
                ran.append(name)
                return np.zeros((len(images), 10), np.float32)

            monkeypatch.setattr(f"bitfront.supernet.export.targets.onnx.{name}", run)
        target.logits(files, images_for(folded, 1))
        assert ran == [{"onnxruntime": "run_onnx", "openvino": "run_openvino"}[runtime]]

    def test_files_differ_between_runtimes_but_not_between_calls(self, tiny_space: SearchSpace) -> None:
        target, folded = TARGETS.get("onnx"), drawn(tiny_space, 0, ("int4", "int4"))
        one, other, again = (
            target.files(folded, ExportOptions(name)) for name in ("onnxruntime", "openvino", "onnxruntime")
        )
        assert one == again != other


class TestRunningInOpenVINO:
    def test_without_openvino_it_says_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(UnsupportedError, match=r"pip install 'bitfront\[openvino\]'"):
            run_openvino(b"", np.zeros((1, 1, 8, 8), np.float32))

    @needs_openvino
    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match=r"none\.onnx"):
            run_openvino(tmp_path / "none.onnx", np.zeros((1, 1, 8, 8), np.float32))

    @needs_openvino
    @pytest.mark.parametrize("content", [b"", b"no model", None])
    def test_a_broken_file_is_told(self, tiny_space: SearchSpace, content: bytes | None) -> None:
        whole = onnx_model(drawn(tiny_space, 0), runtime="openvino").SerializeToString()
        with pytest.raises(CorruptFileError, match="export it again"):
            run_openvino(
                whole[: len(whole) // 2] if content is None else content, np.zeros((1, 1, 8, 8), np.float32)
            )

    @needs_openvino
    def test_images_of_another_shape_are_refused(self, tiny_space: SearchSpace) -> None:
        folded = drawn(tiny_space, 0)
        content = onnx_model(folded, runtime="openvino").SerializeToString()
        side = folded.resolution
        for shape in [(2, 2, side, side), (2, 1, side + 1, side), (2, side * side), (1, side, side)]:
            with pytest.raises(UnsupportedError, match="takes images of shape"):
                run_openvino(content, np.zeros(shape, np.float32))

    @needs_openvino
    def test_no_image_has_no_answer(self, tiny_space: SearchSpace) -> None:
        folded = drawn(tiny_space, 0)
        content = onnx_model(folded, runtime="openvino").SerializeToString()
        assert run_openvino(content, images_for(folded, 0)).shape == (0, 10)

    def test_settings_leave_nothing_to_chance(self) -> None:
        found: dict[str, Any] = openvino_run.openvino_settings(3)
        assert (found["INFERENCE_NUM_THREADS"], found["INFERENCE_PRECISION_HINT"]) == (3, "f32")
