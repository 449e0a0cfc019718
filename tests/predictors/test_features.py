from dataclasses import replace

import numpy as np
import pytest

from bitfront.predictors.dataset import Pairs
from bitfront.predictors.features import FeatureMap
from bitfront.predictors.mlp import MLPPredictor
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.files import load_tensors, save_tensors
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


def test_without_fp32_the_first_format_is_no_zero(integers_only: MBConvSpace) -> None:
    widest = integers_only.extremes()
    assert FeatureMap(integers_only)(widest)[1].any(axis=1).all()


def test_fp32_pairs_are_replayed_without_bits(integers_only: MBConvSpace) -> None:
    rng = np.random.default_rng(0)
    genomes = integers_only.sample(30, rng)
    first = MLPPredictor.fit(integers_only, Pairs(genomes, rng.uniform(0.8, 0.9, 30)), rng)
    _, policy = FeatureMap(integers_only)(genomes)
    assert not first._learned()[:, -policy.shape[1] :].any()
    second = first.transfer(Pairs(genomes, rng.uniform(0.5, 0.6, 30)), rng)
    assert np.array_equal(second._learned()[:, -policy.shape[1] :], policy)
    assert second.predict(genomes).mean.mean() == pytest.approx(0.55, abs=0.08)


def test_a_file_that_lacks_a_tensor_is_corrupt(
    integers_only: MBConvSpace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("p") / "p.safetensors"
    pairs = Pairs(integers_only.sample(12, rng), rng.uniform(0.8, 0.9, 12))
    MLPPredictor.fit(integers_only, pairs, rng).save(path)
    tensors, manifest = load_tensors(path)
    del tensors["scale"]
    save_tensors(path, tensors, manifest)
    with pytest.raises(CorruptFileError, match="scale"):
        MLPPredictor.load(path, integers_only)
