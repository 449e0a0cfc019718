"""How sure an experiment's predictor is of one candidate's accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bitfront.experiments.networks import networks_of, policy_owners
from bitfront.experiments.spec_space import space_settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Candidate, Experiment
from bitfront.search.constraints import base_metric
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.spaces.settings import load_space

if TYPE_CHECKING:
    from bitfront.predictors.predictor import AccuracyPredictor
    from bitfront.supernet.space import SearchSpace

_KEPT = 8


@dataclass(frozen=True, slots=True)
class Spread:
    """Half of the interval around predicted accuracies: ``top1``, or top1@DEVICE where policies differ, to it.

    ``is_mean``: what the predictor says of this candidate is not known; its mean on held-out pairs stands.
    """

    widths: dict[str, float] = field(default_factory=dict)
    is_mean: bool = False


def spread_of(store: Store, experiment: Experiment, candidate: Candidate) -> Spread:
    """How sure the predictor is of a candidate; empty where accuracy was not predicted."""
    record = store.predictor(experiment.predictor_id) if experiment.predictor_id else None
    names = [name for name in candidate.predicted if base_metric(name) == "top1"]
    if record is None or not names:
        return Spread()
    try:
        return Spread(_own(Path(record.path), experiment, candidate))
    except (BitfrontError, OSError):  # its file is gone, or of another version
        mean = record.metrics.get("mean_half_width")
        return Spread() if mean is None else Spread(dict.fromkeys(names, float(mean)), is_mean=True)


def _own(path: Path, experiment: Experiment, candidate: Candidate) -> dict[str, float]:
    space = load_space(space_settings(experiment.spec["space"]))
    networks = networks_of(space, policy_owners(experiment.spec), candidate.array[None])
    predictor = _cached(path, path.stat().st_mtime_ns, _Space(space))
    found = {owner: float(predictor.predict(rows).half_width[0]) for owner, rows in networks.items()}
    return {f"top1@{owner}" if owner else "top1": width for owner, width in found.items()}


class _Space:
    """A space by its hash, for a cache."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Space) and hash(self) == hash(other)

    def __hash__(self) -> int:
        return hash(self.space.hash())


@lru_cache(_KEPT)
def _cached(path: Path, changed: int, space: _Space) -> AccuracyPredictor:
    """A predictor as its file was when it was ``changed``."""
    from bitfront.predictors import load_predictor  # loads torch, which few pages need

    return load_predictor(path, space.space)
