"""Which genes a metric depends on: the share of its variance that each gene explains by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.networks import policy_owners
from bitfront.experiments.spec_space import space_settings
from bitfront.experiments.store.base import MOST_PER_PAGE, Store
from bitfront.experiments.store.records import Candidate
from bitfront.search.shared_architecture import SharedArchitecture
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.settings import load_space


def gene_importances(space: SearchSpace, genomes: Genomes, values: NDArray[np.float64]) -> dict[str, float]:
    """Gene to the share of the variance of ``values`` (n,) that its choice alone explains, from 0 to 1.

    It is epsilon squared (Kelley 1935), the share of variance between the groups of a gene's choices (a
    skipped block's gene makes a group of its own) less what as many groups by chance would have. Genes that go
    together share
    what they explain, so that shares may add up to more than 1.

    Args:
        space: what ``genomes`` are of.
        genomes: canonical, shape (n, n_genes).
        values: a metric of each, finite.
    """
    n = len(genomes)
    total = float(np.square(values - values.mean()).sum()) if n else 0.0
    if total <= 0:
        return dict.fromkeys((gene.name for gene in space.genes), 0.0)
    active = space.active(genomes)
    groups = np.where(active, genomes.astype(np.intp) + 1, 0)
    return {gene.name: _explained(groups[:, i], values, total) for i, gene in enumerate(space.genes)}


def _explained(groups: NDArray[np.intp], values: NDArray[np.float64], total: float) -> float:
    n, counts = len(values), np.bincount(groups)
    sums = np.bincount(groups, weights=values - values.mean())
    there = counts > 0
    k = int(there.sum())
    if n <= k:
        return 0.0
    between = float((np.square(sums[there]) / counts[there]).sum())
    return float(np.clip(1 - (total - between) / total * (n - 1) / (n - k), 0.0, 1.0))


def experiment_importances(store: Store, experiment_id: str) -> tuple[int, dict[str, dict[str, float]]]:
    """How many candidates were looked at, and metric to gene to its importance for the predicted metric.

    These are the first that the search scored, up to `MOST_PER_PAGE`: later ones are alike, so that they tell
    less.

    Raises:
        UnknownNameError: there is no such experiment.
    """
    experiment = store.get(experiment_id)
    found = [one for one in store.candidates(experiment_id, limit=MOST_PER_PAGE).items if one.error is None]
    if not found:
        return 0, {}
    space = _searched(experiment.spec)
    genomes = np.stack([one.array for one in found])
    metrics = [name for name in found[0].predicted if all(name in one.predicted for one in found)]
    return len(found), {name: gene_importances(space, genomes, _values(found, name)) for name in metrics}


def _values(found: list[Candidate], metric: str) -> NDArray[np.float64]:
    return np.array([one.predicted[metric] for one in found], dtype=np.float64)


def _searched(spec: Mapping[str, Any]) -> SearchSpace:
    """The space whose genes an experiment's candidates have."""
    space, owners = load_space(space_settings(spec["space"])), policy_owners(spec)
    return SharedArchitecture(dict.fromkeys(owners, space)) if owners else space
