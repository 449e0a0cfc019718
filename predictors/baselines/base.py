"""What the baselines have in common: two ways to use fp32 pairs, calibrated intervals, files without pickles."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from torch import Tensor

from bitfront.predictors.baselines.columns import FEATURES, STEPS, Columns, Floats
from bitfront.predictors.baselines.model import Answer, Ask, Model, plain
from bitfront.predictors.baselines.reliance import Reliance
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.options import OptionValue, require
from bitfront.predictors.predictor import AccuracyPredictor, Prediction, Suggests
from bitfront.predictors.stored import OtherPredictionsError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

POOLED, DROP = "pooled", "drop"
TRANSFERS = (POOLED, DROP)
_LEAST_PAIRS = 10
_FOLDS = 5
_TOLERANCE = 1e-6
_MAKER = "scikit-learn"


@dataclass(frozen=True)
class BaselineOptions:
    """What every baseline can be told.

    Attributes:
        features: ``steps`` (those of `FeatureMap`) or ``one_hot`` (those of `SearchSpace.encode`).
        transfer: ``drop``: a second regressor learns what quantized pairs measure less than the fp32 one predicts;
            ``pooled``: one regressor learns fp32 and quantized pairs together.

    Raises:
        InvalidOptionError: a value is out of range.
    """

    features: str = STEPS
    transfer: str = DROP

    def __post_init__(self) -> None:
        require(self.features in FEATURES, "features", self.features, f"one of {', '.join(FEATURES)}")
        require(self.transfer in TRANSFERS, "transfer", self.transfer, f"one of {', '.join(TRANSFERS)}")


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pairs to learn, whether their policies are seen, and the seed of what is random about learning them."""

    pairs: Pairs
    with_policy: bool
    seed: int


class Baseline(AccuracyPredictor):
    """A regressor of scikit-learn on genome columns of one common scale.

    It can not be fine-tuned. What it may know of fp32 pairs when it learns quantized ones is said by the option
    ``transfer``. Half widths come from the residuals of five folds (cross-conformal, Vovk 2015).

    It is stored as the pairs that it learned; `load` fits again and compares with what was predicted before.
    """

    options: BaselineOptions

    def __init__(
        self,
        space: SearchSpace,
        options: BaselineOptions,
        first: Lesson,
        second: Lesson | None = None,
        base: Model | None = None,
        reliance: Reliance | None = None,
    ) -> None:
        self.space = space
        self.options = options
        self.first = first
        self.second = second
        self.pairs = (second or first).pairs
        self.earlier = first.pairs if second else None
        self.with_policy = first.with_policy or second is not None
        self._columns = Columns(space, options.features)
        self._drops = second is not None and options.transfer == DROP
        self._base = (base or self._learned_alone(first.pairs)) if self._drops else None
        self._model = self._learned(self.pairs)
        self._reliance = reliance

    # -- what a kind says -------------------------------------------------------------------------------

    ask: ClassVar[Ask] = staticmethod(plain)

    @classmethod
    @abstractmethod
    def regressor(cls, options: Any, seed: int) -> Any:
        """An unfitted regressor of scikit-learn for rows at a mean squared distance of 1 from their centre, and
        targets of mean 0 and variance 1.
        """

    # -- learning ---------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        space: SearchSpace,
        pairs: Pairs,
        rng: np.random.Generator,
        options: Mapping[str, OptionValue] | None = None,
    ) -> Self:
        """See `AccuracyPredictor.fit`."""
        return cls(space, cls.read_options(options), _lesson(space, pairs, rng, with_policy=False))

    @classmethod
    def from_scratch(
        cls,
        space: SearchSpace,
        pairs: Pairs,
        rng: np.random.Generator,
        options: Mapping[str, OptionValue] | None = None,
    ) -> Self:
        """See `AccuracyPredictor.from_scratch`."""
        return cls(space, cls.read_options(options), _lesson(space, pairs, rng, with_policy=True))

    def transfer(self, pairs: Pairs, rng: np.random.Generator) -> Self:
        """See `AccuracyPredictor.transfer`."""
        base = self._base if self.second else self._model
        new = pairs.checked(self.space, _LEAST_PAIRS).new_to(self.first.pairs, _LEAST_PAIRS)
        second = _lesson(self.space, new, rng, with_policy=True)
        return type(self)(self.space, self.options, self.first, second, base)

    def _learned(self, pairs: Pairs) -> Model:
        """The model that learned ``pairs``, some or all of its last lesson, after what came before."""
        if self.second is None:
            return self._learned_alone(pairs)
        x, y = self._joined(pairs.genomes), pairs.accuracy
        if self._base is not None:
            return self._fitted(x, y - self._base(self._seen(pairs.genomes)).mean, self.second.seed)
        earlier = self._joined(self.first.pairs.genomes, real=not self.first.with_policy)
        return self._fitted(
            np.concatenate([earlier, x]), np.concatenate([self.first.pairs.accuracy, y]), self.second.seed
        )

    def _learned_alone(self, pairs: Pairs) -> Model:
        return self._fitted(self._seen(pairs.genomes), pairs.accuracy, self.first.seed)

    def _fitted(self, x: Floats, y: Floats, seed: int) -> Model:
        return Model.fitted(self.regressor(self.options, seed), type(self).ask, x, y)

    def _seen(self, genomes: Genomes) -> Floats:
        """Columns that the first lesson is about."""
        return self._joined(genomes) if self.first.with_policy else self._columns(genomes)[0]

    def _joined(self, genomes: Genomes, real: bool = False) -> Floats:
        """All columns; measured in ``real`` numbers, a genome has no formats, whatever its genes say."""
        architecture, policy = self._columns(genomes)
        return np.concatenate([architecture, np.zeros_like(policy) if real else policy], axis=1)

    def _left_out(self) -> Answer:
        """What is said of each pair, (n,), by a model that learned the other folds but not this one's."""
        pairs = self.pairs
        means, spreads = np.zeros(len(pairs)), np.zeros(len(pairs))
        fold = np.random.default_rng((self.second or self.first).seed).permutation(len(pairs)) % _FOLDS
        for one in range(_FOLDS):
            rows = np.flatnonzero(fold == one)
            model = self._learned(pairs.take(np.flatnonzero(fold != one)))
            means[rows], spreads[rows] = model(self._inputs(pairs.genomes[rows]))
        return Answer(means, spreads)

    # -- asking -----------------------------------------------------------------------------------------

    def predict(self, genomes: Genomes) -> Prediction:
        """See `AccuracyPredictor.predict`."""
        mean, spread = self._asked(genomes)
        return Prediction(mean, self.reliance.calibration.half_width(spread))

    def mean(self, genomes: Genomes) -> Floats:
        """See `AccuracyPredictor.mean`; where nothing is to be shrunk, it needs no calibration."""
        return self._asked(genomes).mean

    @property
    def reliance(self) -> Reliance:
        """How far answers can be relied on; it costs as much as five fits, when it is first asked for."""
        if self._reliance is None:
            base = self._base(self._seen(self.pairs.genomes)) if self._base else None
            self._reliance = Reliance.of(self._left_out(), base, self.pairs.accuracy)
        return self._reliance

    def _asked(self, genomes: Genomes) -> Answer:
        answer = self._model(self._inputs(genomes))
        if self._base is None:
            return answer
        return self.reliance.joined(self._base(self._seen(genomes)), answer)

    def _inputs(self, genomes: Genomes) -> Floats:
        """Columns that the last lesson is about."""
        return self._seen(genomes) if self.second is None else self._joined(genomes)

    # -- keeping ----------------------------------------------------------------------------------------

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"predicted": torch.from_numpy(self.mean(self.pairs.genomes))}
        lessons = {}
        for name, lesson in (("first", self.first), ("second", self.second)):
            if lesson is not None:
                tensors[f"{name}.genomes"] = torch.from_numpy(lesson.pairs.genomes)
                tensors[f"{name}.accuracy"] = torch.from_numpy(lesson.pairs.accuracy)
                lessons[name] = {"with_policy": lesson.with_policy, "seed": lesson.seed}
        values = {"lessons": lessons, "reliance": asdict(self.reliance), "made_by": version(_MAKER)}
        return tensors, values

    @classmethod
    def _restored(
        cls, space: SearchSpace, options: Any, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
    ) -> Self:
        lessons = {
            name: Lesson(
                Pairs(tensors[f"{name}.genomes"].numpy(), tensors[f"{name}.accuracy"].numpy()),
                bool(about["with_policy"]),
                int(about["seed"]),
            )
            for name, about in values["lessons"].items()
        }
        reliance = Reliance.restored(values["reliance"])
        again = cls(space, options, lessons["first"], lessons.get("second"), reliance=reliance)
        again._compare(tensors["predicted"].numpy(), str(values["made_by"]))
        return again

    @final
    def _compare(self, before: Floats, made_by: str) -> None:
        """Refuse to go on as if nothing had happened where fitting gives another predictor than it gave."""
        off = float(np.abs(self.mean(self.pairs.genomes) - before).max())
        if off > _TOLERANCE:
            here, anew = version(_MAKER), "delete the file and fit it anew"
            why = (
                "its scikit-learn was another build, or the machine computes otherwise: " + anew
                if made_by == here
                else f"it was made with {_MAKER} {made_by}, this is {here}: install that version, or {anew}"
            )
            raise OtherPredictionsError(f"comes out otherwise when fitted again, off by up to {off:.2g}; {why}")


def _lesson(space: SearchSpace, pairs: Pairs, rng: np.random.Generator, with_policy: bool) -> Lesson:
    return Lesson(pairs.checked(space, _LEAST_PAIRS), with_policy, int(rng.integers(2**31)))


def suggest_shared(trial: Suggests) -> dict[str, OptionValue]:
    """Values for the options that all baselines have."""
    return {
        "features": trial.suggest_categorical("features", FEATURES),
        "transfer": trial.suggest_categorical("transfer", TRANSFERS),
    }
