"""One seed of a comparison: what every method puts forward, and what that is worth as deployed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.rivals.compared import Figures, Measured
from bitfront.experiments.benchmarks.rivals.deployed import Deployed, accuracy, exported, latencies
from bitfront.experiments.benchmarks.rivals.environment import LeftOutError, version_in
from bitfront.experiments.benchmarks.study import OBJECTIVES, Study
from bitfront.experiments.reporter import Reporter
from bitfront.latency_lut.devices.host_openvino import HostOpenVINO
from bitfront.search.front import Front
from bitfront.search.problem import Problem
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.genes import Genomes

_MODELS, _QUICK_MODELS = 8, 3


@dataclass(frozen=True)
class Offer:
    """What a method puts forward, and how many candidates it scored for that; None where it did not search."""

    models: list[Deployed]
    evaluations: int | None = None


@dataclass
class Setting:
    """What all seeds share.

    Attributes:
        study: the supernet on its device, which is `HostOpenVINO`.
        quick: few networks, and nothing is installed.
        reporter: who is told.
        left_out: rivals that can not run here, or fail, and why.
        pythons: those of environments that rivals have for themselves.
        versions: of what is installed there.
        ran: of each rival, in how many seeds it ran, and in how many it was asked to.
    """

    study: Study
    quick: bool
    reporter: Reporter
    left_out: dict[str, str] = field(default_factory=dict)
    pythons: dict[str, Path] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    ran: dict[str, tuple[int, int]] = field(default_factory=dict)

    def prepare(self, names: Sequence[str], package: str, python: Callable[[bool, Reporter], Path]) -> None:
        """Make the environment of some rivals before anything is timed; where that fails, they are left out."""
        try:
            made = python(not self.quick, self.reporter)
            self.versions[package] = version_in(made, package)
        except LeftOutError as error:
            self.left_out |= dict.fromkeys(names, str(error))
        else:
            self.pythons |= dict.fromkeys(names, made)

    def shares(self) -> Figures:
        """Of the seeds in which each rival was asked to run, the share in which it did."""
        return {f"{name}_ran": ran / asked for name, (ran, asked) in self.ran.items()}

    @property
    def device(self) -> HostOpenVINO:
        """Where all is measured."""
        assert isinstance(self.study.device, HostOpenVINO)
        return self.study.device

    @property
    def evaluator(self) -> Evaluator:
        """Of the study's supernet; it also has the images as networks take them."""
        return self.study.ground.evaluator

    @property
    def models(self) -> int:
        """How many networks every method puts forward, where its front has them."""
        return _QUICK_MODELS if self.quick else _MODELS

    def measuring(self, label: str, most: int) -> Problem:
        """Each candidate is truly measured, once, on the validation split; ``most`` of them are expected."""
        progress, known = self.reporter.progress(label), dict[bytes, float]()

        def predict(genomes: Genomes) -> NDArray[np.float64]:
            for genome in genomes:
                if genome.tobytes() not in known:
                    known[genome.tobytes()] = self.evaluator.evaluate_one(genome, "validation").top1
                    progress(len(known), most)
            return np.array([known[genome.tobytes()] for genome in genomes])

        return Problem(self.study.space, OBJECTIVES, predict, self.study.costs.cost)

    def offer(self, front: Front, evaluations: int) -> Offer:
        """As many members of a front as every method puts forward, spread over it, exported."""
        members = front.spread(self.models)
        return Offer(exported(self.evaluator, front.genomes[members]), evaluations)


@dataclass(frozen=True)
class Entry:
    """What a method puts forward, and the seconds until it had that."""

    offer: Offer
    seconds: float


class Contest:
    """The entries of one seed."""

    def __init__(self, setting: Setting) -> None:
        self.entries: dict[str, Entry] = {}
        self._setting = setting

    def enter(self, name: str, make: Callable[[], Offer], before: float = 0.0) -> Entry:
        """``before``: the seconds of what the method goes on from.

        Raises:
            LeftOutError: the method can not run here.
        """
        self._setting.reporter.say(f"{name}: searching and exporting")
        start = time.perf_counter()
        self.entries[name] = Entry(make(), before + time.perf_counter() - start)
        return self.entries[name]

    def try_to_enter(self, name: str, make: Callable[[], Offer], before: float = 0.0) -> None:
        """`enter` where that is possible; else the cause is kept, and no further seed tries."""
        ran, asked = self._setting.ran.get(name, (0, 0))
        self._setting.ran[name] = ran, asked + 1
        if name in self._setting.left_out:
            return
        try:
            self.enter(name, make, before)
        except LeftOutError as error:
            self._setting.left_out[name] = str(error)
        else:
            self._setting.ran[name] = ran + 1, asked + 1

    def measured(self) -> dict[str, Measured]:
        """Of each method: accuracies on both splits, and latencies, all of which are timed in the same rounds."""
        models = [model for entry in self.entries.values() for model in entry.offer.models]
        top1 = self._accuracies(models)
        latency_ms = latencies(self._setting.device, models, np.random.default_rng(0))
        ends = np.cumsum([len(entry.offer.models) for entry in self.entries.values()])
        parts = zip(np.split(top1, ends[:-1]), np.split(latency_ms, ends[:-1]), strict=True)
        return {
            name: Measured(rows[:, 0], rows[:, 1], times)
            for name, (rows, times) in zip(self.entries, parts, strict=True)
        }

    def spent(self) -> Figures:
        """What each method took: seconds, and the candidates that it scored where it searched."""
        figures = {f"{name}_seconds": entry.seconds for name, entry in self.entries.items()}
        scored = {name: entry.offer.evaluations for name, entry in self.entries.items()}
        return figures | {f"{name}_evaluations": float(n) for name, n in scored.items() if n is not None}

    def _accuracies(self, models: list[Deployed]) -> NDArray[np.float64]:
        progress, found = self._setting.reporter.progress("running exported models on images"), []
        for done, model in enumerate(models, start=1):
            found.append([accuracy(model, self._setting.evaluator, split) for split in ("validation", "test")])
            progress(done, len(models))
        return np.array(found)
