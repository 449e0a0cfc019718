"""Gaussian processes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from bitfront.predictors.baselines.base import Baseline, BaselineOptions, suggest_shared
from bitfront.predictors.baselines.columns import Floats
from bitfront.predictors.baselines.model import Answer, Ask
from bitfront.predictors.options import OptionValue, require
from bitfront.predictors.predictor import Suggests

RBF_KERNEL, MATERN_KERNEL = "rbf", "matern"
KERNELS = (RBF_KERNEL, MATERN_KERNEL)


@dataclass(frozen=True)
class GaussianProcessOptions(BaselineOptions):
    """How it is fitted.

    Attributes:
        kernel: ``rbf``, or ``matern`` (once differentiable, nu = 3/2).
        evidence_pairs: of how many pairs, at most, the evidence is maximised; its cost grows with their cube.

    Raises:
        InvalidOptionError: a value is out of range.
    """

    kernel: str = RBF_KERNEL
    evidence_pairs: int = 300

    def __post_init__(self) -> None:
        BaselineOptions.__post_init__(self)
        require(self.kernel in KERNELS, "kernel", self.kernel, f"one of {', '.join(KERNELS)}")
        require(10 <= self.evidence_pairs <= 5000, "evidence_pairs", self.evidence_pairs, "from 10 to 5000")


class _Process:
    """A Gaussian process whose variance, length scale and noise maximise the evidence of some of its pairs."""

    def __init__(self, options: GaussianProcessOptions, seed: int) -> None:
        self._options = options
        self._seed = seed

    def fit(self, x: Floats, y: Floats) -> None:
        """Learn rows (n, d) and targets (n,)."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor

        some = np.random.default_rng(self._seed).permutation(len(x))[: self._options.evidence_pairs]
        first = GaussianProcessRegressor(_kernel(self._options.kernel))
        with warnings.catch_warnings():  # a bound is reached where there is no noise, or nothing but noise
            warnings.simplefilter("ignore", ConvergenceWarning)
            first.fit(x[some], y[some])
        self._process = first
        if len(some) < len(x):
            self._process = GaussianProcessRegressor(first.kernel_, optimizer=None).fit(x, y)

    def ask(self, x: Floats) -> Answer:
        """Posterior means and standard deviations, noise included, of rows (n, d)."""
        return Answer(*self._process.predict(x, return_std=True))


def _kernel(name: str) -> Any:
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

    smooth = RBF(2.0, (0.1, 100.0)) if name == RBF_KERNEL else Matern(2.0, (0.1, 100.0), nu=1.5)
    return ConstantKernel(2.0, (1e-2, 1e4)) * smooth + WhiteKernel(0.1, (1e-4, 2.0))


def _ask(process: _Process, x: Floats) -> Answer:
    return process.ask(x)


@final
class GaussianProcessPredictor(Baseline):
    """Regression by a Gaussian process (Rasmussen and Williams 2006, algorithm 2.1; evidence: section 5.4.1).

    Half widths follow its posterior standard deviation: they grow away from the pairs that it learned.
    """

    kind: ClassVar[str] = "gaussian_process"
    Options: ClassVar[type[Any]] = GaussianProcessOptions
    ask: ClassVar[Ask] = staticmethod(_ask)

    @classmethod
    def regressor(cls, options: GaussianProcessOptions, seed: int) -> Any:
        """See `Baseline.regressor`."""
        return _Process(options, seed)

    @classmethod
    def suggest(cls, trial: Suggests) -> dict[str, OptionValue]:
        """See `AccuracyPredictor.suggest`."""
        return {**suggest_shared(trial), "kernel": trial.suggest_categorical("kernel", KERNELS)}
