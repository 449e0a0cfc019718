"""What an accuracy predictor is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bitfront.predictors import stored
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.options import OptionValue, read_options
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

How = Literal["fp32", "from scratch", "transferred"]
"""It learned architectures in fp32; or pairs of any policy at once; or either, and then quantized pairs."""
COVERAGE = 0.9
"""The share of new candidates that ``mean`` plus or minus ``half_width`` is meant to hold."""


class OtherSpaceError(BitfrontError):
    """A stored predictor belongs to another space."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Expected top-1 accuracy ``mean`` (n,), a fraction, and ``half_width`` (n,) of its `COVERAGE` interval.

    Half widths are calibrated on pairs that were not learned from; where they differ between candidates, the
    wider ones are those that the predictor knows less of.
    """

    mean: NDArray[np.float64]
    half_width: NDArray[np.float64]


class Suggests(Protocol):
    """What proposes option values, such as an `optuna.Trial`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from ``low`` to ``high``."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """A whole number from ``low`` to ``high``."""

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        """One of ``choices``."""


class AccuracyPredictor(ABC):
    """Predicts the accuracy of candidates of one space, and says how sure it is.

    A subclass names its ``kind`` (as in `PREDICTORS`) and its ``Options``: a frozen dataclass whose fields all
    have defaults and whose ``__post_init__`` refuses values out of range with `InvalidOptionError`.

    Attributes:
        space: whose candidates it predicts.
        options: how it was fitted.
        pairs: what it learned last: fp32 ones after `fit`, quantized ones after `transfer` and `from_scratch`.
        earlier: what it learned before that, where it was transferred.
        with_policy: whether it has seen policies; else it says the same of all policies of an architecture.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[Any]]

    space: SearchSpace
    options: Any
    pairs: Pairs
    earlier: Pairs | None
    with_policy: bool

    @property
    @final
    def how(self) -> How:
        """How it came about."""
        if self.earlier is not None:
            return "transferred"
        return "from scratch" if self.with_policy else "fp32"

    # -- learning ---------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def fit(
        cls,
        space: SearchSpace,
        pairs: Pairs,
        rng: np.random.Generator,
        options: Mapping[str, OptionValue] | None = None,
    ) -> Self:
        """Learn from fp32 pairs, by architecture alone.

        Raises:
            InvalidPairsError: too few pairs. InvalidGenomeError: a genome is not of ``space``.
            UnknownNameError, InvalidOptionError: an option is unknown, or its value makes no sense.
            NumericalError: fitting diverged.
        """

    @classmethod
    @abstractmethod
    def from_scratch(
        cls,
        space: SearchSpace,
        pairs: Pairs,
        rng: np.random.Generator,
        options: Mapping[str, OptionValue] | None = None,
    ) -> Self:
        """Learn from pairs of any policy, architecture and policy together, with no fp32 pairs before.

        Raises:
            As `fit`.
        """

    @abstractmethod
    def transfer(self, pairs: Pairs, rng: np.random.Generator) -> Self:
        """A predictor of quantized candidates that starts from this one; this one stays as it is.

        It has this one's options. Called again on its result, it learns from the new pairs instead: it always
        starts from what `fit` or `from_scratch` made. Pairs that were learned there are left out, as they can not
        tell how far predictions are off.

        Raises:
            InvalidPairsError: as `fit`, or too few pairs are left.
            InvalidGenomeError, NumericalError: as `fit`.
        """

    @classmethod
    @abstractmethod
    def suggest(cls, trial: Suggests) -> dict[str, OptionValue]:
        """Values for options worth tuning, from ranges that make sense for any space."""

    @classmethod
    @final
    def read_options(cls, given: Mapping[str, OptionValue] | None) -> Any:
        """``given`` as this kind's ``Options``; what is not given has its default.

        Raises:
            UnknownNameError, InvalidOptionError: an option is unknown, or its value makes no sense.
        """
        return read_options(cls.Options, given or {}, f"option of predictor {cls.kind!r}")

    # -- asking -----------------------------------------------------------------------------------------

    @abstractmethod
    def predict(self, genomes: Genomes) -> Prediction:
        """Accuracy of canonical genomes, shape (n, n_genes). Rows do not influence each other."""

    def mean(self, genomes: Genomes) -> NDArray[np.float64]:
        """The means of `predict` alone, which some kinds give at less cost."""
        return self.predict(genomes).mean

    # -- keeping ----------------------------------------------------------------------------------------

    @abstractmethod
    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that `_restored` needs beside space and options: tensors, and plain JSON values."""

    @classmethod
    @abstractmethod
    def _restored(
        cls, space: SearchSpace, options: Any, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
    ) -> Self:
        """The predictor again; a `KeyError`, `TypeError` or `ValueError` says that a part is missing."""

    @final
    def save(self, path: Path, metrics: Mapping[str, float] | None = None) -> None:
        """Write it as safetensors, with its manifest in the header and, for people, as JSON beside.

        Args:
            path: a file; one that is there is replaced.
            metrics: what it reached on held-out pairs, for the manifest.
        """
        tensors, values = self._state()
        stored.write(
            path,
            tensors,
            stored.manifest(self, asdict(self.options), values, metrics or {}),
        )

    @classmethod
    @final
    def load(cls, path: Path, space: SearchSpace) -> Self:
        """Read back what `save` wrote; `predictors.load_predictor` does so for any kind.

        Raises:
            MissingFileError, CorruptFileError: as `files.load_tensors`.
            OtherSpaceError: it was made for another space; the message names genes that differ.
        """
        tensors, manifest = stored.read(path)
        if manifest["kind"] != cls.kind:
            raise stored.no_such_kind(path, manifest["kind"], cls.kind)
        if words := stored.differences(space, manifest):
            raise OtherSpaceError(f"{path} {words}")
        with stored.complete(path):
            return cls._restored(space, cls.read_options(manifest["options"]), tensors, manifest["values"])
