"""What every registered predictor must do."""

from pathlib import Path

import numpy as np
import pytest

from bitfront.predictors import PREDICTORS
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.predictor import AccuracyPredictor, OtherSpaceError
from bitfront.supernet.errors import CorruptFileError, MissingFileError
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace

SPACE = digits()


def some_pairs(n: int, seed: int) -> Pairs:
    rng = np.random.default_rng(seed)
    genomes = SPACE.sample(n, rng)
    return Pairs(genomes, np.clip(0.7 + SPACE.encode(genomes).sum(1) / 400 + rng.normal(0, 0.01, n), 0, 1))


@pytest.fixture(params=PREDICTORS.names(), scope="module")
def kind(request: pytest.FixtureRequest) -> type[AccuracyPredictor]:
    return PREDICTORS.get(request.param)


@pytest.fixture(scope="module")
def predictor(kind: type[AccuracyPredictor]) -> AccuracyPredictor:
    first = kind.fit(SPACE, some_pairs(40, 0), np.random.default_rng(0))
    return first.transfer(some_pairs(30, 1), np.random.default_rng(1))


class TestEveryPredictor:
    def test_shapes_and_finite_numbers(self, predictor: AccuracyPredictor) -> None:
        prediction = predictor.predict(some_pairs(17, 2).genomes)
        assert prediction.mean.shape == prediction.half_width.shape == (17,)
        assert np.isfinite(prediction.mean).all()
        assert (prediction.half_width > 0).all()

    def test_rows_do_not_influence_each_other(self, predictor: AccuracyPredictor) -> None:
        genomes = some_pairs(30, 3).genomes
        whole = predictor.predict(genomes).mean
        assert predictor.predict(genomes[::-1]).mean[::-1] == pytest.approx(whole, abs=1e-6)
        assert predictor.predict(genomes[4:5]).mean == pytest.approx(whole[4:5], abs=1e-6)

    def test_the_same_seed_gives_the_same_predictor(self, kind: type[AccuracyPredictor]) -> None:
        genomes = some_pairs(10, 4).genomes
        one, two = (kind.fit(SPACE, some_pairs(40, 0), np.random.default_rng(7)) for _ in range(2))
        assert np.array_equal(one.predict(genomes).mean, two.predict(genomes).mean)

    def test_it_comes_back_from_a_file_as_it_was(self, predictor: AccuracyPredictor, tmp_path: Path) -> None:
        path, genomes = tmp_path / "p.safetensors", some_pairs(25, 5).genomes
        predictor.save(path)
        loaded = type(predictor).load(path, SPACE)
        for field in ("mean", "half_width"):
            assert np.array_equal(
                getattr(loaded.predict(genomes), field), getattr(predictor.predict(genomes), field)
            )
        more = some_pairs(20, 6)
        one, two = (p.transfer(more, np.random.default_rng(3)).predict(genomes).mean for p in (predictor, loaded))
        assert np.array_equal(one, two)

    def test_another_space_is_refused_and_its_genes_named(
        self, predictor: AccuracyPredictor, tmp_path: Path, tiny_space: MBConvSpace
    ) -> None:
        predictor.save(tmp_path / "p.safetensors")
        with pytest.raises(OtherSpaceError, match=r"stage\d"):
            type(predictor).load(tmp_path / "p.safetensors", tiny_space)

    def test_missing_and_damaged_files_are_errors(self, predictor: AccuracyPredictor, tmp_path: Path) -> None:
        path = tmp_path / "p.safetensors"
        with pytest.raises(MissingFileError):
            type(predictor).load(path, SPACE)
        predictor.save(path)
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(CorruptFileError):
            type(predictor).load(path, SPACE)

    def test_every_policy_gene_moves_the_prediction(self, predictor: AccuracyPredictor) -> None:
        genome = SPACE.extremes()[1:]
        base = predictor.predict(genome).mean[0]
        for i, gene in enumerate(SPACE.genes):
            if gene.is_policy:
                other = genome.copy()
                other[0, i] = len(gene.choices) - 1
                assert predictor.predict(other).mean[0] != base, gene.name
