"""Training by several processes: Ray workers, one GPU each where there are GPUs, that average their gradients."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitfront.experiments.run import Run
from bitfront.experiments.spec_data import DataSection
from bitfront.experiments.spec_supernet import SupernetSection
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.spaces.settings import SpaceSettings
from bitfront.supernet.training import TrainingSettings

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class _Order:
    """What every worker needs: names that it resolves by itself."""

    space: SpaceSettings
    data: DataSection
    settings: TrainingSettings
    seed: int
    folder: str
    device: str
    threads: int
    processes: int


def train_together(run: Run, settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    """The manifest of a supernet that ``supernet.processes`` Ray workers trained into ``folder``.

    Workers on other machines need the home on a file system that they share, and the data at the same place.

    Raises:
        WorkerStartError: there is no cluster.
        Exception: whatever a worker failed with.
    """
    from bitfront.search.executors.ray_actors import RayExecutor

    workers = run.spec.supernet.processes * run.spec.supernet.threads
    with closing(RayExecutor(workers, run.spec.executor.address)):
        return _together(run, settings, folder)


def _together(run: Run, settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    import ray

    wanted = run.spec.supernet
    order = _Order(
        run.space_settings(), run.spec.data, settings, run.spec.seed, str(folder.resolve()),
        wanted.device, wanted.threads, wanted.processes,
    )  # fmt: skip
    _refuse_few_cpus(wanted)
    gpus = 1 if ray.cluster_resources().get("GPU", 0) >= wanted.processes else 0
    kind = ray.remote(_Worker).options(num_cpus=wanted.threads, num_gpus=gpus, max_restarts=0)
    workers = [kind.remote() for _ in range(wanted.processes)]
    progress = run.progress("training epochs")
    try:
        return _first_of(workers, order, lambda: progress(_epochs_done(folder), settings.epochs))
    finally:
        for worker in workers:  # where one failed, the others wait for it
            ray.kill(worker)


def _refuse_few_cpus(wanted: SupernetSection) -> None:
    import ray

    from bitfront.search.executors.base import WorkerStartError

    cpus, needed = int(ray.cluster_resources().get("CPU", 0)), wanted.processes * wanted.threads
    if cpus < needed:
        raise WorkerStartError(
            f"supernet.processes = {wanted.processes} with {wanted.threads} threads each need {needed} CPUs, "
            f"and the Ray cluster has {cpus}: give fewer"
        )


def _first_of(workers: list[Any], order: _Order, poll: Callable[[], None]) -> dict[str, Any]:
    """The manifest, once all workers are done; ``poll`` is called all along."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    from bitfront.search.executors.base import WorkerStartError, describe

    manifests: list[dict[str, Any]] = []
    try:
        meeting = ray.get(workers[0].meeting.remote())
        waiting = [worker.train.remote(order, rank, meeting) for rank, worker in enumerate(workers)]
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=1, timeout=_POLL_SECONDS)
            manifests += ray.get(done)
            poll()
    except RayTaskError as error:
        raise error.cause from error
    except RayActorError as error:
        raise WorkerStartError(
            f"a process of the training died ({describe(error)}): resume the experiment to go on from the last "
            "checkpoint"
        ) from error
    return manifests[0]


def _epochs_done(folder: Path) -> int:
    from bitfront.supernet.files import read_bytes
    from bitfront.supernet.training.run import HISTORY

    try:
        return len(read_bytes(folder / HISTORY).splitlines())
    except MissingFileError:
        return 0


class _Worker:
    """One process of the training; the first one writes."""

    def meeting(self) -> str:
        """Where the others find this one: HOST:PORT."""
        import ray

        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"

    def train(self, order: _Order, rank: int, meeting: str) -> dict[str, Any]:
        """The manifest."""
        return _work(order, rank, meeting)


def _work(order: _Order, rank: int, meeting: str) -> dict[str, Any]:
    import torch

    from bitfront.supernet.network import Supernet
    from bitfront.supernet.progress import silent
    from bitfront.supernet.spaces.settings import load_space
    from bitfront.supernet.training.parallel import joined
    from bitfront.supernet.training.run import train

    host, _, port = meeting.rpartition(":")
    os.environ |= {
        "MASTER_ADDR": host,
        "MASTER_PORT": port,
        "RANK": str(rank),
        "LOCAL_RANK": "0",  # Ray shows each worker its own GPU alone
        "WORLD_SIZE": str(order.processes),
    }
    torch.set_num_threads(order.threads)
    with joined():
        supernet = Supernet(load_space(order.space), order.seed)
        dataset = order.data.load(silent)
        return train(supernet, dataset, order.settings, order.seed, Path(order.folder), device=order.device)
