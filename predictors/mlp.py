"""The accuracy predictor: an ensemble of MLPs, fitted to fp32 pairs and transferred to quantized ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import Tensor

from bitfront.predictors.conformal import Calibration
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.ensemble import Schedule
from bitfront.predictors.features import FeatureMap, Floats32
from bitfront.predictors.folded import FoldedNetwork
from bitfront.predictors.network import FOLDS, Floats, Learned, Network, Scaling, Shape, learned
from bitfront.predictors.options import OptionValue, require
from bitfront.predictors.predictor import COVERAGE, AccuracyPredictor, Prediction, Suggests
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

_LEAST_PAIRS = 10
_TRANSFERS = ("drop", "finetune")


@dataclass(frozen=True, slots=True)
class MLPOptions:
    """How the MLPs are fitted.

    Attributes:
        members: networks whose mean is the prediction; with fewer than 5 all half widths are the same.
        hidden: width of the three hidden layers; APQ's single network has 400.
        epochs: passes over the pairs; more of them where they would make fewer steps than ``steps``.
        steps: how many steps, with 32 pairs each, there are at least.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        ranking: weight of a ranking loss beside the squared error.
        numeric: whether operations, parameters and bytes are inputs beside the genes.
        transfer: ``drop`` leaves the fp32 networks as they are and has further ones learn what quantization costs;
            ``finetune`` joins the inputs of the policy to them and goes on training (APQ).

    Raises:
        InvalidOptionError: a value is out of range.
    """

    members: int = FOLDS
    hidden: int = 256
    epochs: int = 40
    steps: int = 240
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    ranking: float = 0.0
    numeric: bool = True
    transfer: str = "drop"

    def __post_init__(self) -> None:
        require(1 <= self.members <= 100, "members", self.members, "from 1 to 100")
        require(1 <= self.hidden <= 10_000, "hidden", self.hidden, "from 1 to 10000")
        require(1 <= self.epochs <= 10_000, "epochs", self.epochs, "from 1 to 10000")
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "from 1 to 1000000")
        require(0 < self.learning_rate <= 1, "learning_rate", self.learning_rate, "above 0, at most 1")
        require(0 <= self.weight_decay <= 100, "weight_decay", self.weight_decay, "from 0 to 100")
        require(0 <= self.ranking <= 100, "ranking", self.ranking, "from 0 to 100")
        require(self.transfer in _TRANSFERS, "transfer", self.transfer, f"one of {', '.join(_TRANSFERS)}")

    @property
    def shape(self) -> Shape:
        """Of the networks."""
        return Shape(self.members, self.hidden)

    @property
    def schedule(self) -> Schedule:
        """Of the fit."""
        return Schedule(
            epochs=self.epochs,
            steps=self.steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            ranking=self.ranking,
        )


@dataclass(frozen=True, slots=True)
class Taught:
    """What one set of pairs made.

    Attributes:
        pairs: that were learned.
        with_policy: whether the network sees policies.
        network: that learned them.
        calibration: of what the predictor then says.
    """

    pairs: Pairs
    with_policy: bool
    network: Network
    calibration: Calibration

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """For a file."""
        return {
            **self.network.tensors(prefix),
            f"{prefix}.genomes": torch.from_numpy(self.pairs.genomes),
            f"{prefix}.accuracy": torch.from_numpy(self.pairs.accuracy),
        }

    @property
    def values(self) -> dict[str, Any]:
        """For a file, beside `tensors`."""
        return {"with_policy": self.with_policy, **asdict(self.calibration)}

    @classmethod
    def restored(cls, prefix: str, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        """Back from both.

        Raises:
            KeyError, TypeError, ValueError: a part is missing or of another form.
        """
        return cls(
            Pairs(tensors[f"{prefix}.genomes"].numpy(), tensors[f"{prefix}.accuracy"].numpy()),
            bool(values["with_policy"]),
            Network.restored(tensors, prefix),
            Calibration(float(values["quantile"]), float(values["floor"])),
        )


@final
class MLPPredictor(AccuracyPredictor):
    """Three hidden layers on `FeatureMap` (APQ, Wang et al. 2020, section 3.3), a few members.

    What is fitted leaves out a fifth of the pairs in turn, and half widths are calibrated there (`conformal`).

    Transfer by ``drop``: further networks learn the measured accuracy of quantized pairs minus the fp32
    prediction, from architecture, policy and that prediction; what they say is made smaller by the factor that
    fits best where they have not seen the pairs, so that with few or noisy pairs little is added to the fp32
    prediction. Transfer by ``finetune``: policy inputs join the first layer with weights of 0, so that the
    predictor begins at the accuracy of the fp32 network; it is fine-tuned on quantized pairs, with fp32 pairs
    mixed in so that they are not forgotten.
    """

    kind: ClassVar[str] = "mlp"
    Options: ClassVar[type[Any]] = MLPOptions

    def __init__(
        self, space: SearchSpace, options: MLPOptions, first: Taught, second: Taught | None = None
    ) -> None:
        self.space = space
        self.options: MLPOptions = options
        self.first = first
        self.second = second
        self.pairs = (second or first).pairs
        self.earlier = first.pairs if second else None
        self.with_policy = first.with_policy or second is not None
        self._features = FeatureMap(space, options.numeric)

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
        return cls._fit(space, pairs, rng, cls.read_options(options), with_policy=False)

    @classmethod
    def from_scratch(
        cls,
        space: SearchSpace,
        pairs: Pairs,
        rng: np.random.Generator,
        options: Mapping[str, OptionValue] | None = None,
    ) -> Self:
        """See `AccuracyPredictor.from_scratch`."""
        return cls._fit(space, pairs, rng, cls.read_options(options), with_policy=True)

    @classmethod
    def _fit(
        cls, space: SearchSpace, pairs: Pairs, rng: np.random.Generator, options: MLPOptions, with_policy: bool
    ) -> Self:
        pairs, generator = pairs.checked(space, _LEAST_PAIRS), _generator(rng)
        architecture, policy = FeatureMap(space, options.numeric)(pairs.genomes)
        scaling = Scaling.of(architecture, pairs.accuracy)
        features = architecture
        if with_policy:
            scaling, features = scaling.joined(policy), np.concatenate([architecture, policy], axis=1)
        found = learned(features, pairs.accuracy, scaling, options.shape, options.schedule, generator)
        calibration = _calibrated(found.unseen, found.network.outputs(features), pairs)
        return cls(space, options, Taught(pairs, with_policy, found.network, calibration))

    def transfer(self, pairs: Pairs, rng: np.random.Generator) -> Self:
        """See `AccuracyPredictor.transfer`."""
        new = pairs.checked(self.space, _LEAST_PAIRS).new_to(self.first.pairs, _LEAST_PAIRS)
        teach = self._taught_drop if self.options.transfer == "drop" else self._finetuned
        return type(self)(self.space, self.options, self.first, teach(new, _generator(rng)))

    def _taught_drop(self, pairs: Pairs, generator: torch.Generator) -> Taught:
        before = self._before(self._features.raw(pairs.genomes))
        lost = pairs.accuracy - before.mean(axis=0)
        features = self._drop_features(pairs.genomes, before)
        found = learned(
            features, lost, Scaling.of(features, lost), self.options.shape, self.options.schedule, generator
        )
        found = _shrunk(found, lost)
        outputs = before + found.network.outputs(features)
        return Taught(pairs, True, found.network, _calibrated(before.mean(axis=0) + found.unseen, outputs, pairs))

    def _finetuned(self, pairs: Pairs, generator: torch.Generator) -> Taught:
        features = self._joined(pairs.genomes)
        scaling, weights = self.first.network.scaling, self.first.network.weights
        if not self.first.with_policy:  # the policy's inputs change nothing yet
            policy = self._features(pairs.genomes)[1]
            scaling = scaling.joined(policy)
            joined = torch.zeros(len(weights[0]), policy.shape[1], weights[0].shape[2])
            weights = (torch.cat([weights[0], joined], 1), *weights[1:])
        found = learned(
            features,
            pairs.accuracy,
            scaling,
            self.options.shape,
            self.options.schedule,
            generator,
            start=weights,
            replay=(self._replayed(), self.first.pairs.accuracy),
        )
        return Taught(
            pairs, True, found.network, _calibrated(found.unseen, found.network.outputs(features), pairs)
        )

    def _replayed(self) -> Floats32:
        """Joined features of the first pairs; fp32 ones have no bits, whatever the space."""
        architecture, policy = self._features(self.first.pairs.genomes)
        return np.concatenate([architecture, policy if self.first.with_policy else np.zeros_like(policy)], axis=1)

    @classmethod
    def suggest(cls, trial: Suggests) -> dict[str, OptionValue]:
        """See `AccuracyPredictor.suggest`."""
        return {
            "hidden": trial.suggest_int("hidden", 64, 512, log=True),
            "epochs": trial.suggest_int("epochs", 20, 120, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 2e-4, 4e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-3, 1.0, log=True),
            "ranking": trial.suggest_categorical("ranking", (0.0, 0.3, 1.0)),
            "transfer": trial.suggest_categorical("transfer", _TRANSFERS),
        }

    # -- asking -----------------------------------------------------------------------------------------

    def predict(self, genomes: Genomes) -> Prediction:
        """See `AccuracyPredictor.predict`."""
        raw, calibration = self._features.raw(genomes), (self.second or self.first).calibration
        if self._asked_second is None:
            outputs = self._before(raw)
        elif self.options.transfer == "drop":
            outputs = self._before(raw)
            relative = self._relative(outputs)
            outputs = outputs + self._asked_second.outputs(np.concatenate([raw, relative], axis=1))
        else:
            outputs = self._asked_second.outputs(raw)
        return Prediction(outputs.mean(axis=0), calibration.half_width(_spread(outputs)))

    def _before(self, raw: Floats32) -> Floats:
        """What the members of the first network say, (members, n), of `FeatureMap.raw` columns."""
        return self._asked_first.outputs(
            raw if self.first.with_policy else raw[:, : self._features.raw_architecture]
        )

    @cached_property
    def _asked_first(self) -> FoldedNetwork:
        architecture, policy = self._features.matrices
        matrix = block_diag(architecture, policy) if self.first.with_policy else architecture
        return FoldedNetwork.of(self.first.network, matrix)

    @cached_property
    def _asked_second(self) -> FoldedNetwork | None:
        if self.second is None:
            return None
        relative = [1.0] if self.options.transfer == "drop" else []
        return FoldedNetwork.of(self.second.network, block_diag(*self._features.matrices, *relative))

    def _joined(self, genomes: Genomes) -> Floats32:
        return np.concatenate(self._features(genomes), axis=1)

    def _drop_features(self, genomes: Genomes, before: Floats) -> Floats32:
        """Joined features, and the fp32 prediction as wide as the widest of them."""
        return np.concatenate([self._joined(genomes), self._relative(before)], axis=1)

    def _relative(self, before: Floats) -> Floats32:
        """The fp32 prediction as a column, (n, 1), in standard deviations of what was learned."""
        scaling = self.first.network.scaling
        relative = (before.mean(axis=0) - scaling.mean) / scaling.std
        return np.asarray(relative[:, None], dtype=np.float32)

    # -- keeping ----------------------------------------------------------------------------------------

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        taught = {"first": self.first} | ({"second": self.second} if self.second else {})
        tensors: dict[str, Tensor] = {}
        for name, one in taught.items():
            tensors |= one.tensors(name)
        return tensors, {name: one.values for name, one in taught.items()}

    @classmethod
    def _restored(
        cls, space: SearchSpace, options: MLPOptions, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
    ) -> Self:
        first = Taught.restored("first", tensors, values["first"])
        second = Taught.restored("second", tensors, values["second"]) if "second" in values else None
        return cls(space, options, first, second)


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def _shrunk(found: Learned, values: Floats) -> Learned:
    """Made smaller by what fits best, in least squares, where pairs were not seen.

    By how much is learned, too: what is said of a pair that was not seen is shrunk as the other folds ask for, or
    intervals of few pairs would be too narrow (for 25 of them they held 77 % instead of 90).
    """
    mean = found.network.scaling.mean
    unseen = np.empty_like(found.unseen)
    for fold in np.unique(found.fold):
        own, others = found.fold == fold, found.fold != fold
        centre = float(values[others].mean()) if others.any() else mean
        unseen[own] = centre + _factor(found.unseen[others], values[others], centre) * (found.unseen[own] - centre)
    return Learned(found.network.shrunk(_factor(found.unseen, values, mean)), unseen, found.fold)


def _factor(said: Floats, values: Floats, centre: float) -> float:
    """By which what is said, above its centre, comes nearest to the values (n,); 0 to 1."""
    above = said - centre
    return float(np.clip(above @ (values - centre) / max(float(above @ above), 1e-30), 0.0, 1.0))


def _calibrated(unseen: Floats, outputs: Floats, pairs: Pairs) -> Calibration:
    return Calibration.of(unseen - pairs.accuracy, _spread(outputs), COVERAGE)


def _spread(outputs: Floats) -> Floats:
    """How far members disagree, (n,), of outputs (members, n); 0 where they are too few to leave out folds.

    Those have all seen the pairs that intervals are calibrated with, and disagree more about new ones.
    """
    return outputs.std(axis=0) if len(outputs) >= FOLDS else np.zeros(outputs.shape[1])
