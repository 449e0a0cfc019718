"""What every form of export must do: runs over everything registered, with real subnets of small spaces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePosixPath
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import CorruptFileError, MissingFileError, UnsupportedError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.targets.base import ExportOptions, ExportTarget, RuntimeName
from bitfront.supernet.folded import Folded
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.bottleneck import BottleneckSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace

Images = NDArray[np.float32]
Files = dict[str, bytes]

NETWORKS = (
    "mixed tiny", "mixed gated", "mixed bottlenecks", "fp32 tiny", "int8 tiny", "int8 gated", "int8 bottlenecks",
    "int4 tiny", "int8 but one tiny",
)  # fmt: skip
_OF_BUNDLES = {"manifest.json", "sha256sums", "samples"}


@dataclass(frozen=True)
class Network:
    """A folded network, images as it takes them, and what the fake-quantized network answers to them."""

    folded: Folded
    images: Images
    logits: Images


class Networks:
    """Networks by name, each made when it is first asked for."""

    def __init__(self, spaces: dict[str, SearchSpace], data: Dataset) -> None:
        self._spaces, self._data = spaces, data
        self._made: dict[str, Network] = {}

    def __getitem__(self, name: str) -> Network:
        if name not in self._made:
            policy, _, space = name.rpartition(" ")
            self._made[name] = self._network(self._spaces[space], policy)
        return self._made[name]

    def _network(self, space: SearchSpace, policy: str) -> Network:
        evaluator = Evaluator(_shaken(space), self._data, 64, recalibrate_scales=True)
        blocks = space.blocks(_genome(space, policy))
        subnet = evaluator.subnet(blocks)
        folded = subnet.fold()
        images = evaluator.images("test", folded.resolution)
        with torch.no_grad():
            logits = subnet(images).numpy()
        return Network(folded, images.numpy(), logits)


def _genome(space: SearchSpace, policy: str) -> NDArray[np.uint8]:
    if policy == "mixed":
        drawn: NDArray[np.uint8] = space.sample(1, np.random.default_rng(1))[0]
        return drawn
    first, *rest = policy.split()
    genomes = space.extremes()[1:]
    for name in ("int8", first):  # the ends of these spaces have no int4, and stay at int8
        genomes = space.assign(genomes, {"weight_format": name, "activation_format": name})
    genome: NDArray[np.uint8] = genomes[0]
    if rest:  # all but one
        place = next(i for i, gene in enumerate(space.genes) if gene.name.endswith("depthwise.weight_format"))
        genome[place] = space.genes[place].choices.index("fp32")
    return genome


def _shaken(space: SearchSpace) -> Supernet:
    """Without a tensor at its neutral start."""
    supernet, generator = Supernet(space, seed=3), torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        for layer in supernet.elastic_layers():
            if layer.gain is not None:
                layer.gain.copy_(0.5 + torch.randn(layer.gain.shape, generator=generator))
            layer.output_log_scale.fill_(8.0 / 2**8).log_()
    return supernet


@pytest.fixture(scope="module")
def networks(
    tiny_space: MBConvSpace, gated_space: MBConvSpace, bottleneck_space: BottleneckSpace, tiny_data: Dataset
) -> Networks:
    spaces: dict[str, SearchSpace] = {"tiny": tiny_space, "gated": gated_space, "bottlenecks": bottleneck_space}
    return Networks(spaces, tiny_data)


@pytest.fixture(scope="module", params=TARGETS.names())
def target(request: pytest.FixtureRequest) -> ExportTarget:
    return TARGETS.get(request.param)


class Forms:
    """Files of one target, each made once."""

    def __init__(self, target: ExportTarget, networks: Networks) -> None:
        self.target, self.networks = target, networks
        self.of = cache(self._of)

    def _of(self, name: str) -> Files | None:
        """None if the form can not hold the network."""
        try:
            return self.target.files(self.networks[name].folded, ExportOptions())
        except UnsupportedError:
            return None

    def some(self) -> tuple[Network, Files]:
        """A network that it holds."""
        name = next(name for name in NETWORKS if self.of(name) is not None)
        files = self.of(name)
        assert files is not None
        return self.networks[name], files

    def answers(self, files: Files, images: Images) -> Images:
        """The form's own, or the test is skipped where what runs it is not here."""
        try:
            return self.target.logits(files, images)
        except UnsupportedError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="module")
def forms(target: ExportTarget, networks: Networks) -> Forms:
    return Forms(target, networks)


@pytest.fixture(params=NETWORKS)
def held(request: pytest.FixtureRequest, forms: Forms) -> tuple[Network, Files]:
    """A network, with its files."""
    files = forms.of(request.param)
    if files is None:
        pytest.skip(f"{forms.target.name} does not hold this policy")
    return forms.networks[request.param], files


class TestFiles:
    def test_target_goes_by_its_registry_name(self, target: ExportTarget, request: pytest.FixtureRequest) -> None:
        assert target.name == request.node.callspec.params["target"]

    def test_an_integer_network_has_every_form(self, forms: Forms) -> None:
        assert forms.of("int8 tiny") is not None

    @pytest.mark.parametrize("runtime", get_args(RuntimeName))
    def test_are_the_same_every_time(self, forms: Forms, runtime: RuntimeName) -> None:
        folded = forms.some()[0].folded
        before = [part.weight.copy() for part in folded.layers]
        files = forms.target.files(folded, ExportOptions(runtime))
        assert forms.target.files(folded, ExportOptions(runtime)) == files
        assert forms.target.main_file in files
        for weight, part in zip(before, folded.layers, strict=True):
            np.testing.assert_array_equal(part.weight, weight)

    def test_have_the_main_file_and_are_not_empty(self, held: tuple[Network, Files], target: ExportTarget) -> None:
        files = held[1]
        assert target.main_file in files
        assert all(isinstance(data, bytes) and data for data in files.values())

    def test_names_stay_in_their_folder(self, held: tuple[Network, Files]) -> None:
        for name in held[1]:
            parts = PurePosixPath(name).parts
            assert "/".join(parts) == name
            assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", part) for part in parts), name
        lower = [name.lower() for name in held[1]]
        assert len(set(lower)) == len(lower)
        assert not _OF_BUNDLES & {PurePosixPath(name).parts[0] for name in lower}


def test_no_two_targets_write_one_file(networks: Networks) -> None:
    """All of them lie in one folder."""
    folded = networks["int8 tiny"].folded
    names = [
        name.lower() for target in TARGETS.names() for name in TARGETS.get(target).files(folded, ExportOptions())
    ]
    assert len(set(names)) == len(names)


class TestDescribed:
    def test_says_what_holds_the_weights_and_what_they_take(
        self, held: tuple[Network, Files], target: ExportTarget
    ) -> None:
        network, files = held
        described = target.described(network.folded, files)
        assert json.loads(json.dumps(described, allow_nan=False)) == described
        layers = [part.layer for part in network.folded.layers]
        assert described["weight_containers"].keys() == {layer.name for layer in layers}
        assert all(isinstance(one, str) and one for one in described["weight_containers"].values())
        weights = sum(layer.weights * FORMATS.get(layer.weight_format).storage_bits for layer in layers) / 8
        assert weights < described["size_bytes"] <= sum(map(len, files.values()))
        assert described["file_bytes"] == len(files[target.main_file])

    def test_the_size_is_that_of_weights_biases_and_scales_without_names(
        self, held: tuple[Network, Files], target: ExportTarget
    ) -> None:
        """Longer names make a longer file, and nothing else."""
        network, files = held
        described = target.described(network.folded, files)
        blocks = tuple(
            replace(block, layers=tuple(replace(one, name=f"{one.name}.{'x' * 40}") for one in block.layers))
            for block in network.folded.blocks
        )
        layers = (one for block in blocks for one in block.layers)
        parts = tuple(replace(part, layer=next(layers)) for part in network.folded.layers)
        longer = replace(network.folded, blocks=blocks, layers=parts)
        made = target.files(longer, ExportOptions())
        other = target.described(longer, made)
        assert other["size_bytes"] == described["size_bytes"]
        assert other["file_bytes"] == len(made[target.main_file])


class TestLogits:
    def test_are_those_of_the_fake_quantized_network(self, held: tuple[Network, Files], forms: Forms) -> None:
        network, files = held
        found = forms.answers(files, network.images)
        assert (found.dtype, found.shape) == (network.logits.dtype, network.logits.shape)
        error = float(np.abs(found - network.logits).mean() / network.logits.std())
        # Weights are not trained, so that classes are close to one another, and codes that fall apart count.
        assert error < 0.1
        assert np.mean(found.argmax(1) == network.logits.argmax(1)) >= 0.85

    def test_are_so_on_average_far_better_than_the_bound_for_one(self, forms: Forms) -> None:
        errors, agreements = [], []
        for name in NETWORKS:
            files, network = forms.of(name), forms.networks[name]
            if files is not None:
                found = forms.answers(files, network.images)
                errors.append(float(np.abs(found - network.logits).mean() / network.logits.std()))
                agreements.append(np.mean(found.argmax(1) == network.logits.argmax(1)))
        assert np.median(errors) < 0.03
        assert np.mean(agreements) > 0.96

    def test_of_no_image_one_and_many(self, forms: Forms) -> None:
        network, files = forms.some()
        many = np.concatenate([network.images, network.images])
        found = forms.answers(files, many)
        assert found.shape == (len(many), network.folded.classes)
        for n in (0, 1, 3):
            some = forms.answers(files, many[:n])
            assert (some.dtype, some.shape) == (network.logits.dtype, (n, network.folded.classes))
            assert np.abs(some - found[:n]).sum() <= 0.05 * np.abs(found[:n]).sum()

    def test_of_images_that_lie_otherwise_in_memory(self, forms: Forms) -> None:
        network, files = forms.some()
        images = network.images[:4]
        strided = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        images.flags.writeable = False
        np.testing.assert_allclose(forms.answers(files, strided), forms.answers(files, images), atol=1e-4)

    def test_of_images_of_another_shape_are_refused(self, forms: Forms) -> None:
        network, files = forms.some()
        forms.answers(files, network.images[:1])
        channels, side = network.folded.in_channels, network.folded.resolution
        for shape in [
            (2, channels + 1, side, side),
            (2, channels, side + 1, side),
            (2, channels, side, side - 1),
            (channels, side, side),
            (2, channels * side * side),
            (1, 2, channels, side, side),
        ]:
            with pytest.raises(UnsupportedError, match=re.escape(str(shape))):
                forms.target.logits(files, np.zeros(shape, np.float32))


def _damaged(data: bytes) -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    for length in (0, 1, 8, 100, len(data) // 2, len(data) - 1):
        yield data[:length]
    yield rng.bytes(len(data))
    for place in np.linspace(0, len(data) - 1, 16, dtype=int):
        yield data[:place] + bytes([data[place] ^ (1 << int(rng.integers(8)))]) + data[place + 1 :]


def _told(target: ExportTarget, files: Files, network: Network) -> Exception | None:
    """What a form says of damaged files; None if it answers all the same. Any other error fails the test."""
    try:
        found = target.logits(files, network.images[:1])
    except (CorruptFileError, MissingFileError) as error:
        return error
    assert found.shape == (1, network.folded.classes)
    return None


class TestDamaged:
    def test_files_are_told_or_still_a_network(self, forms: Forms) -> None:
        """Cut off, garbled, or with a flipped bit: there may be an answer, but never another error."""
        network, files = forms.some()
        forms.answers(files, network.images[:1])
        for name, data in files.items():
            told = [_told(forms.target, files | {name: damaged}, network) for damaged in _damaged(data)]
            assert any(told) or name != forms.target.main_file

    def test_the_main_file_cut_off_or_another_is_told(self, forms: Forms) -> None:
        network, files = forms.some()
        forms.answers(files, network.images[:1])
        data = files[forms.target.main_file]
        for damaged in (b"", data[:1], data[: len(data) // 2], b"something else"):
            assert isinstance(
                _told(forms.target, files | {forms.target.main_file: damaged}, network), CorruptFileError
            )

    def test_a_file_that_is_not_there_is_told_by_name(self, forms: Forms) -> None:
        network, files = forms.some()
        forms.answers(files, network.images[:1])
        for name in files:
            told = _told(forms.target, {other: files[other] for other in files if other != name}, network)
            assert told is not None or name != forms.target.main_file
            assert told is None or (isinstance(told, MissingFileError) and name in str(told))


class TestRefused:
    def test_all_layers_in_the_way_are_named(self, forms: Forms) -> None:
        """Where a form holds no fp32 at all, every layer of such a network is."""
        folded = forms.networks["fp32 tiny"].folded
        if forms.of("fp32 tiny") is not None:
            pytest.skip(f"{forms.target.name} holds fp32")
        with pytest.raises(UnsupportedError) as refusal:
            forms.target.files(folded, ExportOptions())
        for part in folded.layers:
            assert part.layer.name in str(refusal.value)

    def test_layers_that_are_not_in_the_way_are_not_named(self, forms: Forms) -> None:
        folded = forms.networks["int8 but one tiny"].folded
        if forms.of("int8 but one tiny") is not None:
            pytest.skip(f"{forms.target.name} holds fp32")
        with pytest.raises(UnsupportedError) as refusal:
            forms.target.files(folded, ExportOptions())
        for part in folded.layers:
            in_the_way = "fp32" in (part.layer.weight_format, part.layer.activation_format)
            assert (part.layer.name in str(refusal.value)) == in_the_way, part.layer
