"""A device answers one question: what does this block cost, in ms and mJ? It also says what it can execute."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.table import Table
from bitfront.supernet.folded import Folded
from bitfront.supernet.layers import Block
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace

if TYPE_CHECKING:
    from bitfront.latency_lut.cost_model import CostModel

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
        self, space: SearchSpace, path: Path | None, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        """The costs of every block of ``space`` (restricted to this device) by op key, kept at ``path``, if given.

        A measured device goes on from what an interrupted call left at ``path``.
        """

    def covers(self, block: Block) -> bool:
        """Whether the device has costs for a block in formats that it executes; some tables have gaps."""
        return True

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """Where this device's numbers come from, JSON-able: machine, versions, settings."""

    @final
    def compile(
        self,
        space: SearchSpace,
        path: Path | None = None,
        rng: np.random.Generator | None = None,
        progress: Progress | None = None,
    ) -> CostModel:
        """`table`, as the cost model of ``space`` restricted to this device.

        Raises:
            InvalidTableError: an earlier table at ``path`` can not be used, or lacks blocks of the space.
            UnsupportedError: a layer of the space has no format pair that the device executes.
        """
        from bitfront.latency_lut.cost_model import compile_costs

        space = self.restrict(space)
        table = self.table(space, path, rng or np.random.default_rng(0), progress)
        return compile_costs(space, self, table)

    @final
    def restrict(self, space: Space) -> Space:
        """The space without what this device can not execute or has no costs for; see `restrict_to_covered`.

        Raises:
            UnsupportedError: a layer of the space has no format pair that the device executes, or a slot has no
                block that it covers.
        """
        from bitfront.latency_lut.coverage import restrict_to_covered

        executable = space.restrict_formats(self.executable)
        if type(self).covers is Device.covers:
            return executable
        return restrict_to_covered(executable, self, self.covers)


class MeasuringDevice(Device):
    """A device at hand: whole networks can be run on it."""

    is_measured = True

    @abstractmethod
    def measure(self, networks: Sequence[Folded], rng: np.random.Generator) -> NDArray[np.float64]:
        """Measured latency of whole networks in ms of one call with the device's batch, shape (n,)."""
