"""Networks as modules that need torch alone: what they compute, where they run, and what is refused."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import CorruptFileError, MissingFileError, UnsupportedError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.export.deflated import inflated
from bitfront.supernet.export.network_checks import attribute
from bitfront.supernet.export.network_file import network_bytes, read_network, stored_tensors
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.export.targets.base import ExportOptions
from bitfront.supernet.export.targets.torch import TORCH
from bitfront.supernet.export.torch_source import built, source
from bitfront.supernet.files import read_tensors, tensor_file
from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.forward import LayerParams, batch_normalise, run_network
from bitfront.supernet.layers import Layer
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat
from bitfront.supernet.quantization.policy import size_bytes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.bottleneck import BottleneckSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace

Images = NDArray[np.float32]
HEADER = {"format": "bitfront network", "version": 1}
SOURCE, WEIGHTS, ARCHIVE = "torch/model.py", "torch/model.safetensors", "torch/model.pt2"


def drawn(name: str, seed: int, **formats: str) -> Folded:
    rng = np.random.default_rng(seed)
    space = SPACES.get(name)()
    genomes = space.sample(1, rng)
    if formats:
        genomes = space.assign(genomes, {f"{part}_format": value for part, value in formats.items()})  # type: ignore[misc]
    return without_ties(random_folded(space.blocks(genomes[0]), rng), rng)


def without_ties(folded: Folded, rng: np.random.Generator) -> Folded:
    """Scales of random networks are alike, so that codes fall between two others; real ones are not."""

    def own(quant: TensorQuant | None) -> TensorQuant | None:
        scale = rng.uniform(0.9, 1.1)
        return None if quant is None else replace(quant, scale=float(np.float32(quant.scale * scale)))

    layers = (replace(part, input=own(part.input), output=own(part.output)) for part in folded.layers)
    return replace(folded, layers=tuple(layers))


def images_of(folded: Folded, n: int, seed: int = 0) -> Images:
    shape = (n, folded.in_channels, folded.resolution, folded.resolution)
    return np.random.default_rng(seed).normal(0.0, 1.5, shape).astype(np.float32)


def fake_quantized(folded: Folded, images: Images) -> Images:
    """What the supernet's own forward makes of the folded tensors."""
    parts = {part.layer.name: part for part in folded.layers}

    def scale(quant: TensorQuant | None) -> Tensor | None:
        return None if quant is None else torch.tensor(quant.scale, dtype=torch.float32)

    def params_of(layer: Layer, _: bool) -> LayerParams:
        part = parts[layer.name]
        weight, bias = torch.from_numpy(part.weight), torch.from_numpy(part.bias)
        return LayerParams(weight, bias, None, None, scale(part.input), scale(part.output))

    with torch.no_grad():
        logits: Images = run_network(folded.blocks, torch.from_numpy(images), params_of, batch_normalise).numpy()
    return logits


def logits_of(folded: Folded, images: Images) -> Images:
    """Those of the text of ``model.py``, after its weights went through their file."""
    read = read_network(network_bytes(folded))
    logits: Images = built(source(read.folded), read.tensors)(torch.from_numpy(images)).numpy()
    return logits


@pytest.fixture(scope="module")
def folded() -> Folded:
    return drawn("digits", 1)


@pytest.fixture(scope="module")
def files(folded: Folded) -> dict[str, bytes]:
    return TORCH.files(folded, ExportOptions())


# -- what is computed --------------------------------------------------------------------------------------


class TestNumbers:
    @pytest.mark.parametrize("seed", range(2))
    @pytest.mark.parametrize("name", SPACES.names())
    def test_are_those_of_the_fake_quantized_network(self, name: str, seed: int) -> None:
        folded = drawn(name, seed)
        images = images_of(folded, 8 if folded.resolution <= 64 else 1)
        np.testing.assert_allclose(logits_of(folded, images), fake_quantized(folded, images), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("activations", FORMATS.names())
    @pytest.mark.parametrize("weights", FORMATS.names())
    def test_are_so_in_every_format(self, tiny_space: MBConvSpace, weights: str, activations: str) -> None:
        """Also of layers that read a float format, and weights of one between integer activations."""
        formats = FORMATS.names()
        frame = replace(tiny_space.frame, weight_formats=tuple(formats), activation_formats=tuple(formats))
        space, rng = MBConvSpace("all formats", frame), np.random.default_rng(0)
        genomes = space.assign(space.sample(3, rng), {"weight_format": weights, "activation_format": activations})
        for genome in genomes:
            folded = without_ties(random_folded(space.blocks(genome), rng), rng)
            images = images_of(folded, 16)
            np.testing.assert_allclose(logits_of(folded, images), fake_quantized(folded, images), atol=1e-5)

    def test_are_those_of_real_subnets(
        self,
        tiny_space: MBConvSpace,
        gated_space: MBConvSpace,
        bottleneck_space: BottleneckSpace,
        shaken_supernet: Supernet,
        tiny_data: Dataset,
        rng: np.random.Generator,
    ) -> None:
        """Batch norm in the weights rounds sums in another way, so that a rare code falls to the other side."""
        same, agreeing = [], []
        others: list[SearchSpace] = [gated_space, bottleneck_space]
        for supernet in [shaken_supernet, *(Supernet(space, seed=1) for space in others)]:
            evaluator = Evaluator(supernet, tiny_data, 64)
            space = supernet.space
            for genome in np.concatenate([space.extremes(), space.sample(20, rng)]):
                subnet = evaluator.subnet(space.blocks(genome))
                images = evaluator.images("test", space.blocks(genome)[0].layers[0].in_size)
                with torch.no_grad():
                    expected = subnet(images).numpy()
                found = logits_of(subnet.fold(), images.numpy())
                close = np.isclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.std()) + 1e-7)
                same.append(close.all(1).mean())
                agreeing.append(np.mean(found.argmax(1) == expected.argmax(1)))
        assert np.mean(same) > 0.99
        assert np.mean(agreeing) > 0.999

    def test_bf16_rounds_weights_with_batch_norm_in_them(
        self, tiny_space: MBConvSpace, tiny_data: Dataset
    ) -> None:
        """The supernet rounds them without it: two roundings of 8 bits apart."""
        formats = ("fp32", "bf16")
        space = MBConvSpace("half", replace(tiny_space.frame, weight_formats=formats, activation_formats=formats))
        genome = space.assign(space.extremes()[1:], {"weight_format": "bf16", "activation_format": "bf16"})[0]
        evaluator = Evaluator(Supernet(space, seed=1), tiny_data, 64)
        subnet = evaluator.subnet(space.blocks(genome))
        images = evaluator.images("test", space.blocks(genome)[0].layers[0].in_size)
        with torch.no_grad():
            expected = subnet(images).numpy()
        error = np.linalg.norm(logits_of(subnet.fold(), images.numpy()) - expected) / np.linalg.norm(expected)
        assert 0 < error < 0.02

    def test_no_image_and_many(self, files: dict[str, bytes], folded: Folded) -> None:
        images = images_of(folded, 70)
        expected = fake_quantized(folded, images)
        assert TORCH.logits(files, images[:0]).shape == (0, folded.classes)
        np.testing.assert_allclose(TORCH.logits(files, images), expected, atol=1e-5)
        np.testing.assert_allclose(TORCH.logits(files, images[:1]), expected[:1], atol=1e-5)

    def test_chance_is_left_as_it_was(self, files: dict[str, bytes], folded: Folded) -> None:
        before = torch.get_rng_state()
        TORCH.logits(files, images_of(folded, 1))
        assert torch.equal(torch.get_rng_state(), before)

    def test_images_of_another_shape_are_refused(self, files: dict[str, bytes]) -> None:
        with pytest.raises(
            UnsupportedError, match=r"takes images of shape \('n', 1, \d+, \d+\), got \(2, 3, 8, 8\)"
        ):
            TORCH.logits(files, np.zeros((2, 3, 8, 8), np.float32))


# -- where it runs -----------------------------------------------------------------------------------------


ALONE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "bitfront":
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Blocked())
import torch
from safetensors.torch import load_file, save_file
"""
MODULE = """
sys.path.insert(0, ".")
from model import load
network = load(".")
"""
PROGRAM = """
network = torch.export.load("model.pt2").module()
"""
RUN = """
images = load_file("images")["images"]
found = [network(images[:n]) for n in (0, 1, 2, 5, len(images))]
assert not any(name.startswith("bitfront") for name in sys.modules)
save_file({str(len(one)): one.detach().contiguous() for one in found}, "logits")
"""


class TestAlone:
    @pytest.mark.parametrize("name", ["gated_space", "bottleneck_space"])
    def test_runs_where_torch_and_safetensors_are_all_there_is(
        self, name: str, tmp_path: Path, request: pytest.FixtureRequest, rng: np.random.Generator
    ) -> None:
        from safetensors.torch import load_file, save_file

        space = request.getfixturevalue(name)
        folded = without_ties(random_folded(space.blocks(space.sample(1, rng)[0]), rng), rng)
        for path, data in TORCH.files(folded, ExportOptions()).items():
            (tmp_path / Path(path).name).write_bytes(data)
        images = images_of(folded, 33)
        save_file({"images": torch.from_numpy(images)}, tmp_path / "images")
        for network in (MODULE, PROGRAM):
            script = [sys.executable, "-W", "error", "-c", ALONE + network + RUN]
            ran = subprocess.run(
                script, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
            )
            assert ran.returncode == 0, ran.stderr
            logits = load_file(tmp_path / "logits")
            assert sorted(map(int, logits)) == [0, 1, 2, 5, 33]
            # Sums are rounded as the batch and the process go, and now and then a code falls to the other side.
            close = [
                np.isclose(found.numpy(), fake_quantized(folded, images[: int(n)]), atol=1e-4, rtol=1e-4).all(1)
                for n, found in logits.items()
            ]
            assert np.concatenate(close).mean() > 0.9

    def test_the_module_imports_nothing_else(self, files: dict[str, bytes]) -> None:
        names = set()
        for node in ast.walk(ast.parse(files[SOURCE])):
            if isinstance(node, ast.Import):
                names |= {one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
        assert {name.split(".")[0] for name in names} <= {"torch", "safetensors", *sys.stdlib_module_names}

    @pytest.mark.parametrize("name", ["digits", "mobilenet_v3", "resnet50"])
    def test_the_module_reads_well(self, name: str) -> None:
        folded = drawn(name, 3)
        text = source(folded)
        assert max(map(len, text.splitlines())) <= 120
        assert f"float32 (n, {folded.in_channels}, {folded.resolution}, {folded.resolution})" in text
        for part in folded.layers:
            assert f"self.{attribute(part.layer)} = nn." in text

    def test_the_archive_holds_no_pickle_and_nothing_of_this_machine(self, files: dict[str, bytes]) -> None:
        with zipfile.ZipFile(io.BytesIO(files[ARCHIVE])) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        assert len(contents) > 10
        here = str(Path(torch.__file__).parent).encode()
        for name, data in contents.items():
            assert not data.startswith((b"PK", b"\x80\x02", b"\x80\x04")), name
            assert here not in data
            assert b"site-packages" not in data
            assert b'"use_pickle": true' not in data


# -- files -------------------------------------------------------------------------------------------------


class TestFiles:
    def test_are_the_same_every_time(self, folded: Folded, files: dict[str, bytes]) -> None:
        TORCH.files(drawn("fashion", 1), ExportOptions())
        assert TORCH.files(folded, ExportOptions()) == files

    def test_are_the_same_in_another_process(self, folded: Folded, files: dict[str, bytes]) -> None:
        script = (
            "import sys, hashlib; from bitfront.supernet.export.network_file import read_network; "
            "from bitfront.supernet.export.targets.torch import TORCH, ExportOptions; "
            "files = TORCH.files(read_network(sys.stdin.buffer.read()).folded, ExportOptions()); "
            "print(*(hashlib.sha256(files[name]).hexdigest() for name in sorted(files)))"
        )
        made = subprocess.run(
            [sys.executable, "-c", script], input=network_bytes(folded), capture_output=True, check=True
        )
        assert made.stdout.decode().split() == [hashlib.sha256(files[name]).hexdigest() for name in sorted(files)]

    @pytest.mark.parametrize("name", ["mobilenet_v3_cifar", "mobilenet_v2", "resnet50"])
    @pytest.mark.parametrize("weights", ["int4", "int8", None])
    def test_weights_take_the_bits_that_the_objective_counts(self, name: str, weights: str | None) -> None:
        folded = drawn(name, 0, weight=weights) if weights else drawn(name, 0)
        counted = size_bytes(part.layer for part in folded.layers)
        stored = sum(tensor.nbytes for tensor in stored_tensors(folded).values())
        assert counted <= stored <= counted + len(folded.layers)  # whole bytes
        assert len(network_bytes(folded)) < 1.05 * counted

    def test_what_is_said_of_them(self, folded: Folded, files: dict[str, bytes]) -> None:
        described = TORCH.described(folded, files)
        assert described["size_bytes"] == sum(
            tensor.nbytes for name, tensor in read_tensors(files[WEIGHTS], "x")[0].items() if name != "network"
        )
        assert described["weight_containers"].keys() == {part.layer.name for part in folded.layers}
        assert {"fp32", "int4 packed"} <= set(described["weight_containers"].values())
        assert json.loads(json.dumps(described)) == described

    @pytest.mark.parametrize("name", SPACES.names())
    def test_a_network_comes_back_as_it_was(self, name: str) -> None:
        folded = drawn(name, 4)
        read = read_network(network_bytes(folded, {"more": b"1"}))
        assert read.sha256 == {"more": hashlib.sha256(b"1").hexdigest()}
        assert replace(read.folded, layers=()) == replace(folded, layers=())
        for found, part in zip(read.folded.layers, folded.layers, strict=True):
            assert (found.layer, found.input, found.output) == (part.layer, part.input, part.output)
            for name in ("weight_codes", "weight_scale", "bias"):
                np.testing.assert_array_equal(getattr(found, name), getattr(part, name))
            np.testing.assert_array_equal(found.weight, rounded(part))
        assert network_bytes(read.folded, {"more": b"1"}) == network_bytes(folded, {"more": b"1"})

    @pytest.mark.parametrize("name", [name for name in FORMATS.names() if not FORMATS.get(name).is_integer])
    def test_float_formats_keep_their_own_type(self, name: str, folded: Folded) -> None:
        number_format = FORMATS.get(name)
        assert isinstance(number_format, FloatFormat)
        real = replace(folded, layers=tuple(of_format(part, name) for part in folded.layers))
        assert {stored_tensors(real)[f"{attribute(part.layer)}.weight"].dtype for part in real.layers} == {
            number_format.dtype
        }


def of_format(part: FoldedLayer, name: str) -> FoldedLayer:
    layer = replace(part.layer, weight_format=name)
    return replace(part, layer=layer, weight_codes=None, weight_scale=None)


def rounded(part: FoldedLayer) -> Images:
    number_format = FORMATS.get(part.layer.weight_format)
    if not isinstance(number_format, FloatFormat):
        return part.weight
    weight: Images = number_format.rounded(torch.from_numpy(part.weight)).numpy()
    return weight


# -- what is refused ---------------------------------------------------------------------------------------


class TestTampered:
    @pytest.mark.parametrize("name", [SOURCE, WEIGHTS, ARCHIVE])
    def test_files_that_are_changed_cut_off_or_gone(
        self, name: str, files: dict[str, bytes], folded: Folded
    ) -> None:
        images, data = images_of(folded, 1), files[name]
        for place in np.linspace(0, len(data) - 1, 25, dtype=int):
            flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            for changed in (flipped, data[:place], data + b"\n"):
                with pytest.raises(CorruptFileError, match=r"torch/model"):
                    TORCH.logits(files | {name: changed}, images)
        with pytest.raises(MissingFileError, match=name):
            TORCH.logits({other: files[other] for other in files if other != name}, images)

    def test_a_changed_text_is_not_run(self, files: dict[str, bytes], folded: Folded, tmp_path: Path) -> None:
        mark = tmp_path / "ran"
        evil = files[SOURCE] + f"\nopen({str(mark)!r}, 'w')\n".encode()
        with pytest.raises(CorruptFileError, match="is not run"):
            TORCH.logits(files | {SOURCE: evil}, images_of(folded, 1))
        assert not mark.exists()

    @pytest.mark.parametrize(
        "name", ["stem = print(1)\n", "stem'", "x y", "été", "", "class", "train", "a..b", "_a"]
    )
    def test_a_name_can_not_become_code(self, name: str, folded: Folded) -> None:
        block = folded.blocks[0]
        layer = replace(block.layers[0], name=name)
        blocks = (replace(block, layers=(layer, *block.layers[1:])), *folded.blocks[1:])
        renamed = replace(
            folded, blocks=blocks, layers=(replace(folded.layers[0], layer=layer), *folded.layers[1:])
        )
        with pytest.raises(UnsupportedError, match="names that files can not have"):
            TORCH.files(renamed, ExportOptions())
        document = document_of(folded)
        document["blocks"][0]["layers"][0]["name"] = name
        with pytest.raises(CorruptFileError, match="names that files can not have"):
            read_network(signed(folded, document))

    def test_a_block_s_name_can_not_become_code(self, folded: Folded) -> None:
        document = document_of(folded)
        document["blocks"][0]["name"] = "stem\n        print(1)"
        with pytest.raises(CorruptFileError, match="names that files can not have"):
            read_network(signed(folded, document))

    def test_two_layers_of_one_name(self, folded: Folded) -> None:
        document = document_of(folded)
        names = [layer for block in document["blocks"] for layer in block["layers"]]
        names[1]["name"] = f"{names[0]['name']}.input"
        with pytest.raises(CorruptFileError, match="names that stand for two things"):
            read_network(signed(folded, document))

    @settings(max_examples=400)
    @given(st.data(), st.booleans())
    def test_a_forged_manifest_is_refused_or_runs(
        self, gated_space: MBConvSpace, bottleneck_space: BottleneckSpace, data: st.DataObject, gated: bool
    ) -> None:
        """Its digest is right, as anybody can make one: what it says is all the same a network, or told."""
        space, rng = (gated_space if gated else bottleneck_space), np.random.default_rng(0)
        folded = random_folded(space.blocks(space.extremes()[-1]), rng)
        document = document_of(folded)
        place = data.draw(st.sampled_from(places(document)))
        values: list[st.SearchStrategy[Any]] = [
            st.integers(-(2**70), 2**70),
            st.integers(0, 9),
            st.floats(),
            st.sampled_from(["", "x\n", "linear", "relu", "block", "pooled", "int4", "fp32", None, True, [], {}]),
        ]
        put(document, place, data.draw(st.one_of(values)))
        try:
            read = read_network(signed(folded, document))
        except CorruptFileError:
            return
        assert built(source(read.folded), read.tensors)(torch.from_numpy(images_of(read.folded, 1))).shape == (
            1,
            read.folded.classes,
        )

    @pytest.mark.parametrize(
        "change",
        [
            lambda tensors: {name: tensors[name] for name in sorted(tensors)[1:]},
            lambda tensors: tensors | {"more": torch.zeros(1)},
            lambda tensors: tensors | {"stem.bias": tensors["stem.bias"].double()},
            lambda tensors: tensors | {"stem.bias": tensors["stem.bias"][1:].clone()},
            lambda tensors: {name: tensor.reshape(-1, 1) for name, tensor in tensors.items()},
        ],
    )
    def test_tensors_that_do_not_fit(
        self, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], folded: Folded
    ) -> None:
        document = document_of(folded)
        with pytest.raises(CorruptFileError, match=r"x is no network .*export it again"):
            read_network(signed(folded, document, change), "x")


def document_of(folded: Folded) -> Any:
    """What a file's text says."""
    return json.loads(inflated(read_tensors(network_bytes(folded), "x")[0]["network"].numpy()))


def signed(
    folded: Folded,
    document: Any,
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda tensors: tensors,
) -> bytes:
    """A file whose digest is right."""
    text = torch.frombuffer(bytearray(zlib.compress(json.dumps(document).encode())), dtype=torch.uint8)
    return tensor_file({**change(stored_tensors(folded)), "network": text}, HEADER)


def places(value: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return ([so_far] if so_far else []) + [place for key in keys for place in places(value[key], (*so_far, key))]


def put(document: Any, place: tuple[Any, ...], value: Any) -> None:
    for key in place[:-1]:
        document = document[key]
    document[place[-1]] = value
