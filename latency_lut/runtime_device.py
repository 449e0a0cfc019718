"""Devices that are a runtime on this machine: their tables are measured block by block, and can be resumed.

A block is timed as it stands between neighbours of its own formats. What calling the runtime costs is taken off
each block; it is known from chains of a block that keeps its shape: a chain of four takes three blocks longer
than one, and the rest is the call. The sum of blocks is then corrected by a few whole networks measured alike.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.correction import fit_correction, mean_relative_error
from bitfront.latency_lut.device import MeasuringDevice
from bitfront.latency_lut.measure import Call, Protocol, Timer, measure_calls, repeatability, typical
from bitfront.latency_lut.op_key import op_key
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.stored_times import LATENCY, StoredTimes
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.folded import Folded
from bitfront.supernet.layers import Block
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace

CORRECTION_NETWORKS = 16
"""Random whole networks behind the correction of a table."""

_CHUNK = 64  # blocks that are compiled at a time, and that a kill may lose
_CHAINS = 12
_COPIES = 4


class RuntimeDevice(MeasuringDevice):
    """A runtime on this machine. ``latency_ms`` is the time of one call with ``batch`` images.

    Raises:
        UnsupportedError: an option is not a whole number, or too small.
    """

    costs = (LATENCY,)

    def __init__(self, threads: int, batch: int, protocol: Protocol, timer: Timer) -> None:
        for option, value, least in (("threads", threads, 1), ("batch", batch, 1), ("rounds", protocol.rounds, 2)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UnsupportedError(
                    f"{self.name} can not run with {option} = {value!r}: choose a whole number from {least}"
                )
        self.threads, self.batch, self.protocol, self.timer = threads, batch, protocol, timer

    @abstractmethod
    def compile_part(self, part: Folded, rng: np.random.Generator) -> Call:
        """A call that runs a part of a network, between neighbours of its own formats, on random input."""

    @abstractmethod
    def compile_network(self, network: Folded, rng: np.random.Generator) -> Call:
        """A call that runs a whole network on random input."""

    @abstractmethod
    def machine(self) -> dict[str, Any]:
        """What else decides the numbers, JSON-able: cpu_model, isa, runtime, runtime_version."""

    def provenance(self) -> dict[str, Any]:
        """Machine, runtime, settings and date."""
        return {
            **self.machine(),
            "threads": self.threads,
            "batch": self.batch,
            "rounds": self.protocol.rounds,
            "sample_ms": self.protocol.sample_ns / 1e6,
            "timer": getattr(self.timer, "__name__", type(self.timer).__name__),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def measure(self, networks: Sequence[Folded], rng: np.random.Generator) -> NDArray[np.float64]:
        """Latency of whole networks in ms for one call with ``batch`` images, shape (n,).

        Raises:
            UnsupportedError: a network has formats that this device can not execute.
        """
        return typical(self.sample_networks(networks, rng))

    def sample_networks(self, networks: Sequence[Folded], rng: np.random.Generator) -> NDArray[np.float64]:
        """All samples behind `measure`, shape (n, rounds)."""
        for network in networks:
            self._refuse_unexecutable(network)
        calls = [self.compile_network(network, rng) for network in networks]
        return measure_calls(calls, rng, self.protocol, self.timer)

    def table(
        self, space: SearchSpace, path: Path, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        """Measure every block of the space that is not known from ``path``, or from unfinished work beside it.

        Raises:
            InvalidTableError: the table at ``path`` is another device's or space's, has other settings, or was
                measured elsewhere and is not complete.
            StorageError: a file can not be written.
        """
        space, report = self.restrict(space), progress or silent
        blocks = unique_blocks(space, self)
        times = StoredTimes(path, self.name, space.hash(), self.provenance())
        finished = times.finished(blocks)
        if finished is not None:
            return finished
        block_rng, chain_rng, network_rng = rng.spawn(3)
        total = len(blocks) + CORRECTION_NETWORKS
        self._measure_blocks(blocks, times, block_rng, lambda done, _: report(done, total))
        overhead = self._call_overhead_ms(blocks, chain_rng)
        entries = {key: {LATENCY: max(0.0, times.typical_ms(key) - overhead)} for key in times.details}
        table = self._corrected(space, entries, {"call_overhead_ms": overhead}, times, network_rng)
        times.finish(table)
        report(total, total)
        return table

    def _measure_blocks(
        self, blocks: Mapping[str, Block], times: StoredTimes, rng: np.random.Generator, progress: Progress
    ) -> None:
        missing = [key for key in blocks if key not in times.details]
        # Shuffled, so that slow changes of the machine do not follow the structure of the space.
        order = [missing[i] for i in rng.permutation(len(missing))]
        for start in range(0, len(order), _CHUNK):
            progress(len(blocks) - len(order) + start, len(blocks))
            keys = order[start : start + _CHUNK]
            times.add(keys, self._sample_parts([(blocks[key],) for key in keys], rng))
        progress(len(blocks), len(blocks))

    def _sample_parts(self, parts: Sequence[Sequence[Block]], rng: np.random.Generator) -> NDArray[np.float64]:
        calls = [self.compile_part(random_folded(blocks, rng), rng) for blocks in parts]
        return measure_calls(calls, rng, self.protocol, self.timer)

    def _call_overhead_ms(self, blocks: Mapping[str, Block], rng: np.random.Generator) -> float:
        """What a call costs beside its blocks; 0, left to the correction, where no block keeps its shape."""
        keeping = [block for block in blocks.values() if block.residual]
        if not keeping:
            return 0.0
        picks = rng.choice(len(keeping), size=min(_CHAINS, len(keeping)), replace=False)
        parts = [_copies(keeping[i], copies) for i in picks for copies in (1, _COPIES)]
        one, chain = typical(self._sample_parts(parts, rng)).reshape(-1, 2).T
        return max(0.0, float(np.median(one - (chain - one) / (_COPIES - 1))))

    def _corrected(
        self,
        space: SearchSpace,
        entries: Mapping[str, Mapping[str, float]],
        facts: Mapping[str, Any],
        times: StoredTimes,
        rng: np.random.Generator,
    ) -> Table:
        # From the smallest to the largest, for a search goes to both ends.
        genomes = np.concatenate([space.extremes(), space.sample(CORRECTION_NETWORKS - 2, rng, "sizes")])
        networks = [space.blocks(genome) for genome in genomes]
        samples = self.sample_networks([random_folded(network, rng) for network in networks], rng)
        measured = typical(samples)
        sums = np.array([sum(entries[op_key(block)][LATENCY] for block in network) for network in networks])
        correction = fit_correction(sums, measured)
        provenance = {
            **self.provenance(),
            **facts,
            "correction_networks": CORRECTION_NETWORKS,
            "correction_error": mean_relative_error(correction.offset + correction.scale * sums, measured),
            "networks_tau_with_themselves": repeatability(samples),
        }
        return Table(
            self.name, space.hash(), self.costs, entries, provenance, {LATENCY: correction}, times.details
        )  # fmt: skip

    def _refuse_unexecutable(self, network: Folded) -> None:
        for folded in network.layers:
            layer = folded.layer
            if (layer.weight_format, layer.activation_format) not in self.executable(layer.op):
                raise UnsupportedError(
                    f"{self.name} can not execute {layer.name} with {layer.weight_format} weights and "
                    f"{layer.activation_format} activations: sample from device.restrict(space)"
                )


def _copies(block: Block, copies: int) -> tuple[Block, ...]:
    return tuple(
        replace(
            block,
            name=f"copy{i}.{block.name}",
            layers=tuple(replace(layer, name=f"copy{i}.{layer.name}") for layer in block.layers),
        )
        for i in range(copies)
    )
