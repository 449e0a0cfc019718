#!/usr/bin/env python3
"""Times models on this device. In a bundle: ``python profile.py``; it needs numpy and the bundle's runtime alone.

This file imports nothing of bitfront, so that it can travel; bitfront itself measures with the same functions.

The recipe: calls are compiled first and timed in rounds, each round in a new shuffled order, so that what
disturbs the machine for a while disturbs all of them alike. A sample is a loop of calls that is long against the
timer's own cost. Disturbances only ever make a sample longer, so that a low percentile of a call's samples counts.

Samples are kept in samples.json as they are taken: when interrupted, start it again.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Call = Callable[[], object]
Timer = Callable[[], int]
Progress = Callable[[int, int], None]
Samples = dict[str, list[float]]
"""Durations of one call in ms by the call's key, at most one of each round."""

PROGRESS = "progress"
"""Begins a line of progress; runtimes may print lines of their own."""

PLAN, SAMPLES, RESULTS = "plan.json", "samples.json", "results.csv"
COLUMNS = (
    "kind", "key", "latency_ms", "latency_q1_ms", "latency_median_ms", "latency_q3_ms",
    "latency_even_ms", "latency_odd_ms", "rounds",
)  # fmt: skip

_TYPICAL_PERCENTILE = 10
_NS_PER_MS = 1e6
_MOST_REPEATS = 10_000
_MOST_AT_ONCE = 512  # compiled models in memory
_ROUNDS_A_KILL_MAY_LOSE = 4
_VECTOR_FLAGS = ("avx", "fma", "f16c", "amx", "asimd", "sve", "i8mm", "bf16")
_COARSEST_SECONDS = 1e-5
_SECONDS_BETWEEN = 0.5  # lines of progress
_DECISIVE = ("cpu_model", "isa", "runtime", "runtime_version", "precision", "threads", "batch", "space_hash")
_VNNI = {"avx_vnni", "avx512_vnni"}


@dataclass(frozen=True)
class Protocol:
    """``rounds`` samples of at least ``sample_ns`` are taken of a call, each after ``warm_calls`` untimed ones."""

    rounds: int = 32
    warm_calls: int = 1
    sample_ns: int = 500_000


class Times(NamedTuple):
    """What a call took, in ms: typically, its quartiles, and typically in its even and its odd rounds alone."""

    latency_ms: float
    q1_ms: float
    median_ms: float
    q3_ms: float
    even_ms: float
    odd_ms: float
    rounds: int


def summary(samples: Sequence[float]) -> Times:
    """`Times` of one call's samples."""
    values = np.asarray(samples, dtype=np.float64)
    q1, median, q3 = np.percentile(values, (25, 50, 75)).tolist()
    odd = values[1::2] if len(values) > 1 else values
    return Times(typical(values), q1, median, q3, typical(values[::2]), typical(odd), len(values))


def typical(values: Any) -> float:
    """The duration that counts: the 10th percentile."""
    return float(np.percentile(values, _TYPICAL_PERCENTILE))


def timer_for(threads: int) -> Timer:
    """The steadiest timer that sees the whole work of a call, in nanoseconds.

    On one thread that is this thread's processor time: neighbours on the machine, and other threads of this
    process, hardly move it. Several threads overlap, so that only wall time is their latency; it also serves where
    processor time is counted in ticks, as on Windows.
    """
    is_fine = time.get_clock_info("thread_time").resolution <= _COARSEST_SECONDS
    return time.thread_time_ns if threads == 1 and is_fine else time.perf_counter_ns


def take_samples(
    open_call: Callable[[str], Call],
    keys: Sequence[str],
    samples: Samples,
    rng: np.random.Generator,
    protocol: Protocol,
    timer: Timer,
    keep: Callable[[], None] = lambda: None,
    progress: Progress = lambda done, total: None,
    at_once: int | None = None,
) -> None:
    """Fill ``samples`` up to ``protocol.rounds`` for every key.

    ``open_call`` compiles what a key stands for. Keys are taken in their order, so many ``at_once`` as memory has
    room for: only calls that are timed together are disturbed alike. ``keep`` is called every few rounds,
    ``progress`` with the share of the work that is done.
    """
    missing = [key for key in keys if len(samples.get(key, ())) < protocol.rounds]
    step = at_once or _MOST_AT_ONCE
    for start in range(0, len(missing), step):
        part = missing[start : start + step]
        pace = _Pace(progress, start, len(part), len(missing), protocol.rounds)
        calls = {}
        for key in part:
            calls[key] = open_call(key)
            pace.compiled()
        _rounds(calls, samples, rng, protocol, timer, keep, pace)


class _Pace:
    """Work done, in samples; compiling a model counts as half of its samples."""

    def __init__(self, progress: Progress, before: int, here: int, total: int, rounds: int) -> None:
        self._progress, self._weight, self._rounds, self._here = progress, max(1, rounds // 2), rounds, here
        each = self._weight + rounds
        self._done, self._total = before * each, total * each
        progress(self._done, self._total)

    def compiled(self) -> None:
        self._done += self._weight
        self._progress(self._done, self._total)

    def round(self) -> None:
        self._done += self._here
        self._progress(self._done, self._total)


def _rounds(
    calls: dict[str, Call],
    samples: Samples,
    rng: np.random.Generator,
    protocol: Protocol,
    timer: Timer,
    keep: Callable[[], None],
    pace: _Pace,
) -> None:
    keys = list(calls)
    repeats = {key: _repeats(call, protocol, timer) for key, call in calls.items()}
    for turn in range(protocol.rounds):
        for i in rng.permutation(len(keys)):
            key = keys[i]
            if len(samples.setdefault(key, [])) == protocol.rounds:
                continue
            for _ in range(protocol.warm_calls):
                calls[key]()
            samples[key].append(_duration_ns(calls[key], repeats[key], timer) / repeats[key] / _NS_PER_MS)
        if turn % _ROUNDS_A_KILL_MAY_LOSE == _ROUNDS_A_KILL_MAY_LOSE - 1 or turn == protocol.rounds - 1:
            keep()
        pace.round()


def _repeats(call: Call, protocol: Protocol, timer: Timer) -> int:
    for _ in range(1 + protocol.warm_calls):
        call()
    once = max(1, _duration_ns(call, 2, timer) // 2)
    return min(_MOST_REPEATS, math.ceil(protocol.sample_ns / once))


def _duration_ns(call: Call, repeats: int, timer: Timer) -> int:
    start = timer()
    for _ in range(repeats):
        call()
    return timer() - start


# -- runtimes -------------------------------------------------------------------------------------------------


def onnxruntime_call(model: bytes, threads: int, rng: np.random.Generator) -> Call:
    """A call of an ONNX model with one input and one output in ONNX Runtime, on random input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, onnxruntime_options(threads), ["CPUExecutionProvider"])
    (entry,), (result,) = session.get_inputs(), session.get_outputs()
    # Bound once, so that neither copies nor allocations are part of what is timed.
    binding = session.io_binding()
    given = _random(entry.shape, entry.type == "tensor(uint8)", rng)
    taken = np.zeros(result.shape, np.uint8 if result.type == "tensor(uint8)" else np.float32)
    binding.bind_ortvalue_input(entry.name, onnxruntime.OrtValue.ortvalue_from_numpy(given))
    binding.bind_ortvalue_output(result.name, onnxruntime.OrtValue.ortvalue_from_numpy(taken))
    return lambda: session.run_with_iobinding(binding)


def onnxruntime_options(threads: int) -> Any:
    """All optimisations, ``threads`` threads inside an operator, one operator at a time, no busy waiting."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if platform.machine() in ("x86_64", "AMD64") and _VNNI.isdisjoint(_cpu()[1]):
        # Without VNNI, sums of 8-bit products saturate unless this is set.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def openvino_call(model: bytes, threads: int, rng: np.random.Generator, precision: str) -> Call:
    """A call of an ONNX model with one input in OpenVINO on this CPU, on random input.

    ``precision`` (fp32 or bf16) is what everything runs in that the model does not quantize. Without that hint
    OpenVINO takes bf16 wherever the CPU has it.
    """
    return call_of_read(openvino_core().read_model(model), threads, rng, precision)


def call_of_read(model: Any, threads: int, rng: np.random.Generator, precision: str) -> Call:
    """`openvino_call` of a model that OpenVINO has read, whose shapes are fixed."""
    import openvino

    compiled = openvino_core().compile_model(model, "CPU", openvino_settings(threads, precision))
    request = compiled.create_infer_request()
    entry = compiled.input(0)
    values = _random(entry.shape, entry.get_element_type() == openvino.Type.u8, rng)
    request.set_input_tensor(openvino.Tensor(values))
    infer: Call = request.infer
    return infer


def openvino_settings(threads: int, precision: str) -> dict[str, Any]:
    """One stream on ``threads`` threads that are not pinned, in ``precision`` (fp32 or bf16)."""
    return {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }


_CORE: list[Any] = []


def openvino_core() -> Any:
    """The one that all models are read and compiled by."""
    import openvino

    if not _CORE:
        _CORE.append(openvino.Core())
    return _CORE[0]


def _random(shape: Sequence[int], codes: bool, rng: np.random.Generator) -> Any:
    sizes = tuple(int(size) for size in shape)
    if codes:
        return rng.integers(0, 256, sizes, dtype=np.uint8)
    return rng.standard_normal(sizes, dtype=np.float32)


def machine(runtime: str) -> dict[str, Any]:
    """What decides the numbers beside the settings: CPU, vector instructions, runtime and version."""
    model, flags = _cpu()
    return {
        "cpu_model": model,
        "isa": sorted(flag for flag in flags if flag.startswith(_VECTOR_FLAGS)),
        "runtime": runtime,
        "runtime_version": __import__(runtime).__version__,
        "system": platform.platform(),
    }


def _cpu() -> tuple[str, set[str]]:
    path = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    model = fields.get("model name") or fields.get("Hardware") or platform.processor() or platform.machine()
    return model, set(fields.get("flags", fields.get("Features", "")).split())


# -- a bundle -------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the plan beside this file asks for, and write results.csv."""
    parser = argparse.ArgumentParser(description="Measure the models of this bundle; writes results.csv.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--lines", action="store_true", help="Progress as lines for programs.")
    parser.add_argument("--at-once", type=int, metavar="N", help="Fewer models in memory, if it is short.")
    chosen = parser.parse_args(arguments)
    plan = json.loads((chosen.folder / PLAN).read_text())
    provenance = {**machine(plan["runtime"]), **plan["provenance"]}
    samples = _begun(chosen.folder / SAMPLES, provenance) or dict(plan["samples"])
    progress = _lines if chosen.lines else _bar(time.monotonic())
    _measure(plan, chosen.folder, provenance, samples, progress, chosen.at_once)
    provenance["date"] = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    calls = {call["key"]: samples[call["key"]] for call in plan["calls"]}
    _write_results(chosen.folder / RESULTS, provenance, calls)
    if not chosen.lines:
        print(f"\nmeasured {len(calls)} models: take {chosen.folder / RESULTS} back, 'bitfront device import' it")
    return 0


def _measure(
    plan: dict[str, Any],
    folder: Path,
    provenance: dict[str, Any],
    samples: Samples,
    progress: Progress,
    at_once: int | None,
) -> None:
    models = {call["key"]: folder / call["model"] for call in plan["calls"]}
    rng, threads = np.random.default_rng(plan["seed"]), provenance["threads"]

    def open_call(key: str) -> Call:
        model = models[key].read_bytes()
        if plan["runtime"] == "openvino":
            return openvino_call(model, threads, rng, provenance["precision"])
        return onnxruntime_call(model, threads, rng)

    def keep() -> None:
        _replace(folder / SAMPLES, json.dumps({"provenance": provenance, "samples": samples}))

    protocol = Protocol(**plan["protocol"])
    take_samples(open_call, list(models), samples, rng, protocol, timer_for(threads), keep, progress, at_once)


def _begun(path: Path, provenance: dict[str, Any]) -> Samples:
    """Samples of an interrupted run, unless what decides the numbers is another now."""
    if not path.is_file():
        return {}
    kept = json.loads(path.read_text())
    if any(kept["provenance"].get(name) != provenance.get(name) for name in _DECISIVE):
        print(f"{path} is from another machine, version or setting: measuring anew", file=sys.stderr)
        return {}
    return dict(kept["samples"])


def _write_results(path: Path, provenance: dict[str, Any], samples: Samples) -> None:
    beside = path.with_suffix(".tmp")
    with beside.open("w", newline="") as file:
        for name, value in provenance.items():
            file.write(f"# {name}: {json.dumps(value)}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for key, values in samples.items():
            *times, rounds = summary(values)
            writer.writerow(["call", key, *map(repr, times), rounds])
    beside.replace(path)


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text(text)
    beside.replace(path)


def _lines(done: int, total: int) -> None:
    print(PROGRESS, done, total, flush=True)


def _bar(start: float) -> Progress:
    told = [-math.inf]

    def show(done: int, total: int) -> None:
        if time.monotonic() - told[0] < _SECONDS_BETWEEN and done < total:
            return
        told[0] = time.monotonic()
        left = (time.monotonic() - start) * (total - done) / done if done else 0.0
        print(
            f"\r{done / total:6.1%} measured, about {left / 60:.1f} min left ", end="", file=sys.stderr, flush=True
        )

    return show


if __name__ == "__main__":
    sys.exit(main())
