"""Fitting to a table: which pairs are learned how, and that no pair is judged by which was learned from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bitfront.predictors import PREDICTORS
from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.predictors.fitting import Fitted, fit_and_judge, is_fp32, judge
from bitfront.predictors.metrics import judged
from bitfront.predictors.options import OptionValue
from bitfront.predictors.predictor import AccuracyPredictor, Prediction, Suggests
from bitfront.supernet.genes import Choice, GeneKind, Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.spaces.proxyless import proxyless

SPACE = digits()
REAL: Mapping[GeneKind, Choice] = {"weight_format": "fp32", "activation_format": "fp32"}


class Spy(AccuracyPredictor):
    """Remembers everything that it was ever given to learn from, by way of learning."""

    kind: ClassVar[str] = "spy"

    def __init__(self, seen: dict[str, Pairs]) -> None:
        self.seen = seen
        self.pairs = list(seen.values())[-1]

    @classmethod
    def fit(
        cls,
        space: SearchSpace,
        pairs: Pairs,
        rng: np.random.Generator,
        options: Mapping[str, OptionValue] | None = None,
    ) -> Self:
        return cls({"fit": pairs.checked(space, 10)})

    @classmethod
    def from_scratch(
        cls,
        space: SearchSpace,
        pairs: Pairs,
        rng: np.random.Generator,
        options: Mapping[str, OptionValue] | None = None,
    ) -> Self:
        return cls({"from_scratch": pairs.checked(space, 10)})

    def transfer(self, pairs: Pairs, rng: np.random.Generator) -> Self:
        return type(self)({**self.seen, "transfer": pairs})

    @classmethod
    def suggest(cls, trial: Suggests) -> dict[str, OptionValue]:
        return {}

    def predict(self, genomes: Genomes) -> Prediction:
        return Prediction(np.linspace(0, 1, len(genomes)), np.full(len(genomes), 0.1))

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        raise NotImplementedError

    @classmethod
    def _restored(cls, *arguments: object) -> Self:
        raise NotImplementedError


@cache
def drawn(seed: int) -> tuple[Genomes, Genomes]:
    """Different fp32 genomes, and quantized ones."""
    genomes = SPACE.sample(150, np.random.default_rng(seed), "sizes")
    return np.unique(SPACE.assign(genomes, REAL), axis=0), genomes[~is_fp32(SPACE, genomes)]


def some_pairs(real: int, quantized: int, seed: int = 0) -> Pairs:
    """So many different fp32 and quantized pairs, mixed."""
    rng = np.random.default_rng(seed)
    first, second = (some[:n] for some, n in zip(drawn(seed), (real, quantized), strict=True))
    genomes = np.concatenate([first, second])[rng.permutation(real + quantized)]
    return Pairs(genomes, rng.uniform(0.5, 0.9, len(genomes)))


def fitted(pairs: Pairs, seed: int = 0, **options: Any) -> Fitted:
    return fit_and_judge(Spy, SPACE, pairs, np.random.default_rng(seed), **options)


def seen(result: Fitted) -> dict[str, Pairs]:
    assert isinstance(result.predictor, Spy)
    return result.predictor.seen


def keys(pairs: Pairs) -> set[bytes]:
    return {genome.tobytes() for genome in pairs.genomes}


class TestIsFp32:
    @given(st.integers(0, 2**32))
    def test_it_is_what_the_layers_say(self, tiny_space: MBConvSpace, seed: int) -> None:
        rng = np.random.default_rng(seed)
        genomes = tiny_space.assign(tiny_space.sample(4, rng), REAL)
        one = tiny_space.sample(4, rng)
        column = int(rng.integers(tiny_space.n_genes))
        genomes[:2, column] = one[:2, column]
        genomes = tiny_space.repair(np.concatenate([genomes, one]))
        expected = [
            all(
                (layer.weight_format, layer.activation_format) == ("fp32", "fp32")
                for layer in tiny_space.layers(g)
            )
            for g in genomes
        ]
        assert is_fp32(tiny_space, genomes).tolist() == expected

    def test_a_space_without_fp32_has_none(self) -> None:
        space = proxyless()
        assert not is_fp32(space, space.sample(5, np.random.default_rng(0))).any()


class TestWay:
    def test_transferred_where_both_are_enough(self) -> None:
        pairs = some_pairs(30, 40)
        result = fitted(pairs)
        assert result.how == "transferred"
        assert list(seen(result)) == ["fit", "transfer"]
        assert is_fp32(SPACE, seen(result)["fit"].genomes).all()
        assert not is_fp32(SPACE, seen(result)["transfer"].genomes).any()
        assert (result.fp32_pairs, result.other_pairs) == (24, 32)
        assert not is_fp32(SPACE, result.judgement.held_out.genomes).any()
        assert len(result.judgement.held_out) == 8
        assert result.before is not None
        assert is_fp32(SPACE, result.before.held_out.genomes).all()
        assert len(result.before.held_out) == 6

    def test_fp32_alone(self) -> None:
        result = fitted(some_pairs(30, 0))
        assert (result.how, result.fp32_pairs, result.other_pairs) == ("fp32", 24, 0)
        assert list(seen(result)) == ["fit"]

    def test_rows_are_not_called_fp32_where_all_others_are_held_out(self) -> None:
        result = fitted(some_pairs(60, 1), held_out=0.6)
        assert is_fp32(SPACE, seen(result)["from_scratch"].genomes).all()
        assert (result.how, result.fp32_pairs, result.other_pairs) == ("from scratch", 24, 0)
        assert (~is_fp32(SPACE, result.judgement.held_out.genomes)).sum() == 1

    @pytest.mark.parametrize(("real", "quantized"), [(0, 40), (11, 40), (40, 11)])
    def test_at_once_where_one_of_them_is_too_few(self, real: int, quantized: int) -> None:
        result = fitted(some_pairs(real, quantized))
        assert result.how == "from scratch"
        assert list(seen(result)) == ["from_scratch"]
        assert len(result.judgement.held_out) == real + quantized - len(seen(result)["from_scratch"])

    def test_at_once_where_it_is_wanted_and_judged_by_the_same_pairs(self) -> None:
        pairs = some_pairs(30, 40)
        result = fitted(pairs, from_scratch=True)
        assert list(seen(result)) == ["from_scratch"]
        assert len(seen(result)["from_scratch"]) == 24 + 32
        assert keys(result.judgement.held_out) == keys(fitted(pairs).judgement.held_out)

    def test_repeated_genomes_count_once(self) -> None:
        pairs = some_pairs(30, 40)
        again = Pairs(np.concatenate([pairs.genomes] * 3), np.tile(pairs.accuracy, 3))
        assert keys(fitted(again).judgement.held_out) == keys(fitted(pairs).judgement.held_out)
        assert fitted(again).other_pairs == 32


@given(
    real=st.integers(0, 40),
    quantized=st.integers(0, 40),
    share=st.floats(0.05, 0.6),
    scratch=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_no_pair_is_judged_by_that_was_learned(
    real: int, quantized: int, share: float, scratch: bool, seed: int
) -> None:
    pairs = some_pairs(real, quantized)
    doubled = Pairs(np.concatenate([pairs.genomes] * 2), np.tile(pairs.accuracy, 2))
    try:
        result = fitted(doubled, seed, held_out=share, from_scratch=scratch)
    except InvalidPairsError:
        assert real + quantized < 25
        return
    learned = set().union(*map(keys, seen(result).values()))
    judgements = [result.judgement, *([result.before] if result.before else [])]
    for judgement in judgements:
        assert len(judgement.held_out) >= 2
        assert not learned & keys(judgement.held_out)
    assert len(learned) == result.fp32_pairs + result.other_pairs
    truth = dict(zip((genome.tobytes() for genome in pairs.genomes), pairs.accuracy, strict=True))
    for judgement in judgements:
        for genome, accuracy in zip(judgement.held_out.genomes, judgement.held_out.accuracy, strict=True):
            assert truth[genome.tobytes()] == accuracy


class TestRefused:
    @pytest.mark.parametrize("share", [0.0, 1.0, -0.2, 20.0, float("nan")])
    def test_no_share(self, share: float) -> None:
        with pytest.raises(InvalidPairsError, match=f"held_out is {share}"):
            fitted(some_pairs(30, 0), held_out=share)

    def test_too_few_pairs_say_how_many_are_held_out(self) -> None:
        with pytest.raises(InvalidPairsError, match="too few different genomes to fit a predictor, 9") as caught:
            fitted(some_pairs(11, 0))
        assert caught.value.__notes__ == ["of 11 different genomes 2 are held out"]

    def test_too_few_to_judge_by(self) -> None:
        predictor = Spy({"fit": some_pairs(12, 0)})
        with pytest.raises(InvalidPairsError, match="1 held-out pairs are too few to judge"):
            judge(predictor, some_pairs(1, 0))


@pytest.mark.parametrize(("n", "words"), [(2, "only 2 pairs judge it"), (19, "only 19 pairs judge it"), (20, "")])
def test_few_pairs_to_judge_by_are_told(n: int, words: str) -> None:
    notes = judge(Spy({"fit": some_pairs(12, 0)}), some_pairs(n, 0)).notes()
    assert bool(notes) == bool(words)
    assert words in " ".join(notes)


class TestRealOne:
    def test_metrics_are_those_of_the_held_out_pairs_and_the_seed_decides(self) -> None:
        pairs, kind = some_pairs(60, 80), PREDICTORS.get("ridge")
        learnable = Pairs(
            pairs.genomes, 0.5 + SPACE.encode(pairs.genomes) @ np.linspace(0, 0.01, SPACE.encoding_width)
        )
        one, two = (fit_and_judge(kind, SPACE, learnable, np.random.default_rng(4)) for _ in range(2))
        out = one.judgement.held_out
        assert one.judgement.metrics == judged(one.predictor.predict(out.genomes), out.accuracy)
        assert one.judgement.metrics == two.judgement.metrics
        assert one.judgement.metrics["kendall_tau"] > 0.5
        other = fit_and_judge(kind, SPACE, learnable, np.random.default_rng(5))
        assert keys(other.judgement.held_out) != keys(out)

    def test_noise_is_not_found_to_be_learned(self) -> None:
        taus = [
            fit_and_judge(
                PREDICTORS.get("ridge"), SPACE, some_pairs(60, 80, seed), np.random.default_rng(seed), held_out=0.5
            ).judgement.metrics["kendall_tau"]
            for seed in range(6)
        ]
        assert abs(np.mean(taus)) < 0.15
