"""Devices that are a runtime on this machine: their tables are measured call by call, and can be resumed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.bundle.profile import Call, Protocol, Samples, Timer, Times, summary, take_samples
from bitfront.latency_lut.derive import LATENCY, derive
from bitfront.latency_lut.device import MeasuringDevice
from bitfront.latency_lut.machine_lock import measuring_alone
from bitfront.latency_lut.one_layer import REPRESENTATIVES, one_layer
from bitfront.latency_lut.profile_plan import Chain, profile_plan
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.stored_times import StoredTimes
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.host_cpu import host_cpu
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.folded import Folded
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace

_FP32 = ("fp32", "fp32")

Part = Callable[[], Folded]
"""Builds a network, or a part of one; only while it is compiled are its weights in memory."""


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
        """A call that runs a network, or a part of one between neighbours of its own formats, on random input."""

    @abstractmethod
    def machine(self) -> dict[str, Any]:
        """What else decides the numbers, JSON-able: what `on_this_cpu` gives, and more where there is more."""

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
        return np.array([one.latency_ms for one in self.time_networks(networks, rng)])

    def time_networks(self, networks: Sequence[Folded], rng: np.random.Generator) -> list[Times]:
        """All that is behind `measure`, in the same order.

        Raises:
            UnsupportedError: a network has formats that this device can not execute.
        """
        for network in networks:
            self._refuse_unexecutable(network)
        samples: Samples = {}
        self.sample({str(i): partial(_same, network) for i, network in enumerate(networks)}, samples, rng)
        return [summary(samples[str(i)]) for i in range(len(networks))]

    def table(
        self, space: SearchSpace, path: Path | None, rng: np.random.Generator, progress: Progress | None = None
    ) -> Table:
        """Measure every call of the plan that is not known from ``path``, or from unfinished work beside it.

        Raises:
            InvalidTableError: the table at ``path`` is another device's or space's, has other settings, or was
                measured elsewhere and is not complete.
            StorageError: a file can not be written.
        """
        space = self.restrict(space)
        blocks = unique_blocks(space, self)
        stored = StoredTimes(path, self.name, space.hash(), self.provenance())
        finished = stored.finished(blocks)
        if finished is not None:
            return finished
        plan_rng, call_rng = rng.spawn(2)
        plan = profile_plan(space, blocks, plan_rng)
        parts = {key: partial(random_folded, plan[key], call_rng) for key in stored.unknown(plan)}
        self.sample(parts, stored.samples, call_rng, stored.keep, progress or silent)
        table = self.derived_table(space.hash(), plan, stored.times())
        stored.finish(table)
        return table

    def sample(
        self,
        parts: Mapping[str, Part],
        samples: Samples,
        rng: np.random.Generator,
        keep: Callable[[], None] = lambda: None,
        progress: Progress = silent,
    ) -> None:
        """Fill ``samples`` of every part up to the protocol's rounds; see `take_samples`.

        Processes that measure on one machine take turns; see `measuring_alone`.
        """

        def open_call(key: str) -> Call:
            return self.compile_part(parts[key](), rng)

        with measuring_alone(lambda: progress(0, len(parts))):
            take_samples(open_call, list(parts), samples, rng, self.protocol, self.timer, keep, progress)

    def layer_gains(self, rng: np.random.Generator) -> dict[str, dict[tuple[str, str], float]]:
        """Measured now, per operator and executable (weight, activation) format pair: fp32's time over the pair's.

        The layers are those of `one_layer`, all timed in the same rounds.
        """
        wanted = [(op, pair) for op in REPRESENTATIVES for pair in sorted(self.executable(op) | {_FP32})]
        parts = {f"{op} {pair}": partial(random_folded, one_layer(op, *pair), rng) for op, pair in wanted}
        samples: Samples = {}
        self.sample(parts, samples, rng)
        times = {key: summary(values).latency_ms for key, values in samples.items()}
        return {
            op: {pair: times[f"{op} {_FP32}"] / times[f"{op} {pair}"] for pair in sorted(self.executable(op))}
            for op in REPRESENTATIVES
        }

    def derived_table(self, space_hash: str, plan: Mapping[str, Chain], times: Mapping[str, Times]) -> Table:
        """The table that follows from the times of a plan's calls.

        Raises:
            InvalidTableError: no costs can be derived from them.
        """
        found = derive(times, plan)
        return Table(
            device=self.name,
            space_hash=space_hash,
            costs=self.costs,
            entries={key: {LATENCY: cost} for key, cost in found.entries.items()},
            borders={key: {LATENCY: cost} for key, cost in found.borders.items()},
            provenance={**self.provenance(), **found.facts},
            correction={LATENCY: found.correction},
            details={key: one._asdict() for key, one in times.items()},
        )

    def _refuse_unexecutable(self, network: Folded) -> None:
        for folded in network.layers:
            layer = folded.layer
            if (layer.weight_format, layer.activation_format) not in self.executable(layer.op):
                raise UnsupportedError(
                    f"{self.name} can not execute {layer.name} with {layer.weight_format} weights and "
                    f"{layer.activation_format} activations: sample from device.restrict(space)"
                )


def on_this_cpu(runtime: str, version: str) -> dict[str, Any]:
    """The facts of `RuntimeDevice.machine` for a runtime on the CPU of this machine."""
    cpu = host_cpu()
    return {"cpu_model": cpu.model, "isa": list(cpu.isa), "runtime": runtime, "runtime_version": version}


def _same(network: Folded) -> Folded:
    return network
