"""Devices that measure, wherever they are: in this process, or on the machine of a Ray cluster that has them.

On a cluster a device that measures is a resource of its machine (see `device_resource`), of which each measurement
takes all, so that two never share one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.device_names import device_factory
from bitfront.experiments.foreign_tables import told_warnings
from bitfront.experiments.run import Run
from bitfront.experiments.stages.device_work import (
    Files,
    Networks,
    Profile,
    make_profiler,
    make_timer,
)
from bitfront.experiments.stages.measuring import MeasurementError
from bitfront.latency_lut.device import Device, MeasuringDevice
from bitfront.latency_lut.table import Table
from bitfront.search.executors.base import MOST_ATTEMPTS, Executor, Failure, device_resource
from bitfront.supernet.files import write_bytes
from bitfront.supernet.folded import Folded
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace


def profiled(
    run: Run, name: str, device: Device, space: SearchSpace, path: Path, rng: np.random.Generator
) -> Table:
    """The table of a device for a space that is restricted to it, kept at ``path``; see `Device.table`.

    Args:
        run: whose executor measures; a profile that was interrupted goes on, whoever began it.
        name: the device's, in the spec.
        device: as it is on this machine.
        space: see `Device.table`, and so are the others.
        path: where the table is, or will be.
        rng: for the plan.

    Raises:
        InvalidTableError, CorruptFileError, StorageError: an earlier table can not be used, or none be written.
        MeasurementError: the profile ended on its machine, with an error.
        WorkerStartError: no machine of the cluster has the device.
        CancelledError: the experiment was cancelled; what was measured is kept.
    """
    progress = run.progress(f"{name} table")
    if not (device.is_measured and _is_elsewhere(run)):
        with told_warnings(run.reporter.say):
            return device.table(space, path, rng, progress)
    # A complete table is sent as well: the machine that measures knows whether the times are its own.
    profile = Profile(_maker(run, name), space, rng, path.name)
    profile_on(run.executor(), _registered(run, name), profile, path.parent, progress, run.reporter.say)
    return Table.load(path, device.name, space.hash())


def profile_on(
    executor: Executor,
    device: str,
    profile: Profile,
    folder: Path,
    progress: Progress,
    say: Callable[[str], None],
) -> None:
    """Leave a profile's table in ``folder``, measured on a worker that has the device of this registry name.

    What is there of an earlier profile is gone on from, and all that the worker keeps is kept here at once.

    Raises:
        MeasurementError, WorkerStartError: see `profiled`.
    """
    told: Files | None = None
    begun = 0
    while True:
        found = executor.map(make_profiler, profile, [told], resources={device_resource(device): 1})
        answer = _answered(device, found[0])
        told = None
        if answer is None:  # a new worker
            begun += 1
            if begun > MOST_ATTEMPTS:
                raise MeasurementError(
                    f"{device} could not be profiled: {MOST_ATTEMPTS} workers died of it in a row"
                )
            told = _kept(folder, profile.table)
            continue
        begun = 0 if any(answer.files.values()) else begun
        _keep(folder, answer.files)
        for words in answer.said:
            say(words)
        if answer.error is not None:
            raise MeasurementError(f"{device} could not be profiled on its machine: {answer.error}")
        progress(answer.done, answer.total)
        if answer.has_ended:
            return


def measured(
    run: Run, name: str, device: MeasuringDevice, networks: Sequence[Folded], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Latency of whole networks in ms, shape (n,); see `MeasuringDevice.measure`.

    Raises:
        MeasurementError: they could not be measured on the machine that has the device.
        WorkerStartError: no machine of the cluster has the device.
    """
    if not _is_elsewhere(run):
        with told_warnings(run.reporter.say):
            return device.measure(networks, rng)
    resources = {device_resource(_registered(run, name)): 1}
    make = cast(Callable[[], MeasuringDevice], _maker(run, name))
    found = run.executor().map(make_timer, make, [Networks(networks, rng)], resources=resources)
    latencies = _answered(name, found[0])
    for words in latencies.said:
        run.reporter.say(words)
    return np.array(latencies.ms)


def _is_elsewhere(run: Run) -> bool:
    return run.spec.executor.kind != "local"


def _registered(run: Run, name: str) -> str:
    return run.spec.named_devices[name].name


def _maker(run: Run, name: str) -> Callable[[], Device]:
    section = run.spec.named_devices[name]
    return partial(device_factory(run.home, section.name), **section.options)


def _kept(folder: Path, table: str) -> Files:
    """What there is of a profile: its table, and unfinished work beside."""
    stem = Path(table).stem
    places = [folder / table, *folder.glob(f"{stem}.*.json")]
    return {path.name: path.read_bytes() for path in places if path.is_file()}


def _keep(folder: Path, files: Files) -> None:
    # Tables before what goes, so that a kill in between loses nothing.
    for name, content in sorted(files.items(), key=lambda entry: entry[1] is None):
        if content is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_bytes(folder / name, content)


def _answered(device: str, result: Any) -> Any:
    if isinstance(result, Failure):
        raise MeasurementError(f"{device} could not be measured on its machine: {result.error}")
    return result
