from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitfront.predictors import PREDICTORS, load_predictor
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.features import FeatureMap, Floats32
from bitfront.predictors.mlp import MLPPredictor
from bitfront.predictors.options import OptionValue
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.files import load_tensors, save_tensors
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace


@pytest.fixture(scope="module")
def integers_only() -> MBConvSpace:
    """A space whose every layer is quantized, as accelerators without floats want it."""
    formats = ("int8", "int6", "int4")
    frame = replace(
        digits().frame, weight_formats=formats, activation_formats=formats, end_formats=("int8", "int6")
    )
    return MBConvSpace("integers", frame)


@pytest.fixture(scope="module", params=["digits", "fashion", "proxyless", "mobilenet_v3_cifar", "resnet50_cifar"])
def space(request: pytest.FixtureRequest) -> SearchSpace:
    """A space that comes with bitfront."""
    return SPACES.get(request.param)()


def vector(features: FeatureMap, genomes: Genomes) -> Floats32:
    return np.concatenate(features(genomes), axis=1)


@pytest.mark.parametrize("numeric", [True, False])
def test_every_active_gene_moves_the_features(space: SearchSpace, numeric: bool) -> None:
    features, genome = FeatureMap(space, numeric), space.extremes()[1:]
    genomes, owner = [], []
    for i, gene in enumerate(space.genes):
        assert space.active(genome)[0, i]
        for choice in range(len(gene.choices)):
            genomes.append(genome[0].copy())
            genomes[-1][i] = choice
            owner.append(i)
    found = vector(features, space.canonical(np.stack(genomes)))
    for i, gene in enumerate(space.genes):
        rows = found[np.array(owner) == i]
        assert len(np.unique(rows, axis=0)) == len(gene.choices), gene.name


def test_4_6_and_8_bits_differ_for_every_layer_of_any_network(space: SearchSpace) -> None:
    """Not only where the others are at their widest: other genes must not hide the difference."""
    rng = np.random.default_rng(0)
    features = FeatureMap(space)
    for genome in space.sample(5, rng):
        for i in np.flatnonzero(space.active(genome[None])[0]):
            gene = space.genes[i]
            if not gene.is_policy:
                continue
            varied = np.repeat(genome[None], len(gene.choices), axis=0)
            varied[:, i] = np.arange(len(gene.choices))
            encoded = space.encode(varied)
            assert len(np.unique(encoded, axis=0)) == len(gene.choices), gene.name
            apart = np.abs(np.diff(features(varied)[1], axis=0)).max(axis=1)
            assert (apart > 1e-3).all(), gene.name


def test_skipped_layers_are_zero(space: SearchSpace) -> None:
    """The columns of a skipped block's genes are zero, and of the others one in each gene."""
    rng = np.random.default_rng(1)
    genomes = space.sample(20, rng)
    active = space.active(genomes)
    columns = np.append(space.columns, space.encoding_width)
    encoded = space.encode(genomes)
    for i, gene in enumerate(space.genes):
        part = encoded[:, columns[i] : columns[i] + len(gene.choices)]
        assert np.array_equal(part.sum(axis=1), active[:, i]), gene.name


def test_policy_features_of_fp32_are_zero() -> None:
    for space in (digits(), SPACES.get("fashion")(), SPACES.get("resnet50_cifar")()):
        genomes = space.assign(
            space.sample(50, np.random.default_rng(0)), {"weight_format": "fp32", "activation_format": "fp32"}
        )
        assert not FeatureMap(space)(genomes)[1].any()


@pytest.mark.parametrize("numeric", [True, False])
def test_features_are_a_linear_map_of_the_raw_columns(space: SearchSpace, numeric: bool) -> None:
    features, genomes = FeatureMap(space, numeric), space.sample(40, np.random.default_rng(2))
    raw, (architecture, policy) = features.raw(genomes), features.matrices
    assert features.raw_architecture == len(architecture)
    expected = features(genomes)
    assert raw[:, : len(architecture)] @ architecture == pytest.approx(expected[0], abs=1e-5)
    assert raw[:, len(architecture) :] @ policy == pytest.approx(expected[1], abs=1e-5)


def test_without_fp32_the_first_format_is_no_zero(integers_only: MBConvSpace) -> None:
    widest = integers_only.extremes()
    assert FeatureMap(integers_only)(widest)[1].any(axis=1).all()


def test_fp32_pairs_are_replayed_without_bits(integers_only: MBConvSpace) -> None:
    rng = np.random.default_rng(0)
    genomes = integers_only.sample(30, rng)
    first = MLPPredictor.fit(
        integers_only, Pairs(genomes, rng.uniform(0.8, 0.9, 30)), rng, {"transfer": "finetune"}
    )
    _, policy = FeatureMap(integers_only)(genomes)
    assert policy.any(axis=1).all()
    assert not first._replayed()[:, -policy.shape[1] :].any()
    others = integers_only.sample(40, rng)
    second = first.transfer(Pairs(others, rng.uniform(0.5, 0.6, 40)), rng)
    assert not second._replayed()[:, -policy.shape[1] :].any()
    assert second.predict(others).mean.mean() == pytest.approx(0.55, abs=0.08)


def test_a_file_that_lacks_a_tensor_is_corrupt(
    integers_only: MBConvSpace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("p") / "p.safetensors"
    pairs = Pairs(integers_only.sample(12, rng), rng.uniform(0.8, 0.9, 12))
    MLPPredictor.fit(integers_only, pairs, rng).save(path)
    tensors, manifest = load_tensors(path)
    del tensors["first.scale"]
    save_tensors(path, tensors, manifest)
    with pytest.raises(CorruptFileError, match="scale"):
        MLPPredictor.load(path, integers_only)


@pytest.mark.parametrize("kind", ["mlp", "ridge"])
@pytest.mark.parametrize("lacking", ["formats", "architectures"])
def test_a_space_may_have_nothing_to_choose_on_one_side(kind: str, lacking: str, tmp_path: Path) -> None:
    """Architectures in fp32 alone, or policies of one architecture alone."""
    frame = digits().frame
    if lacking == "formats":
        frame = replace(frame, weight_formats=("fp32",), activation_formats=("fp32",), end_formats=("fp32",))
    else:
        stages = tuple(replace(s, depths=s.depths[-1:], widths=s.widths[-1:], kernels=(3,)) for s in frame.stages)
        frame = replace(frame, stages=stages, resolutions=frame.resolutions[-1:])
    space, rng = MBConvSpace("narrow", frame), np.random.default_rng(0)
    genomes, others = space.sample(40, rng), space.sample(60, rng)
    options: dict[str, OptionValue] = {"epochs": 2, "steps": 1} if kind == "mlp" else {}
    predictor = PREDICTORS.get(kind).from_scratch(space, Pairs(genomes, rng.uniform(0.8, 0.9, 40)), rng, options)
    second = predictor.transfer(Pairs(others, rng.uniform(0.8, 0.9, 60)), rng)
    second.save(tmp_path / "p.safetensors")
    again = load_predictor(tmp_path / "p.safetensors", space)
    assert np.isfinite(again.mean(others)).all()
    assert again.mean(others) == pytest.approx(second.mean(others), abs=1e-9)


def test_restrictions_change_no_features() -> None:
    """A predictor of the whole space serves a search that leaves some formats out."""
    space = digits()
    narrow = space.restrict_formats(lambda _: [("int8", "int8")])
    genomes = narrow.sample(30, np.random.default_rng(0))
    for numeric in (True, False):
        whole, part = FeatureMap(space, numeric)(genomes), FeatureMap(narrow, numeric)(genomes)
        assert np.array_equal(np.concatenate(whole, 1), np.concatenate(part, 1))


def test_numbers_that_never_vary_are_zero(integers_only: MBConvSpace) -> None:
    frame = replace(integers_only.frame, weight_formats=("int8",), end_formats=("int8",))
    features = FeatureMap(MBConvSpace("one weight format", frame))
    genomes = features.space.sample(50, np.random.default_rng(0))
    assert np.abs(np.concatenate(features(genomes), axis=1)).max() < 100
