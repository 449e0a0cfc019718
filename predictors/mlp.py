"""The accuracy predictor: an ensemble of MLPs, fitted to fp32 pairs and transferred to quantized ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.predictors.dataset import Pairs
from bitfront.predictors.ensemble import HIDDEN, Batch, Schedule, fit, folds, forward, new_weights
from bitfront.predictors.features import FeatureMap, Floats32
from bitfront.predictors.predictor import COVERAGE, AccuracyPredictor, OtherSpaceError, Prediction
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.files import load_tensors, save_tensors
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

MEMBERS = 5
_LEAST_PAIRS = 10
_KIND = "bitfront-mlp-predictor"
_MOST_GENES_NAMED = 5


@dataclass(frozen=True, slots=True)
class Scaling:
    """Features x become (x - centre) * scale, accuracies y become (y - mean) / std.

    ``centre`` and ``scale`` have one value per feature. Policy features are not centred: 0 stays fp32.
    """

    centre: Floats32
    scale: Floats32
    mean: float
    std: float

    def inputs(self, features: Floats32) -> Tensor:
        """Features (n, d) as the networks take them."""
        return torch.from_numpy((features - self.centre) * self.scale)

    def targets(self, accuracy: NDArray[np.float64]) -> Tensor:
        """Accuracies (n,) as the networks give them."""
        return torch.from_numpy(((accuracy - self.mean) / self.std).astype(np.float32))


@final
class MLPPredictor(AccuracyPredictor):
    """Three hidden layers of 400 on `FeatureMap` (APQ, Wang et al. 2020, section 3.3), five members.

    Each member leaves out a fifth of the pairs it learns from. The half width is one for all candidates: the
    quantile of the residuals there that makes `COVERAGE` of the intervals hold (cross-conformal, Vovk 2015). The
    spread of the members is no guide to them: four of five have seen the pair that the fifth is asked for.

    At transfer the fp32 weights are loaded and policy inputs join the first layer with weights of 0, so that the
    predictor begins at the accuracy of the fp32 network; it is then fine-tuned on quantized pairs, with fp32 pairs
    mixed in so that they are not forgotten.
    """

    def __init__(
        self,
        space: SearchSpace,
        weights: list[Tensor],
        scaling: Scaling,
        half_width: float,
        pairs: Pairs,
        with_policy: bool,
    ) -> None:
        self.space = space
        self.weights = weights
        self.scaling = scaling
        self.half_width = half_width
        self.pairs = pairs
        self.with_policy = with_policy
        self._features = FeatureMap(space)

    # -- learning ---------------------------------------------------------------------------------------

    @classmethod
    def fit(cls, space: SearchSpace, pairs: Pairs, rng: np.random.Generator) -> Self:
        """See `AccuracyPredictor.fit`."""
        return cls._fit(space, pairs, rng, with_policy=False)

    @classmethod
    def from_scratch(cls, space: SearchSpace, pairs: Pairs, rng: np.random.Generator) -> Self:
        """See `AccuracyPredictor.from_scratch`."""
        return cls._fit(space, pairs, rng, with_policy=True)

    @classmethod
    def _fit(cls, space: SearchSpace, pairs: Pairs, rng: np.random.Generator, with_policy: bool) -> Self:
        pairs, generator = pairs.checked(space, _LEAST_PAIRS), _generator(rng)
        architecture, policy = FeatureMap(space)(pairs.genomes)
        scaling = _scaling(architecture, pairs.accuracy)
        features = architecture
        if with_policy:
            scaling, features = _with_policy(scaling, policy), np.concatenate([architecture, policy], axis=1)
        data = Batch(scaling.inputs(features), scaling.targets(pairs.accuracy))
        left_out = folds(len(pairs), MEMBERS, generator)
        start = new_weights(MEMBERS, features.shape[1], generator)
        weights = fit(start, data, left_out, Schedule(), generator)
        return cls(space, weights, scaling, _half_width(weights, data, left_out, scaling), pairs, with_policy)

    def transfer(self, pairs: Pairs, rng: np.random.Generator) -> Self:
        """See `AccuracyPredictor.transfer`."""
        pairs, generator = pairs.checked(self.space, _LEAST_PAIRS), _generator(rng)
        scaling, first = self._policy_inputs(pairs.genomes)
        data = Batch(scaling.inputs(self._joined(pairs.genomes)), scaling.targets(pairs.accuracy))
        replay = Batch(scaling.inputs(self._learned()), scaling.targets(self.pairs.accuracy))
        left_out = folds(len(pairs), MEMBERS, generator)
        weights = fit([first, *self.weights[1:]], data, left_out, Schedule(), generator, replay)
        return type(self)(
            self.space, weights, scaling, _half_width(weights, data, left_out, scaling), pairs, with_policy=True
        )

    def _learned(self) -> Floats32:
        """Joined features of the pairs behind this predictor; fp32 ones have no bits, whatever the space."""
        architecture, policy = self._features(self.pairs.genomes)
        return np.concatenate([architecture, policy if self.with_policy else np.zeros_like(policy)], axis=1)

    def _policy_inputs(self, genomes: Genomes) -> tuple[Scaling, Tensor]:
        """Scaling and first layer with policy inputs, which change nothing yet; as they are if they have them."""
        if self.with_policy:
            return self.scaling, self.weights[0]
        policy = self._features(genomes)[1]
        joined = torch.zeros(MEMBERS, policy.shape[1], HIDDEN)
        return _with_policy(self.scaling, policy), torch.cat([self.weights[0], joined], 1)

    # -- asking -----------------------------------------------------------------------------------------

    def predict(self, genomes: Genomes) -> Prediction:
        """See `AccuracyPredictor.predict`."""
        features = self._joined(genomes) if self.with_policy else self._features(genomes)[0]
        with torch.inference_mode():
            outputs = forward(self.weights, self.scaling.inputs(features)).double().numpy() * self.scaling.std
        mean = self.scaling.mean + outputs.mean(axis=0)
        return Prediction(mean, np.full(len(mean), self.half_width))

    def _joined(self, genomes: Genomes) -> Floats32:
        return np.concatenate(self._features(genomes), axis=1)

    # -- keeping ----------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """See `AccuracyPredictor.save`."""
        tensors = {f"weight.{place}": weight for place, weight in enumerate(self.weights)}
        tensors["centre"] = torch.from_numpy(self.scaling.centre)
        tensors["scale"] = torch.from_numpy(self.scaling.scale)
        tensors["pairs.genomes"] = torch.from_numpy(self.pairs.genomes)
        tensors["pairs.accuracy"] = torch.from_numpy(self.pairs.accuracy)
        save_tensors(path, tensors, self._manifest())

    @classmethod
    def load(cls, path: Path, space: SearchSpace) -> Self:
        """See `AccuracyPredictor.load`."""
        tensors, manifest = load_tensors(path)
        if manifest.get("kind") != _KIND:
            raise CorruptFileError(f"{path} holds no {_KIND}, but {manifest.get('kind')!r}: give another file")
        try:
            _require(space, manifest, path)
            return cls._restored(space, tensors, manifest)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(f"{path} lacks a part ({error!r}): delete it to have it made again") from error

    @classmethod
    def _restored(cls, space: SearchSpace, tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> Self:
        scaling = Scaling(tensors["centre"].numpy(), tensors["scale"].numpy(), manifest["mean"], manifest["std"])
        return cls(
            space,
            [tensors[f"weight.{place}"] for place in range(manifest["tensors"])],
            scaling,
            float(manifest["half_width"]),
            Pairs(tensors["pairs.genomes"].numpy(), tensors["pairs.accuracy"].numpy()),
            bool(manifest["with_policy"]),
        )

    def _manifest(self) -> dict[str, Any]:
        return {
            "kind": _KIND,
            "with_policy": self.with_policy,
            "tensors": len(self.weights),
            "mean": self.scaling.mean,
            "std": self.scaling.std,
            "half_width": self.half_width,
            "space": self.space.name,
            "space_hash": self.space.hash(),
            "genes": [[gene.name, list(gene.choices)] for gene in self.space.genes],
            "data_hash": self.pairs.hash(),
            "versions": {tool: version(tool) for tool in ("bitfront", "torch", "numpy")},
        }


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def _scaling(features: Floats32, accuracy: NDArray[np.float64]) -> Scaling:
    centre = features.mean(axis=0)
    std = float(accuracy.std())
    return Scaling(centre, _scale(features), float(accuracy.mean()), std if std > 0 else 1.0)


def _with_policy(scaling: Scaling, policy: Floats32) -> Scaling:
    centre = np.concatenate([scaling.centre, np.zeros(policy.shape[1], dtype=np.float32)])
    return Scaling(centre, np.concatenate([scaling.scale, _scale(policy)]), scaling.mean, scaling.std)


def _scale(features: Floats32) -> Floats32:
    """One factor for all features, so that their mean variance is 1 and rare ones stay small."""
    variance = float(features.var(axis=0).mean())
    return np.full(features.shape[1], variance**-0.5 if variance > 0 else 1.0, dtype=np.float32)


def _half_width(weights: list[Tensor], data: Batch, left_out: Tensor, scaling: Scaling) -> float:
    with torch.inference_mode():
        unseen = forward(weights, data.x).gather(0, left_out[None])[0]
    residual = np.sort((unseen - data.y).abs().double().numpy() * scaling.std)
    rank = min(math.ceil((len(residual) + 1) * COVERAGE), len(residual))
    return float(residual[rank - 1])


def _require(space: SearchSpace, manifest: Mapping[str, Any], path: Path) -> None:
    if manifest["space_hash"] == space.hash():
        return
    theirs = dict(manifest["genes"])
    ours = {gene.name: list(gene.choices) for gene in space.genes}
    differ = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    named = ", ".join(differ[:_MOST_GENES_NAMED]) + (" and more" if len(differ) > _MOST_GENES_NAMED else "")
    raise OtherSpaceError(
        f"{path} predicts for space {manifest['space']!r}, not for this {space.name!r}: "
        f"{f'genes that differ: {named}' if differ else 'the same genes, in another frame'}. Fit a new predictor"
    )
