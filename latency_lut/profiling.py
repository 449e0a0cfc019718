"""Devices that are a runtime on this machine: their tables are measured block by block, and can be resumed.

A block is timed as it stands between neighbours of its own formats. What calling the runtime costs is taken off
each block; it is known from chains of one block that keeps its shape: a chain of four takes three blocks longer
than one, and the rest is the call. The sum of blocks is then corrected by a few whole networks measured alike.
"""

from __future__ import annotations

import warnings
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
from bitfront.latency_lut.table import InvalidTableError, Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.folded import Folded
from bitfront.supernet.layers import Block
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace

CORRECTION_NETWORKS = 16

_CHUNK = 64  # compiled blocks that are in memory, and lost by a kill, at a time
_CHAINS = 12
_COPIES = 4
_QUARTILES = (25, 50, 75)
_LATENCY = "latency_ms"
_MACHINE = ("cpu_model", "isa", "runtime", "runtime_version")
_SETTINGS = ("threads", "batch")

Details = dict[str, Mapping[str, Any]]


class ForeignTableWarning(UserWarning):
    """A table was measured on another machine, or with another version of the runtime."""


class RuntimeDevice(MeasuringDevice):
    """A runtime on this machine. ``latency_ms`` is the time of one call with ``batch`` images."""

    costs = (_LATENCY,)

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
            "timer": getattr(self.timer, "__name__", "custom"),
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
        """Measure every block of the space, or read what was measured before from ``path``.

        While it works, what is measured so far stands beside ``path`` (``*.partial.json``).

        Raises:
            InvalidTableError: the table at ``path`` is another device's or space's, or has other settings.
            StorageError: a file can not be written.
        """
        restricted = self.restrict(space)
        blocks = unique_blocks(restricted, self)
        finished = self._stored(path, space.hash())
        if finished is not None and blocks.keys() <= finished.entries.keys():
            return finished
        block_rng, chain_rng, network_rng = rng.spawn(3)
        details = self._profile(blocks, path, space.hash(), block_rng, progress or silent)
        table = self._assembled(restricted, blocks, details, chain_rng, network_rng)
        table.save(path)
        _partial(path).unlink(missing_ok=True)
        total = len(blocks) + CORRECTION_NETWORKS
        (progress or silent)(total, total)
        return table

    # -- blocks -----------------------------------------------------------------------------------------

    def _profile(
        self,
        blocks: Mapping[str, Block],
        path: Path,
        space_hash: str,
        rng: np.random.Generator,
        progress: Progress,
    ) -> Details:
        """Raw times of all blocks, going on from what is stored."""
        details = {key: value for key, value in self._resumed(path, space_hash).items() if key in blocks}
        missing = [key for key in blocks if key not in details]
        order = [missing[i] for i in rng.permutation(len(missing))]
        total = len(blocks) + CORRECTION_NETWORKS
        progress(len(details), total)
        for start in range(0, len(order), _CHUNK):
            keys = order[start : start + _CHUNK]
            samples = self._sample_parts([(blocks[key],) for key in keys], rng)
            details.update(zip(keys, map(_detail, samples), strict=True))
            entries = {key: {_LATENCY: detail["quartiles_ms"][0]} for key, detail in details.items()}
            Table(self.name, space_hash, self.costs, entries, self.provenance(), details=details).save(
                _partial(path)
            )
            progress(len(details), total)
        return details

    def _sample_parts(self, parts: Sequence[Sequence[Block]], rng: np.random.Generator) -> NDArray[np.float64]:
        calls = [self.compile_part(random_folded(blocks, rng), rng) for blocks in parts]
        return measure_calls(calls, rng, self.protocol, self.timer)

    def _call_overhead_ms(self, blocks: Mapping[str, Block], rng: np.random.Generator) -> float:
        """What a call costs beside its blocks. A space without blocks that keep their shape does not tell."""
        keeping = [block for block in blocks.values() if block.residual]
        if not keeping:
            return 0.0
        picks = rng.choice(len(keeping), size=min(_CHAINS, len(keeping)), replace=False)
        parts = [_copies(keeping[i], copies) for i in picks for copies in (1, _COPIES)]
        one, chain = typical(self._sample_parts(parts, rng)).reshape(-1, 2).T
        return max(0.0, float(np.median(one - (chain - one) / (_COPIES - 1))))

    # -- the table --------------------------------------------------------------------------------------

    def _assembled(
        self,
        space: SearchSpace,
        blocks: Mapping[str, Block],
        details: Details,
        chain_rng: np.random.Generator,
        network_rng: np.random.Generator,
    ) -> Table:
        overhead = self._call_overhead_ms(blocks, chain_rng)
        entries = {
            key: {_LATENCY: max(0.0, float(detail["quartiles_ms"][0]) - overhead)}
            for key, detail in details.items()
        }
        networks = [space.blocks(genome) for genome in space.sample(CORRECTION_NETWORKS, network_rng)]
        samples = self.sample_networks([random_folded(blocks, network_rng) for blocks in networks], network_rng)
        measured = typical(samples)
        sums = np.array([sum(entries[op_key(block)][_LATENCY] for block in network) for network in networks])
        correction = fit_correction(sums, measured)
        facts = {
            "call_overhead_ms": overhead,
            "correction_networks": CORRECTION_NETWORKS,
            "correction_error": mean_relative_error(correction.offset + correction.scale * sums, measured),
            "networks_repeatability_tau": repeatability(samples),
        }
        provenance = {**self.provenance(), **facts}
        return Table(self.name, space.hash(), self.costs, entries, provenance, {_LATENCY: correction}, details)

    # -- what is stored ---------------------------------------------------------------------------------

    def _stored(self, path: Path, space_hash: str) -> Table | None:
        if not path.is_file():
            return None
        table = Table.load(path, self.name, space_hash)
        here = self.provenance()
        if other := _differences(table.provenance, here, _SETTINGS):
            raise InvalidTableError(
                f"{path} was measured with {other}: ask for the same settings, or keep the new table in another file"
            )
        if other := _differences(table.provenance, here, _MACHINE):
            warnings.warn(
                f"{path} was measured on another machine or version: {other}. Its latencies may not hold here; "
                "delete it to measure again",
                ForeignTableWarning,
                stacklevel=3,
            )
        return table

    def _resumed(self, path: Path, space_hash: str) -> Details:
        """Raw times that an interrupted call, or one for a part of the space, left behind on this machine."""
        details: Details = {}
        for file in (path, _partial(path)):
            if file.is_file():
                table = Table.load(file, self.name, space_hash)
                if not _differences(table.provenance, self.provenance(), _MACHINE + _SETTINGS):
                    details.update(table.details)
        return details

    def _refuse_unexecutable(self, network: Folded) -> None:
        for folded in network.layers:
            layer = folded.layer
            if (layer.weight_format, layer.activation_format) not in self.executable(layer.op):
                raise UnsupportedError(
                    f"{self.name} can not execute {layer.name} with {layer.weight_format} weights and "
                    f"{layer.activation_format} activations: sample from device.restrict(space)"
                )


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.stem}.partial.json")


def _detail(samples: NDArray[np.float64]) -> dict[str, Any]:
    return {"quartiles_ms": np.percentile(samples, _QUARTILES).tolist(), "rounds": len(samples)}


def _copies(block: Block, copies: int) -> tuple[Block, ...]:
    return tuple(
        replace(
            block,
            name=f"copy{i}.{block.name}",
            layers=tuple(replace(layer, name=f"copy{i}.{layer.name}") for layer in block.layers),
        )
        for i in range(copies)
    )


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(
        f"{name} {there.get(name)!r} (here {here[name]!r})" for name in names if there.get(name) != here[name]
    )
