"""Tuning, of a predictor whose quality follows from its options in a known way, and of real ones."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from torch import Tensor

from bitfront.predictors import PREDICTORS
from bitfront.predictors.cross_validation import FOLDS, LearningPairs, fold_scores
from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.predictors.fitting import fit_and_judge
from bitfront.predictors.metrics import pairwise_accuracy
from bitfront.predictors.options import InvalidOptionError, OptionValue, require
from bitfront.predictors.predictor import AccuracyPredictor, Prediction, Suggests
from bitfront.predictors.tuning import Tuned, Tuning, tune
from bitfront.supernet.errors import NumericalError, StorageError, UnknownNameError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace

SPACE = digits()


def truth(genomes: Genomes) -> NDArray[np.float64]:
    accuracy: NDArray[np.float64] = 0.5 + genomes.sum(axis=1) / 500 + genomes[:, 0] / 100
    return accuracy


def some_pairs(n: int, seed: int, real: bool = False) -> Pairs:
    genomes = SPACE.sample(n, np.random.default_rng(seed))
    if real:
        genomes = SPACE.assign(genomes, {"weight_format": "fp32", "activation_format": "fp32"})
    return Pairs(genomes, truth(genomes))


FP32, OTHERS = some_pairs(40, 0, real=True), some_pairs(50, 1)
BOTH = Pairs(np.concatenate([FP32.genomes, OTHERS.genomes]), np.concatenate([FP32.accuracy, OTHERS.accuracy]))
WAYS = {
    "fp32": LearningPairs(fp32=FP32),
    "from scratch": LearningPairs(others=OTHERS),
    "transferred": LearningPairs(FP32, OTHERS),
}


@dataclass(frozen=True)
class KnownOptions:
    """The nearer ``aim`` is to 0.3, the better; ``spice`` decides nothing."""

    aim: float = 0.9
    spice: str = "none"

    def __post_init__(self) -> None:
        require(0 <= self.aim <= 1, "aim", self.aim, "from 0 to 1")


class Known(AccuracyPredictor):
    """Says the truth, and noise beside it; writes down what it learned and was asked."""

    kind: ClassVar[str] = "known"
    Options: ClassVar[type[Any]] = KnownOptions
    learned: ClassVar[list[tuple[str, Pairs]]] = []
    asked: ClassVar[list[tuple[Pairs, Genomes]]] = []

    def __init__(self, space: SearchSpace, pairs: Pairs, options: KnownOptions) -> None:
        self.space, self.pairs, self.options = space, pairs, options

    @classmethod
    def _learn(cls, way: str, space: SearchSpace, pairs: Pairs, options: KnownOptions) -> Self:
        cls.learned.append((way, pairs))
        if options.aim > 0.95:
            raise NumericalError("it diverged")
        return cls(space, pairs, options)

    @classmethod
    def fit(
        cls,
        space: SearchSpace,
        pairs: Pairs,
        rng: np.random.Generator,
        options: Mapping[str, OptionValue] | None = None,
    ) -> Self:
        return cls._learn("fit", space, pairs, cls.read_options(options))

    @classmethod
    def from_scratch(
        cls,
        space: SearchSpace,
        pairs: Pairs,
        rng: np.random.Generator,
        options: Mapping[str, OptionValue] | None = None,
    ) -> Self:
        return cls._learn("from_scratch", space, pairs, cls.read_options(options))

    def transfer(self, pairs: Pairs, rng: np.random.Generator) -> Self:
        return self._learn("transfer", self.space, pairs, self.options)

    @classmethod
    def suggest(cls, trial: Suggests) -> dict[str, OptionValue]:
        return {
            "aim": trial.suggest_float("aim", 0.0, 1.0),
            "spice": trial.suggest_categorical("spice", ("none", "salt")),
        }

    def predict(self, genomes: Genomes) -> Prediction:
        self.asked.append((self.pairs, genomes))
        noise = np.random.default_rng(genomes.sum()).standard_normal(len(genomes))
        return Prediction(truth(genomes) + abs(self.options.aim - 0.3) * 0.1 * noise, np.ones(len(genomes)))

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        raise AssertionError("tuning keeps no predictors")

    @classmethod
    def _restored(
        cls, space: SearchSpace, options: Any, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
    ) -> Self:
        raise AssertionError("tuning loads no predictors")


@pytest.fixture(autouse=True)
def unwatched() -> Iterator[None]:
    Known.learned.clear()
    Known.asked.clear()
    yield
    Known.learned.clear()
    Known.asked.clear()


def tuned(
    trials: int,
    storage: Path | None = None,
    pairs: LearningPairs = WAYS["transferred"],
    seed: int = 0,
    given: Mapping[str, OptionValue] | None = None,
    kind: type[AccuracyPredictor] = Known,
    space: SearchSpace = SPACE,
) -> Tuned:
    return tune(kind, space, pairs, Tuning(trials, storage), np.random.default_rng(seed), given)


def states(storage: Path) -> list[str]:
    """Of all trials of the only study, in order."""
    url = f"sqlite:///{storage}"
    (name,) = optuna.get_all_study_names(url)
    return [trial.state.name for trial in optuna.load_study(study_name=name, storage=url).get_trials()]


class TestFolds:
    @pytest.mark.parametrize("way", WAYS)
    def test_no_fold_is_learned_by_what_is_asked_about_it(self, way: str) -> None:
        scores = list(fold_scores(Known, SPACE, WAYS[way], {}, 5))
        assert len(scores) == len(Known.asked) == FOLDS
        held_out = np.concatenate([genomes for _, genomes in Known.asked])
        last = WAYS[way].last
        assert sorted(map(bytes, held_out)) == sorted(map(bytes, last.genomes))
        for learned, genomes in Known.asked:
            assert not {*map(bytes, learned.genomes)} & {*map(bytes, genomes)}
            assert len(learned) + len(genomes) == len(last)

    def test_fp32_pairs_are_learned_once_and_all_of_them(self) -> None:
        list(fold_scores(Known, SPACE, WAYS["transferred"], {}, 5))
        assert [way for way, _ in Known.learned] == ["fit", *["transfer"] * FOLDS]
        assert Known.learned[0][1].hash() == FP32.hash()

    @pytest.mark.parametrize(("way", "how"), [("fp32", "fit"), ("from scratch", "from_scratch")])
    def test_one_set_of_pairs_is_learned_in_its_own_way(self, way: str, how: str) -> None:
        list(fold_scores(Known, SPACE, WAYS[way], {}, 5))
        assert {way for way, _ in Known.learned} == {how}

    def test_scores_are_pairwise_accuracies_on_the_fold(self) -> None:
        scores = list(fold_scores(Known, SPACE, WAYS["transferred"], {"aim": 0.8}, 5))
        predictor = Known(SPACE, OTHERS, KnownOptions(0.8))
        held_out = [genomes for _, genomes in Known.asked]
        expected = [pairwise_accuracy(predictor.predict(genomes).mean, truth(genomes)) for genomes in held_out]
        assert scores == expected
        assert 0.5 < np.mean(scores) < 0.99

    def test_other_options_are_compared_on_the_same_folds(self) -> None:
        for aim in (0.1, 0.5):
            list(fold_scores(Known, SPACE, WAYS["transferred"], {"aim": aim}, 5))
        folds = [genomes.tobytes() for _, genomes in Known.asked]
        assert folds[:FOLDS] == folds[FOLDS:]

    def test_repeated_genomes_are_on_one_side(self) -> None:
        twice = Pairs(np.repeat(OTHERS.genomes, 2, axis=0), np.repeat(OTHERS.accuracy, 2))
        assert LearningPairs(others=twice).checked(SPACE).last.hash() == OTHERS.checked(SPACE).hash()

    def test_nothing_to_learn_is_refused(self) -> None:
        with pytest.raises(InvalidPairsError, match="no pairs"):
            LearningPairs()


class TestTune:
    @pytest.mark.parametrize("way", WAYS)
    def test_it_finds_what_is_better_than_the_defaults(self, way: str) -> None:
        found = tuned(25, pairs=WAYS[way])
        assert abs(float(found.options["aim"] or 0) - 0.3) < 0.1
        assert found.of_defaults is not None
        assert found.value > found.of_defaults + 0.1
        assert found.value == np.mean(list(fold_scores(Known, SPACE, WAYS[way], found.options, _seed(0))))
        assert (found.trials, found.known) == (25, 0)

    def test_bad_options_are_given_up_before_the_last_fold(self, tmp_path: Path) -> None:
        found = tuned(10, tmp_path / "t.sqlite")
        assert found.pruned == states(tmp_path / "t.sqlite").count("PRUNED") > 0
        assert states(tmp_path / "t.sqlite").count("COMPLETE") == 10 - found.pruned
        # One fold alone never decides.
        assert 10 * 2 <= len(Known.asked) < 10 * FOLDS

    def test_the_defaults_come_first(self) -> None:
        one = tuned(1)
        assert one.options == {"aim": 0.9, "spice": "none"}
        assert one.value == one.of_defaults

    def test_given_options_stay(self) -> None:
        found = tuned(10, given={"aim": 0.8})
        assert found.options["aim"] == 0.8
        assert {"aim", "spice"} == set(found.options)

    def test_the_same_generator_finds_the_same(self) -> None:
        assert tuned(15) == tuned(15)
        assert tuned(15).options != tuned(15, seed=1).options

    def test_a_database_changes_nothing(self, tmp_path: Path) -> None:
        assert tuned(8, tmp_path / "new" / "t.sqlite") == tuned(8)

    def test_diverging_options_are_bad_ones(self) -> None:
        """That is what an aim above 0.95 does."""
        found = tuned(6, given={"spice": "salt"}, kind=_Diverging)
        assert found.of_defaults is None
        assert found.pruned >= 1
        assert found.trials == 6

    def test_nothing_but_diverging_is_an_error(self) -> None:
        with pytest.raises(NumericalError, match="none of 3 options could be fitted"):
            tuned(3, given={"aim": 0.99})

    def test_only_the_pairs_that_are_given_are_looked_at(self) -> None:
        tuned(3)
        known = {*map(bytes, FP32.genomes), *map(bytes, OTHERS.genomes)}
        for _, genomes in Known.asked:
            assert {*map(bytes, genomes)} <= known

    def test_it_says_what_it_did(self) -> None:
        words = str(tuned(15))
        assert words.startswith("15 trials (")
        assert "pairwise accuracy by cross-validation" in words
        assert "aim 0." in words

    @pytest.mark.parametrize("name", sorted({*PREDICTORS.names()} - {"mlp"}))
    def test_real_predictors(self, name: str) -> None:
        kind = PREDICTORS.get(name)
        quick: dict[str, OptionValue] = {"trees": 5} if "trees" in kind.Options.__dataclass_fields__ else {}
        found = tuned(2, kind=kind, pairs=LearningPairs(others=OTHERS), given=quick)
        kind.read_options(found.options)
        assert found.of_defaults is not None
        assert found.value >= found.of_defaults > 0.5


@dataclass(frozen=True)
class _DivergingOptions(KnownOptions):
    aim: float = 0.99


class _Diverging(Known):
    """Its defaults diverge."""

    Options: ClassVar[type[Any]] = _DivergingOptions


@dataclass(frozen=True)
class _OtherOptions(KnownOptions):
    aim: float = 0.5


class _OtherDefaults(Known):
    """As another version of the same kind might have them."""

    Options: ClassVar[type[Any]] = _OtherOptions


class TestGoingOn:
    def test_more_trials_go_on_where_it_ended(self, tmp_path: Path) -> None:
        path = tmp_path / "t.sqlite"
        tuned(4, path)
        before = len(Known.learned)
        more = tuned(6, path)
        assert (more.trials, more.known) == (6, 4)
        assert len(Known.learned) <= before + 2 * (1 + FOLDS)
        assert more.options == tuned(6).options

    def test_fewer_trials_give_what_fewer_gave(self, tmp_path: Path) -> None:
        path = tmp_path / "t.sqlite"
        few = tuned(2, path)
        assert tuned(7, path).value > few.value
        Known.learned.clear()
        again = tuned(2, path)
        assert not Known.learned
        assert (again.options, again.value, again.trials, again.known) == (few.options, few.value, 2, 2)

    @pytest.mark.parametrize(
        "other",
        [
            {"pairs": LearningPairs(FP32, some_pairs(50, 2))},
            {"pairs": LearningPairs(some_pairs(40, 2, real=True), OTHERS)},
            {"pairs": WAYS["from scratch"]},
            {"pairs": LearningPairs(fp32=OTHERS)},
            {"seed": 1},
            {"given": {"spice": "salt"}},
            {"kind": _OtherDefaults},
        ],
        ids=["others", "fp32 pairs", "no transfer", "as fp32", "seed", "given", "defaults"],
    )
    def test_anything_else_is_another_study(self, tmp_path: Path, other: dict[str, Any]) -> None:
        path = tmp_path / "t.sqlite"
        tuned(1, path)
        assert tuned(1, path, **other).known == 0
        assert tuned(1, path).known == 1
        assert len(optuna.get_all_study_names(f"sqlite:///{path}")) == 2

    def test_another_space_is_another_study(self, tmp_path: Path, tiny_space: MBConvSpace) -> None:
        path, rng = tmp_path / "t.sqlite", np.random.default_rng(0)
        tuned(1, path)
        genomes = tiny_space.sample(30, rng)
        pairs = LearningPairs(others=Pairs(genomes, truth(genomes)))
        assert tuned(1, path, pairs=pairs, space=tiny_space).known == 0

    def test_whoever_listens_may_end_it(self, tmp_path: Path) -> None:
        path, told = tmp_path / "t.sqlite", []

        def listen(done: int, total: int) -> None:
            told.append((done, total))
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            tune(Known, SPACE, WAYS["transferred"], Tuning(5, path, listen), np.random.default_rng(0))
        assert told == [(1, 5), (2, 5), (3, 5)]
        assert tuned(5, path).options == tuned(5).options

    @pytest.mark.slow
    def test_killed_in_the_middle_of_a_trial_it_goes_on_as_if_nothing_had_happened(self, tmp_path: Path) -> None:
        path = tmp_path / "t.sqlite"
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "in the middle of trial 4\n"
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        before = states(path)
        assert before.count("RUNNING") == 1
        assert len(before) == 4
        ridge, pairs = PREDICTORS.get("ridge"), LearningPairs(others=OTHERS)
        found = tuned(8, path, kind=ridge, pairs=pairs)
        assert (found.trials, found.known) == (8, 3)
        after = states(path)
        assert after.count("COMPLETE") + after.count("PRUNED") == 8
        whole = tuned(8, kind=ridge, pairs=pairs)
        assert (found.options, found.value, found.pruned) == (whole.options, whole.value, whole.pruned)


# Its pairs are those of `some_pairs(50, 1)`; it waits in the third fold of the fourth trial.
_CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from bitfront.predictors.baselines.ridge import RidgePredictor
from bitfront.predictors.cross_validation import LearningPairs
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.tuning import Tuning, tune
from bitfront.supernet.spaces.digits import digits

mean, asked, finished = RidgePredictor.mean, [], []

def slow(self, genomes):
    asked.append(len(finished))
    if asked.count(3) == 3:
        print("in the middle of trial 4", flush=True)
        time.sleep(600)
    return mean(self, genomes)

RidgePredictor.mean = slow
genomes = digits().sample(50, np.random.default_rng(1))
pairs = Pairs(genomes, 0.5 + genomes.sum(axis=1) / 500 + genomes[:, 0] / 100)
tuning = Tuning(8, Path(sys.argv[1]), lambda done, total: finished.append(done))
tune(RidgePredictor, digits(), LearningPairs(others=pairs), tuning, np.random.default_rng(0))
"""


class TestBesideHeldOutPairs:
    @pytest.mark.parametrize(
        ("pairs", "from_scratch", "how", "before"),
        [
            (FP32, False, "fp32", None),
            (OTHERS, False, "from scratch", None),
            (BOTH, False, "transferred", "fp32"),
            (BOTH, True, "from scratch", None),
        ],
        ids=["fp32 alone", "others alone", "both", "both at once"],
    )
    def test_tuning_never_sees_them(self, pairs: Pairs, from_scratch: bool, how: str, before: str | None) -> None:
        fitted = fit_and_judge(
            Known, SPACE, pairs, np.random.default_rng(0), from_scratch=from_scratch, tuning=Tuning(3)
        )
        assert (fitted.how, fitted.before is not None) == (how, before is not None)
        assert fitted.tuned is not None
        assert asdict(fitted.predictor.options) == fitted.tuned.options
        held_out = {*map(bytes, fitted.judgement.held_out.genomes)}
        if fitted.before is not None:
            held_out |= {*map(bytes, fitted.before.held_out.genomes)}
        asked = [*Known.asked[: -2 if before else -1]]
        assert len(asked) == 3 * FOLDS
        for learned, genomes in asked:
            assert not held_out & {*map(bytes, learned.genomes)}
            assert not held_out & {*map(bytes, genomes)}
        for _, learned in Known.learned:
            assert not held_out & {*map(bytes, learned.genomes)}


class TestRefusing:
    @pytest.mark.parametrize("trials", [0, -3, 10_001])
    def test_numbers_of_trials(self, trials: int) -> None:
        with pytest.raises(InvalidOptionError, match=f"trials is {trials}"):
            Tuning(trials)

    def test_options_before_anything_is_tried(self) -> None:
        with pytest.raises(UnknownNameError, match="'aims'"):
            tuned(3, given={"aims": 1.0})
        with pytest.raises(InvalidOptionError, match="aim is"):
            tuned(3, given={"aim": 2.0})
        assert not Known.learned

    def test_too_few_pairs(self) -> None:
        with pytest.raises(InvalidPairsError, match="9 different genomes are too few for 5 folds"):
            tuned(3, pairs=LearningPairs(FP32, some_pairs(9, 1)))
        with pytest.raises(InvalidPairsError, match="too few different genomes"):
            tuned(3, pairs=LearningPairs(others=some_pairs(11, 1)), kind=PREDICTORS.get("ridge"))

    def test_what_the_fit_refuses_ends_it_and_is_no_finished_trial(self, tmp_path: Path) -> None:
        path, pairs = tmp_path / "t.sqlite", LearningPairs(others=some_pairs(11, 1))
        with pytest.raises(InvalidPairsError):
            tuned(3, path, kind=PREDICTORS.get("ridge"), pairs=pairs)
        assert states(path) == ["FAIL"]

    def test_files_that_hold_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "t.sqlite").write_bytes(b"this is no database at all, but it is long enough" * 50)
        with pytest.raises(StorageError, match=r"t\.sqlite"):
            tuned(3, tmp_path / "t.sqlite")
        assert (tmp_path / "t.sqlite").read_bytes().startswith(b"this is no database")

    def test_places_where_nothing_can_be_kept(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError, match="can not be kept"):
            tuned(3, tmp_path / "file" / "t.sqlite")

    def test_a_database_that_can_only_be_read(self, tmp_path: Path) -> None:
        tuned(1, tmp_path / "t.sqlite")
        place = Tuning(2, f"sqlite:///file:{tmp_path / 't.sqlite'}?mode=ro&uri=true")
        with pytest.raises(StorageError, match=r"can not be kept in the given database \(.*readonly"):
            tune(Known, SPACE, WAYS["transferred"], place, np.random.default_rng(0))

    def test_a_password_is_not_told(self) -> None:
        with pytest.raises(StorageError, match="can not be kept in the given database") as caught:
            tune(
                Known,
                SPACE,
                WAYS["transferred"],
                Tuning(1, "nonsense://me:secret@nowhere/x"),
                np.random.default_rng(0),
            )
        assert "secret" not in str(caught.value)


def _seed(seed: int) -> int:
    """The one that `tune` draws."""
    return int(np.random.default_rng(seed).integers(2**63))
