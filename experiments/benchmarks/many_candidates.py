"""An experiment with as many candidates as one likes, which got there as a search stores them.

Networks are drawn at random. What is predicted of them follows from one hidden size and noise, so that metrics go
together as they do in a search, no two are functions of each other, and a front of some hundreds forms.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.spec import spec_from
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import CandidateBatch, Experiment, Generation
from bitfront.experiments.store.statuses import Status
from bitfront.latency_lut.devices import DEVICES
from bitfront.search.archive import non_dominated
from bitfront.search.constraints import METRICS
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

SPACE, DEVICE = "fashion", "bitfusion"
GENERATION = 1000
"""Candidates of a generation."""
_OBJECTIVES = ("top1", "latency_ms", "size_bytes")
_SIGNS = tuple(-1.0 if METRICS[name] == "max" else 1.0 for name in _OBJECTIVES)


@dataclass
class Stored:
    """An experiment, and what storing its candidates took: seconds of the clock and of this process."""

    id: str
    candidates: int = 0
    seconds: float = 0.0
    process_seconds: float = 0.0
    front: int = 0
    values: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)

    def quantile(self, metric: str, q: float) -> float:
        """The value that a fraction ``q`` of the candidates has at most."""
        return float(np.quantile(np.concatenate(self.values[metric]), q))


def begun(store: Store, name: str, devices: Sequence[str] = ()) -> Experiment:
    """A RUNNING experiment without candidates; for several ``devices`` where there are any."""
    searched = {"devices": {one: {"name": DEVICE} for one in devices}} if devices else {"device": DEVICE}
    objectives = (
        ["top1", *(f"latency_ms@{one}" for one in devices), "size_bytes"] if devices else list(_OBJECTIVES)
    )
    given = {"name": name, "space": SPACE, "data": "fashion_mnist", "objectives": objectives, **searched}
    spec = spec_from(given).model_dump(mode="json")
    return store.claim(store.create_experiment(name, spec, 0).id)


def stored(
    store: Store, experiment: Experiment, n: int, rng: np.random.Generator, devices: Sequence[str] = ()
) -> Iterator[Stored]:
    """Store ``n`` candidates, a generation at each step; what was stored so far comes back."""
    space = DEVICES.get(DEVICE)().restrict(SPACES.get(SPACE)())
    found = Stored(experiment.id)
    best: tuple[Genomes, NDArray[np.float64]] | None = None
    for i in range(n // GENERATION):
        batch = _batch(space, GENERATION, rng, devices)
        best = _front(batch, best, devices)
        found.front = len(best[0])
        F = _minimised(batch, devices)
        state = {"objectives": list(_OBJECTIVES), "reference": np.ones(3), "population": batch.genomes, "F": F}
        began, process_began = time.perf_counter(), time.process_time()
        generation = Generation(i, (i + 1) * GENERATION, 0.5)
        store.add_generation(experiment.id, generation, batch, best[0], state)
        found.seconds += time.perf_counter() - began
        found.process_seconds += time.process_time() - process_began
        found.candidates += GENERATION
        for name, values in batch.predicted.items():
            found.values.setdefault(name, []).append(values)
        yield found


def finished(store: Store, experiment_id: str) -> None:
    """Nothing is added to it any more."""
    store.set_status(experiment_id, Status.COMPLETED)


def _batch(space: SearchSpace, n: int, rng: np.random.Generator, devices: Sequence[str]) -> CandidateBatch:
    size = rng.gamma(2.0, 1.0, n) + 0.1
    top1 = np.clip(0.97 - 0.3 / (1 + size) + rng.normal(0, 0.02, n), 0, 1)
    spreads = {"latency_ms": (1.0, 0.15), "energy_mj": (3.0, 0.2), "macs": (1e7, 0.3), "bitops": (1e9, 0.3)}
    costs = {name: unit * size * rng.lognormal(0, spread, n) for name, (unit, spread) in spreads.items()}
    sizes = {"size_bytes": 1e6 * size * rng.lognormal(0, 0.2, n), "peak_memory_bytes": 1e5 * (1 + size)}
    costs |= {name: np.round(values) for name, values in sizes.items()}
    for name in ("latency_ms", "energy_mj") if devices else ():
        values = costs.pop(name)
        costs |= {f"{name}@{one}": values * rng.lognormal(0, 0.1, n) for one in devices}
    return CandidateBatch(space.sample(n, rng), {"top1": top1, **costs})


def _minimised(batch: CandidateBatch, devices: Sequence[str]) -> NDArray[np.float64]:
    names = [name if name in batch.predicted else f"{name}@{devices[0]}" for name in _OBJECTIVES]
    signed = [sign * batch.predicted[name] for sign, name in zip(_SIGNS, names, strict=True)]
    return np.stack(signed, axis=1)


def _front(
    batch: CandidateBatch, best: tuple[Genomes, NDArray[np.float64]] | None, devices: Sequence[str]
) -> tuple[Genomes, NDArray[np.float64]]:
    genomes, F = batch.genomes, _minimised(batch, devices)
    if best is not None:
        genomes, F = np.concatenate([best[0], genomes]), np.concatenate([best[1], F])
    kept = non_dominated(F)
    return genomes[kept], F[kept]
