"""What every registered predictor must do, on made-up accuracies of which all that matters is known."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from optuna.trial import FixedTrial

from bitfront.predictors import PREDICTORS, load_predictor
from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.predictors.metrics import interval_coverage, pairwise_accuracy, rmse
from bitfront.predictors.options import InvalidOptionError, OptionValue
from bitfront.predictors.predictor import AccuracyPredictor, OtherSpaceError
from bitfront.supernet.errors import CorruptFileError, InvalidGenomeError, MissingFileError, UnknownNameError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace

SPACE = digits()
NOISE = 0.004
_LOST = {"fp32": 0.0, "int8": 0.1, "int6": 0.3, "int4": 1.0}
# Enough of each kind's work to learn what is asked here, within a test's time.
QUICK: dict[str, dict[str, OptionValue]] = {
    "mlp": {"hidden": 32, "epochs": 30},
    "gradient_boosting": {"trees": 60},
    "random_forest": {"trees": 20},
    "gaussian_process": {"evidence_pairs": 50},
}


def truth(genomes: Genomes) -> NDArray[np.float64]:
    """Every active gene adds its own: architecture gains, by its choice, and formats lose."""
    weight = np.random.default_rng(5).uniform(0.3, 1.7, len(SPACE.genes))
    active = SPACE.active(genomes)
    accuracy = np.full(len(genomes), 0.75)
    for i, gene in enumerate(SPACE.genes):
        if gene.is_policy:
            lost = np.array([_LOST[str(choice)] for choice in gene.choices])[genomes[:, i]]
            accuracy -= 0.008 * weight[i] * lost * active[:, i]
        else:
            accuracy += 0.008 * weight[i] * (1 + genomes[:, i]) * active[:, i]
    return accuracy


def some_pairs(n: int, seed: int, real: bool = False) -> Pairs:
    """Measured with noise; in ``real`` numbers, or in formats at random."""
    rng = np.random.default_rng(seed)
    genomes = SPACE.sample(n, rng, "sizes")
    if real:
        genomes = SPACE.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"})
    return Pairs(genomes, np.clip(truth(genomes) + rng.normal(0, NOISE, n), 0, 1))


FP32, QUANTIZED, HELD_OUT = some_pairs(150, 0, real=True), some_pairs(100, 1), some_pairs(400, 2)
FEW = np.arange(20)


class Three(NamedTuple):
    """One kind, learned in all ways."""

    first: AccuracyPredictor
    second: AccuracyPredictor
    scratch: AccuracyPredictor


@pytest.fixture(params=PREDICTORS.names(), scope="module")
def kind(request: pytest.FixtureRequest) -> type[AccuracyPredictor]:
    return PREDICTORS.get(request.param)


@pytest.fixture(scope="module")
def three(kind: type[AccuracyPredictor]) -> Three:
    options = QUICK.get(kind.kind)
    first = kind.fit(SPACE, FP32, np.random.default_rng(0), options)
    second = first.transfer(QUANTIZED, np.random.default_rng(1))
    return Three(first, second, kind.from_scratch(SPACE, QUANTIZED, np.random.default_rng(2), options))


@pytest.fixture(params=Three._fields, scope="module")
def predictor(three: Three, request: pytest.FixtureRequest) -> AccuracyPredictor:
    found: AccuracyPredictor = getattr(three, request.param)
    return found


def least(kind: type[AccuracyPredictor]) -> dict[str, OptionValue]:
    """Options of the kind that make it quick."""
    quick = {"epochs": 2, "steps": 2, "hidden": 16, "trees": 5, "evidence_pairs": 10}
    names = {field.name for field in dataclasses.fields(kind.Options)}
    return {name: value for name, value in quick.items() if name in names}


@pytest.fixture(scope="module")
def small(kind: type[AccuracyPredictor]) -> Three:
    """Learned with as little work as can be, for tests that ask nothing of the quality."""
    first = kind.fit(SPACE, FP32.take(FEW), np.random.default_rng(0), least(kind))
    second = first.transfer(QUANTIZED.take(FEW), np.random.default_rng(1))
    return Three(
        first, second, kind.from_scratch(SPACE, QUANTIZED.take(FEW), np.random.default_rng(2), least(kind))
    )


class TestLearning:
    def test_it_beats_a_constant(self, three: Three) -> None:
        for one, held_out in ((three.first, some_pairs(400, 3, real=True)), (three.second, HELD_OUT)):
            off = rmse(one.mean(held_out.genomes), held_out.accuracy)
            assert off < 0.75 * held_out.accuracy.std()
            assert pairwise_accuracy(one.mean(held_out.genomes), held_out.accuracy) > 0.75

    def test_the_first_one_is_blind_to_formats_and_the_others_are_not(self, three: Three) -> None:
        formats = ("fp32", "int4")
        real, narrow = (
            SPACE.assign(HELD_OUT.genomes, {"weight_format": one, "activation_format": one}) for one in formats
        )
        assert np.array_equal(three.first.mean(real), three.first.mean(narrow))
        lost = (truth(real) - truth(narrow)).mean()
        for one in (three.second, three.scratch):
            assert (one.mean(real) - one.mean(narrow)).mean() > 0.2 * lost

    def test_every_policy_gene_moves_predictions(self, three: Three) -> None:
        for i, gene in enumerate(SPACE.genes):
            if gene.is_policy:
                genomes = HELD_OUT.genomes[SPACE.active(HELD_OUT.genomes)[:, i]][:60]
                other = genomes.copy()
                other[:, i] = (other[:, i] + 1) % len(gene.choices)
                assert (three.second.mean(genomes) != three.second.mean(other)).any(), gene.name

    def test_transfer_leaves_the_first_one_as_it_was(self, three: Three) -> None:
        before = three.first.predict(HELD_OUT.genomes)
        three.first.transfer(QUANTIZED.take(FEW), np.random.default_rng(0))
        after = three.first.predict(HELD_OUT.genomes)
        assert np.array_equal(before.mean, after.mean)
        assert np.array_equal(before.half_width, after.half_width)
        assert three.first.pairs.hash() == FP32.checked(SPACE).hash()

    def test_transferred_again_it_learns_the_new_pairs_instead(self, three: Three) -> None:
        lower = Pairs(QUANTIZED.genomes, QUANTIZED.accuracy - 0.2)
        again = three.second.transfer(lower, np.random.default_rng(1))
        assert again.pairs.hash() == lower.checked(SPACE).hash()
        off = again.mean(HELD_OUT.genomes) - (HELD_OUT.accuracy - 0.2)
        assert abs(off.mean()) < 0.02
        assert np.sqrt(np.mean(off**2)) < 0.75 * HELD_OUT.accuracy.std()

    def test_what_was_learned_first_is_left_out_of_transfer(self, kind: type[AccuracyPredictor]) -> None:
        """It is predicted too well, so that half widths calibrated with it would be too small."""
        known, more = QUANTIZED.take(FEW), HELD_OUT.take(np.arange(20))
        first = kind.from_scratch(SPACE, known, np.random.default_rng(0), least(kind))
        with pytest.raises(InvalidPairsError, match="were learned before, so that only 0 can say"):
            first.transfer(known, np.random.default_rng(0))
        both = Pairs(
            np.concatenate([known.genomes, more.genomes]), np.concatenate([known.accuracy, more.accuracy])
        )
        second = first.transfer(both, np.random.default_rng(0))
        assert second.pairs.hash() == more.checked(SPACE).hash()
        assert second.earlier is not None
        assert second.earlier.hash() == known.checked(SPACE).hash()
        assert (first.how, second.how) == ("from scratch", "transferred")

    def test_the_same_generator_gives_the_same_predictor(self, kind: type[AccuracyPredictor]) -> None:
        def predictions(seed: int) -> NDArray[np.float64]:
            rng = np.random.default_rng(seed)
            first = kind.fit(SPACE, FP32.take(FEW), rng, least(kind))
            second = first.transfer(QUANTIZED.take(FEW), rng)
            asked = [one.predict(HELD_OUT.genomes) for one in (first, second)]
            return np.stack([part for one in asked for part in (one.mean, one.half_width)])

        assert np.array_equal(predictions(7), predictions(7))

    def test_constant_accuracies_are_learned(self, kind: type[AccuracyPredictor]) -> None:
        flat = Pairs(QUANTIZED.genomes[FEW], np.full(20, 0.7))
        scratch = kind.from_scratch(SPACE, flat, np.random.default_rng(0), least(kind))
        transferred = kind.fit(
            SPACE, Pairs(FP32.genomes[FEW], np.full(20, 0.9)), np.random.default_rng(0), least(kind)
        ).transfer(flat, np.random.default_rng(1))
        for one in (scratch, transferred):
            prediction = one.predict(HELD_OUT.genomes)
            assert prediction.mean == pytest.approx(np.full(len(HELD_OUT), 0.7), abs=1e-3)
            assert (prediction.half_width > 0).all()

    def test_repeated_pairs_are_averaged(self, kind: type[AccuracyPredictor]) -> None:
        few = Pairs(QUANTIZED.genomes[FEW], np.linspace(0.5, 0.9, len(FEW)))
        twice = Pairs(
            np.repeat(few.genomes, 2, axis=0), np.repeat(few.accuracy, 2) + np.tile([0.02, -0.02], len(few))
        )
        once, merged = (
            kind.from_scratch(SPACE, pairs, np.random.default_rng(0), least(kind)) for pairs in (few, twice)
        )
        assert merged.mean(HELD_OUT.genomes) == pytest.approx(once.mean(HELD_OUT.genomes), abs=1e-4)


class TestRefusing:
    def test_too_few_pairs(self, three: Three) -> None:
        few, rng = some_pairs(5, 0), np.random.default_rng(0)
        for learn in (type(three.first).fit, type(three.first).from_scratch):
            with pytest.raises(InvalidPairsError, match=r"too few .* 5: measure at least 10"):
                learn(SPACE, few, rng)
        with pytest.raises(InvalidPairsError, match=r"too few .* 5: measure at least 10"):
            three.first.transfer(few, rng)

    def test_the_same_genome_over_and_over_is_one(self, kind: type[AccuracyPredictor]) -> None:
        same = Pairs(np.repeat(QUANTIZED.genomes[:1], 30, axis=0), QUANTIZED.accuracy[:30])
        with pytest.raises(InvalidPairsError, match="too few different genomes"):
            kind.fit(SPACE, same, np.random.default_rng(0))

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 71.3])
    def test_accuracies_that_are_no_fractions_never_reach_it(self, wrong: float) -> None:
        accuracy = QUANTIZED.accuracy.copy()
        accuracy[3] = wrong
        with pytest.raises(InvalidPairsError, match="accuracy of row 3"):
            Pairs(QUANTIZED.genomes, accuracy)

    def test_genomes_of_another_space(self, three: Three, tiny_space: MBConvSpace) -> None:
        rng = np.random.default_rng(0)
        strange = Pairs(tiny_space.sample(20, rng), np.full(20, 0.5))
        for learn in (type(three.first).fit, type(three.first).from_scratch):
            with pytest.raises(InvalidGenomeError):
                learn(SPACE, strange, rng)
        with pytest.raises(InvalidGenomeError):
            three.first.transfer(strange, rng)

    def test_options_that_it_does_not_have(self, kind: type[AccuracyPredictor]) -> None:
        for learn in (kind.fit, kind.from_scratch):
            with pytest.raises(UnknownNameError, match=f"option of predictor '{kind.kind}' 'wheels'"):
                learn(SPACE, QUANTIZED, np.random.default_rng(0), {"wheels": 4})

    def test_values_of_another_type(self, kind: type[AccuracyPredictor]) -> None:
        for field in dataclasses.fields(kind.Options):
            wrong: OptionValue = 3.5 if isinstance(field.default, str) else "many"
            with pytest.raises(InvalidOptionError, match=f"{field.name} is"):
                kind.read_options({field.name: wrong})

    def test_values_without_sense(self, kind: type[AccuracyPredictor]) -> None:
        for field in dataclasses.fields(kind.Options):
            if isinstance(field.default, bool):
                continue
            senseless: list[OptionValue] = ["nonsense"] if isinstance(field.default, str) else [-1, 10**9]
            if isinstance(field.default, float):
                senseless = [-1.0, 1e12, float("nan"), float("inf")]
            for value in senseless:
                with pytest.raises(InvalidOptionError, match=f"{field.name} is"):
                    kind.read_options({field.name: value})


class TestOptions:
    def test_what_is_suggested_is_accepted_and_is_an_option(self, kind: type[AccuracyPredictor]) -> None:
        proposer = Proposer(np.random.default_rng(0))
        for _ in range(50):
            options = kind.suggest(proposer)
            assert dataclasses.asdict(kind.read_options(options)).items() >= options.items()

    def test_the_defaults_can_be_suggested(self, kind: type[AccuracyPredictor]) -> None:
        """`FixedTrial` warns of values out of range, and warnings are errors here."""
        defaults = dataclasses.asdict(kind.read_options(None))
        suggested = kind.suggest(FixedTrial(defaults))
        assert suggested
        assert suggested.items() <= defaults.items()

    def test_they_change_what_is_learned_and_are_kept(self, kind: type[AccuracyPredictor], tmp_path: Path) -> None:
        usual = kind.from_scratch(SPACE, QUANTIZED, np.random.default_rng(0), least(kind))
        options = {**kind.suggest(Proposer(np.random.default_rng(1))), **least(kind)}
        other = kind.from_scratch(SPACE, QUANTIZED, np.random.default_rng(0), options)
        assert (usual.mean(HELD_OUT.genomes) != other.mean(HELD_OUT.genomes)).any()
        other.save(tmp_path / "p.safetensors")
        for one in (
            kind.load(tmp_path / "p.safetensors", SPACE),
            other.transfer(HELD_OUT, np.random.default_rng(0)),
        ):
            assert one.options == kind.read_options(options)


class Proposer:
    """Proposes at random."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        value = np.exp(self._rng.uniform(np.log(low), np.log(high))) if log else self._rng.uniform(low, high)
        return float(np.clip(value, low, high))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self._rng.integers(low, high + 1))

    def suggest_categorical(self, name: str, choices: tuple[OptionValue, ...]) -> OptionValue:
        return choices[self._rng.integers(len(choices))]


class TestAsking:
    def test_shapes_and_sensible_numbers(self, predictor: AccuracyPredictor) -> None:
        prediction = predictor.predict(HELD_OUT.genomes)
        assert prediction.mean.shape == prediction.half_width.shape == (len(HELD_OUT),)
        assert prediction.mean.dtype == prediction.half_width.dtype == np.float64
        low, high = HELD_OUT.accuracy.min(), HELD_OUT.accuracy.max()
        learned = predictor.pairs.accuracy
        low, high = min(low, learned.min()) - 0.1, max(high, learned.max()) + 0.1
        assert ((prediction.mean > low) & (prediction.mean < high)).all()
        assert ((prediction.half_width > 0) & (prediction.half_width < 0.2)).all()

    def test_the_means_alone_are_the_same(self, predictor: AccuracyPredictor) -> None:
        assert np.array_equal(predictor.mean(HELD_OUT.genomes), predictor.predict(HELD_OUT.genomes).mean)

    def test_rows_do_not_influence_each_other(self, predictor: AccuracyPredictor) -> None:
        genomes = HELD_OUT.genomes[:30]
        whole, turned = predictor.predict(genomes), predictor.predict(genomes[::-1])
        alone = predictor.predict(genomes[4:5])
        for field in ("mean", "half_width"):
            expected = getattr(whole, field)
            assert getattr(turned, field)[::-1] == pytest.approx(expected, abs=1e-6)
            assert getattr(alone, field) == pytest.approx(expected[4:5], abs=1e-6)

    def test_no_genomes_give_no_predictions(self, predictor: AccuracyPredictor) -> None:
        prediction = predictor.predict(HELD_OUT.genomes[:0])
        assert prediction.mean.shape == prediction.half_width.shape == (0,)

    @pytest.mark.slow
    def test_intervals_hold_what_they_promise(self, kind: type[AccuracyPredictor]) -> None:
        """A coverage that was calibrated on 100 pairs has a standard deviation of 0.03: four are averaged."""
        held = []
        for seed in range(4):
            rng = np.random.default_rng(seed)
            first = kind.fit(SPACE, some_pairs(100, 10 + seed, real=True), rng, QUICK.get(kind.kind))
            second = first.transfer(some_pairs(100, 20 + seed), rng)
            held.append(interval_coverage(second.predict(HELD_OUT.genomes), HELD_OUT.accuracy))
        assert 0.85 <= np.mean(held) <= 0.95, held


class TestKeeping:
    @pytest.mark.parametrize("how", Three._fields)
    def test_it_comes_back_from_a_file_as_it_was(self, small: Three, how: str, tmp_path: Path) -> None:
        path, genomes, predictor = tmp_path / "p.safetensors", HELD_OUT.genomes[:50], getattr(small, how)
        predictor.save(path)
        loaded = load_predictor(path, SPACE)
        assert type(loaded) is type(predictor)
        for field in ("mean", "half_width"):
            assert np.array_equal(
                getattr(loaded.predict(genomes), field), getattr(predictor.predict(genomes), field)
            )
        assert loaded.pairs.hash() == predictor.pairs.hash()
        assert loaded.options == predictor.options

    @pytest.mark.parametrize("how", Three._fields)
    def test_once_back_it_is_transferred_alike(self, small: Three, how: str, tmp_path: Path) -> None:
        predictor: AccuracyPredictor = getattr(small, how)
        predictor.save(tmp_path / "p.safetensors")
        loaded, more = type(predictor).load(tmp_path / "p.safetensors", SPACE), some_pairs(20, 6)
        one, two = (
            p.transfer(more, np.random.default_rng(3)).predict(HELD_OUT.genomes) for p in (predictor, loaded)
        )
        assert np.array_equal(one.mean, two.mean)
        assert np.array_equal(one.half_width, two.half_width)

    @pytest.mark.parametrize("how", Three._fields)
    def test_the_file_holds_no_pickle(self, small: Three, how: str, tmp_path: Path) -> None:
        getattr(small, how).save(tmp_path / "p.safetensors")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["p.json", "p.safetensors"]
        content = (tmp_path / "p.safetensors").read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        assert content[8:9] == b"{"
        assert header < len(content)
        for mark in (b"sklearn.", b"csklearn", b"cnumpy", b"__reduce__", b"_pickle"):
            assert mark not in content

    def test_another_space_is_refused_and_its_genes_named(
        self, small: Three, tmp_path: Path, tiny_space: MBConvSpace
    ) -> None:
        small.second.save(tmp_path / "p.safetensors")
        for load in (type(small.second).load, load_predictor):
            with pytest.raises(OtherSpaceError, match=r"genes that differ: \w+.*stage\d"):
                load(tmp_path / "p.safetensors", tiny_space)

    def test_another_kind_is_refused(self, small: Three, tmp_path: Path) -> None:
        small.first.save(tmp_path / "p.safetensors")
        other = next(name for name in PREDICTORS.names() if name != small.first.kind)
        with pytest.raises(CorruptFileError, match=f"no predictor of kind '{other}'"):
            PREDICTORS.get(other).load(tmp_path / "p.safetensors", SPACE)

    def test_missing_and_damaged_files_are_errors(self, small: Three, tmp_path: Path) -> None:
        path, predictor = tmp_path / "p.safetensors", small.second
        with pytest.raises(MissingFileError):
            type(predictor).load(path, SPACE)
        predictor.save(path)
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(CorruptFileError):
            type(predictor).load(path, SPACE)
