"""The accuracy predictor: an ensemble of MLPs, fitted to fp32 pairs and transferred to quantized ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import Tensor

from bitfront.predictors.conformal import Calibration
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.distance import by_gene, by_gene_and_role, roles
from bitfront.predictors.ensemble import Schedule
from bitfront.predictors.features import FeatureMap, Floats32
from bitfront.predictors.folded import FoldedNetwork
from bitfront.predictors.network import FOLDS, Floats, Scaling, Shape, learned
from bitfront.predictors.options import OptionValue, require
from bitfront.predictors.predictor import COVERAGE, AccuracyPredictor, Prediction, Suggests
from bitfront.predictors.process import MOST_PAIRS, learned_process
from bitfront.predictors.stacking import shrunk, stacked
from bitfront.predictors.taught import Taught, joined
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
        transfer: ``drop`` leaves what learned fp32 pairs as it is and adds what quantization costs;
            ``finetune`` joins the inputs of the policy to the networks and goes on training them (APQ).
        process: whether a Gaussian process says a part of what fp32 pairs teach, and all of the drop. Without it
            networks alone do both. There is none with ``finetune``.

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
    process: bool = True

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
    def processes(self) -> bool:
        """Whether there is a process beside the networks."""
        return self.process and self.transfer == "drop"

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


@final
class MLPPredictor(AccuracyPredictor):
    """Three hidden layers on `FeatureMap` (APQ, Wang et al. 2020, section 3.3), a few members.

    Half widths are calibrated (`conformal`) by what fits say that have left out the pair: five that leave out a
    fifth each, or, of the drop by a process, one for each pair; the kernel of a process has seen all of them.

    A Gaussian process (`process`) says a part of the mean: the share with which both come
    nearest to pairs that neither has seen (stacking, Breiman 1996).

    Transfer by ``drop``: the measured accuracy of quantized pairs minus the fp32 prediction is learned, by a
    process from architecture and policy, or by further networks from these and that prediction; what is said of it
    is made smaller by the factor that fits best where pairs were not seen, so that with few or noisy pairs little
    is added to the fp32 prediction. Transfer by ``finetune``: policy inputs join the first layer with weights of
    0, so that the predictor begins at the accuracy of the fp32 network; it is fine-tuned on quantized pairs, with
    fp32 pairs mixed in so that they are not forgotten.
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
        maps = FeatureMap(space, options.numeric)
        architecture, policy = maps(pairs.genomes)
        scaling = Scaling.of(architecture, pairs.accuracy)
        features = architecture
        if with_policy:
            scaling, features = scaling.joined(policy), np.concatenate([architecture, policy], axis=1)
        found = learned(features, pairs.accuracy, scaling, options.shape, options.schedule, generator)
        outputs, unseen, process, share = found.network.outputs(features), found.unseen, None, 0.0
        if options.processes:
            columns = _columns(maps, maps.raw(pairs.genomes), with_policy)
            distance, kinds = by_gene(maps, with_policy), roles(maps, with_policy)
            known = learned_process(columns, pairs.accuracy, distance, generator, kinds)
            process, other = known.process, known.unseen(columns, found.fold)
            share, unseen = stacked(unseen, other, pairs.accuracy, found.fold, _single(outputs))
            outputs = joined(outputs, process.outputs(columns), share)
        calibration = _calibrated(unseen, outputs, pairs)
        return cls(space, options, Taught(pairs, with_policy, found.network, process, share, calibration))

    def transfer(self, pairs: Pairs, rng: np.random.Generator) -> Self:
        """See `AccuracyPredictor.transfer`."""
        new = pairs.checked(self.space, _LEAST_PAIRS).new_to(self.first.pairs, _LEAST_PAIRS)
        teach = self._finetuned
        if self.options.transfer == "drop":
            few = len(new) <= MOST_PAIRS  # a process would leave the others out
            teach = self._drop_by_process if self.options.processes and few else self._drop_by_networks
        return type(self)(self.space, self.options, self.first, teach(new, _generator(rng)))

    def _drop_by_process(self, pairs: Pairs, generator: torch.Generator) -> Taught:
        columns = self._features.raw(pairs.genomes)
        before = self._before(columns)
        lost = pairs.accuracy - before.mean(axis=0)
        found = learned_process(columns, lost, by_gene_and_role(self._features), generator)
        alone = np.arange(len(lost))
        factor, unseen = shrunk(found.unseen(columns), lost, alone, found.process.offset)
        process = found.process.shrunk(factor)
        calibration = _calibrated(before.mean(axis=0) + unseen, before + process.outputs(columns), pairs)
        return Taught(pairs, True, None, process, 1.0, calibration)

    def _drop_by_networks(self, pairs: Pairs, generator: torch.Generator) -> Taught:
        before = self._before(self._features.raw(pairs.genomes))
        lost = pairs.accuracy - before.mean(axis=0)
        features = self._drop_features(pairs.genomes, before)
        found = learned(
            features, lost, Scaling.of(features, lost), self.options.shape, self.options.schedule, generator
        )
        factor, unseen = shrunk(found.unseen, lost, found.fold, found.network.scaling.mean)
        network = found.network.shrunk(factor)
        calibration = _calibrated(before.mean(axis=0) + unseen, before + network.outputs(features), pairs)
        return Taught(pairs, True, network, None, 0.0, calibration)

    def _finetuned(self, pairs: Pairs, generator: torch.Generator) -> Taught:
        features = self._joined(pairs.genomes)
        assert self.first.network is not None
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
        calibration = _calibrated(found.unseen, found.network.outputs(features), pairs)
        return Taught(pairs, True, found.network, None, 0.0, calibration)

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
        if self.second is None or self.options.transfer == "drop":
            outputs = self._before(raw)
            if self.second is not None:
                outputs = outputs + self._drop(raw, outputs)
        else:
            assert self._asked_second is not None
            outputs = self._asked_second.outputs(raw)
        return Prediction(outputs.mean(axis=0), calibration.half_width(_spread(outputs)))

    def _before(self, raw: Floats32) -> Floats:
        """What the first lesson says, by member, (members, n), of `FeatureMap.raw` columns."""
        first = self.first
        columns = _columns(self._features, raw, first.with_policy)
        outputs = self._asked_first.outputs(columns)
        return outputs if first.process is None else joined(outputs, first.process.outputs(columns), first.share)

    def _drop(self, raw: Floats32, before: Floats) -> Floats:
        """What is to be added to ``before`` (members, n), (members or 1, n)."""
        if self._asked_second is not None:
            return self._asked_second.outputs(np.concatenate([raw, self._relative(before)], axis=1))
        assert self.second is not None
        assert self.second.process is not None
        return self.second.process.outputs(raw)[None]

    @cached_property
    def _asked_first(self) -> FoldedNetwork:
        architecture, policy = self._features.matrices
        matrix = block_diag(architecture, policy) if self.first.with_policy else architecture
        assert self.first.network is not None
        return FoldedNetwork.of(self.first.network, matrix)

    @cached_property
    def _asked_second(self) -> FoldedNetwork | None:
        if self.second is None or self.second.network is None:
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
        assert self.first.network is not None
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


def _columns(features: FeatureMap, raw: Floats32, with_policy: bool) -> Floats32:
    """What a first lesson sees of `FeatureMap.raw` columns (n, r); in one piece, which is quicker to multiply."""
    return raw if with_policy else np.ascontiguousarray(raw[:, : features.raw_architecture])


def _calibrated(unseen: Floats, outputs: Floats, pairs: Pairs) -> Calibration:
    return Calibration.of(unseen - pairs.accuracy, _spread(outputs), COVERAGE)


def _single(outputs: Floats) -> Floats:
    """By how much the variance of one of the members (members, n) is above that of their mean, (n,)."""
    members = len(outputs)
    return outputs.var(axis=0, ddof=1) * (1 - 1 / members) if members > 1 else np.zeros(outputs.shape[1])


def _spread(outputs: Floats) -> Floats:
    """How far members disagree, (n,), of outputs (members, n); 0 where they are too few to leave out folds.

    Those have all seen the pairs that intervals are calibrated with, and disagree more about new ones.
    """
    return outputs.std(axis=0) if len(outputs) >= FOLDS else np.zeros(outputs.shape[1])
