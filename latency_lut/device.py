"""A device answers one question: what does this block cost, in ms and mJ? It also says what it can execute."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.table import Table
from bitfront.supernet.folded import Folded
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace

Space = TypeVar("Space", bound=SearchSpace)


class Device(ABC):
    """A target that networks are deployed on.

    ``name`` is its registry name; ``costs`` are the metrics that it gives for a block, out of ``latency_ms``
    and ``energy_mj``, both of one call with the device's batch of images; ``is_measured`` says whether they
    come from running on this machine.
    """

    name: str
    costs: tuple[str, ...]
    is_measured: bool

    @abstractmethod
    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        """The (weight format, activation format) pairs that it really executes for an operator.

        ``op`` is one of conv, pointwise, depthwise, linear.
        """

    @abstractmethod
    def table(
        self, space: SearchSpace, path: Path, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        """The costs of every block of ``space`` (restricted to this device) by op key, kept at ``path``.

        A measured device goes on from what an interrupted call left at ``path``.
        """

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """Where this device's numbers come from, JSON-able: machine, versions, settings."""

    @final
    def restrict(self, space: Space) -> Space:
        """The space without what this device can not execute.

        Raises:
            UnsupportedError: a layer of the space has no format pair that the device executes.
        """
        return space.restrict_formats(self.executable)


class MeasuringDevice(Device):
    """A device at hand: whole networks can be run on it."""

    is_measured = True

    @abstractmethod
    def measure(self, networks: Sequence[Folded], rng: np.random.Generator) -> NDArray[np.float64]:
        """Measured latency of whole networks in ms of one call with the device's batch, shape (n,)."""
