"""An ensemble with what it needs to take features and give accuracies: the fitted part of an MLP predictor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.predictors.ensemble import Batch, Schedule, fit, folds, forward, new_weights
from bitfront.predictors.features import Floats32

Floats = NDArray[np.float64]
FOLDS = 5
_NO_FOLD = -1


@dataclass(frozen=True, slots=True)
class Scaling:
    """Features x become (x - centre) * scale, values y become (y - mean) / std.

    ``centre`` and ``scale`` have one value per feature.
    """

    centre: Floats32
    scale: Floats32
    mean: float
    std: float

    @classmethod
    def of(cls, features: Floats32, values: Floats) -> Self:
        """One factor for all features, so that their mean variance is 1 and rare ones stay small."""
        std = float(values.std())
        return cls(features.mean(axis=0), _scale(features), float(values.mean()), std if std > 0 else 1.0)

    def joined(self, features: Floats32) -> Self:
        """The same with further features, which are not centred: 0 stays 0."""
        return replace(
            self,
            centre=np.concatenate([self.centre, np.zeros(features.shape[1], dtype=np.float32)]),
            scale=np.concatenate([self.scale, _scale(features)]),
        )

    def inputs(self, features: Floats32) -> Tensor:
        """Features (n, d) as the networks take them."""
        return torch.from_numpy((features - self.centre) * self.scale)

    def targets(self, values: Floats) -> Tensor:
        """Values (n,) as the networks give them."""
        return torch.from_numpy(((values - self.mean) / self.std).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Shape:
    """Networks that are kept, and the width of their hidden layers."""

    members: int
    hidden: int


@dataclass(frozen=True, slots=True)
class Network:
    """Members of one shape that all predict the same values; ``weights`` as in `ensemble.new_weights`."""

    weights: tuple[Tensor, ...]
    scaling: Scaling

    @property
    def members(self) -> int:
        """How many there are."""
        return len(self.weights[0])

    def outputs(self, features: Floats32) -> Floats:
        """What each member predicts, shape (members, n), for features (n, d)."""
        with torch.inference_mode():
            raw = forward(self.weights, self.scaling.inputs(features)).double().numpy()
        values: Floats = self.scaling.mean + self.scaling.std * raw
        return values

    def shrunk(self, factor: float) -> Self:
        """The same with all differences from the mean made smaller by ``factor``."""
        return replace(self, weights=(*self.weights[:-2], self.weights[-2] * factor, self.weights[-1] * factor))

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Its tensors for a file."""
        named = {f"{prefix}.weight.{place}": weight for place, weight in enumerate(self.weights)}
        named[f"{prefix}.centre"] = torch.from_numpy(self.scaling.centre)
        named[f"{prefix}.scale"] = torch.from_numpy(self.scaling.scale)
        named[f"{prefix}.values"] = torch.tensor([self.scaling.mean, self.scaling.std], dtype=torch.float64)
        return named

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], prefix: str) -> Self:
        """Back from `tensors`.

        Raises:
            KeyError: one is missing.
        """
        places = sum(name.startswith(f"{prefix}.weight.") for name in tensors)
        mean, std = tensors[f"{prefix}.values"].tolist()
        scaling = Scaling(tensors[f"{prefix}.centre"].numpy(), tensors[f"{prefix}.scale"].numpy(), mean, std)
        return cls(tuple(tensors[f"{prefix}.weight.{place}"] for place in range(places)), scaling)


@dataclass(frozen=True, slots=True)
class Learned:
    """A network with ``unseen`` (n,): for each pair, the mean of what those fits say that have not seen it.

    ``fold`` (n,) says which pairs were left out together.
    """

    network: Network
    unseen: Floats
    fold: NDArray[np.intp]


def learned(
    features: Floats32,
    values: Floats,
    scaling: Scaling,
    shape: Shape,
    schedule: Schedule,
    generator: torch.Generator,
    start: tuple[Tensor, ...] | None = None,
    replay: tuple[Floats32, Floats] | None = None,
) -> Learned:
    """Fit to features (n, d) and values (n,).

    With `FOLDS` members or more each leaves out a fold of the pairs. Fewer members see all pairs, and `FOLDS` more
    are fitted beside them for what is ``unseen``, and dropped.

    Args:
        features: of the pairs to learn.
        values: of the pairs to learn.
        scaling: of features and values.
        shape: members to keep, and their width.
        schedule: how long and how fast.
        generator: of first weights and order.
        start: first weights of (at least) as many members as are fitted; else random ones.
        replay: further features and values, so that they are not forgotten.

    Raises:
        NumericalError: fitting diverged.
    """
    leaves = _leaves(shape.members)
    data = Batch(scaling.inputs(features), scaling.targets(values))
    fold = folds(len(values), FOLDS, generator)
    again = None if replay is None else Batch(scaling.inputs(replay[0]), scaling.targets(replay[1]))
    first = start or new_weights(len(leaves), features.shape[1], shape.hidden, generator)
    weights = fit(_repeated(first, len(leaves)), data, fold, leaves, schedule, generator, again)
    with torch.inference_mode():
        blind = leaves[:, None] == fold
        said = (forward(weights, data.x) * blind).sum(0) / blind.sum(0)
    kept = tuple(w[-shape.members :] for w in weights)
    return Learned(Network(kept, scaling), scaling.mean + scaling.std * said.double().numpy(), fold.numpy())


def _leaves(members: int) -> Tensor:
    """Which fold each fitted network leaves out; the last ``members`` are kept."""
    if members >= FOLDS:
        return torch.arange(members) % FOLDS
    return torch.cat([torch.arange(FOLDS), torch.full((members,), _NO_FOLD)])


def _repeated(weights: Any, total: int) -> list[Tensor]:
    """Members over again until there are enough."""
    return [w[torch.arange(total) % len(w)] for w in weights]


def _scale(features: Floats32) -> Floats32:
    variance = float(features.var(axis=0).mean()) if features.size else 0.0
    return np.full(features.shape[1], variance**-0.5 if variance > 0 else 1.0, dtype=np.float32)
