"""What every stage needs to know of the experiment it works for."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.experiments.concluding import CancelledError
from bitfront.experiments.device_names import device_factory, own_options
from bitfront.experiments.places import experiment_folder
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.spec import Spec
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import Progress as StoredProgress
from bitfront.experiments.store.statuses import Status
from bitfront.latency_lut.device import Device
from bitfront.search.executors import EXECUTORS
from bitfront.search.executors.base import Executor, device_resource
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import StorageError
from bitfront.supernet.misfit import refuse_misfit
from bitfront.supernet.progress import Progress
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.settings import SpaceSettings, load_space

_BEAT_SECONDS = 2.0


@dataclass
class Run:
    """One experiment in progress: its spec, where things are kept, and who listens."""

    store: Store
    home: Path
    experiment_id: str
    spec: Spec
    reporter: Reporter
    shared: tuple[str, object] | None = field(default=None, repr=False)
    owner: Owner = field(default_factory=Owner.current, repr=False)
    _dataset: Dataset | None = field(default=None, repr=False)
    _executor: Executor | None = field(default=None, repr=False)
    _last_beat: float = field(default=float("-inf"), repr=False)

    @property
    def folder(self) -> Path:
        """Where this experiment's own files are."""
        return experiment_folder(self.home, self.experiment_id)

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator that depends on the spec's seed and on what it is for, and on nothing else."""
        return np.random.default_rng([self.spec.seed, zlib.crc32(purpose.encode())])

    def stage(self, title: str) -> None:
        """Begin a stage: tell the store and the listeners."""
        self.store.set_stage(self.experiment_id, title, self.owner)
        self.reporter.stage(title)
        if self._executor is not None:
            self._executor.dismiss()
        self.beat()

    def progress(self, label: str) -> Progress:
        """A listener that also keeps the experiment's heartbeat going and notices a request to cancel."""
        inner = self.reporter.progress(label)

        def listen(done: int, total: int) -> None:
            inner(done, total)
            self._beat_if_due(StoredProgress(label, done, total))

        return listen

    def _beat_if_due(self, progress: StoredProgress | None = None) -> None:
        if time.monotonic() - self._last_beat > _BEAT_SECONDS:
            self.beat(progress)

    def beat(self, progress: StoredProgress | None = None) -> None:
        """Say that this process still works on the experiment, and how far it is.

        A store that does not answer is told of and asked again later: the work itself may not need it for long.

        Raises:
            CancelledError: the experiment is to be cancelled.
            StatusError: another process took it over.
        """
        self._last_beat = time.monotonic()
        try:
            status = self.store.heartbeat(self.experiment_id, self.owner, progress)
        except StorageError as error:
            self.reporter.say(f"the work goes on, though the store does not answer: {error}")
            return
        if status is Status.CANCELLING:
            raise CancelledError(f"experiment {self.experiment_id} was cancelled")

    def executor(self) -> Executor:
        """The spec's executor, started when it is first asked for; `close` gives it back.

        Its calls keep the heartbeat going and notice a request to cancel, as `beat` does.
        """
        if self._executor is None:
            settings = self.spec.executor
            more: dict[str, Any] = {}
            if settings.kind == "ray":
                more["patience_s"] = settings.patience_s
            if settings.kind == "ray" and settings.address is None:  # a cluster of this machine, with its devices
                names = {section.name for section in self.spec.named_devices.values()}
                more["resources"] = {device_resource(name): 1 for name in names}
            make = EXECUTORS.get(settings.kind)
            self._executor = make(workers=settings.workers, address=settings.address, **more)
            self._executor.on_wait = self._beat_if_due
        return self._executor

    def close(self) -> None:
        """Give back what was started."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    # -- what the spec names ----------------------------------------------------------------------------

    def space_settings(self) -> SpaceSettings:
        """The space that the spec means, with the data set's classes and channels where it leaves them open."""
        return self.spec.space.fitted(self.dataset()).settings()

    def space(self) -> SearchSpace:
        """The whole space, unrestricted.

        Raises:
            UnsupportedError: its networks do not fit the data set.
        """
        space = load_space(self.space_settings())
        refuse_misfit(space, self.dataset())
        return space

    def restrict(self, space: SearchSpace) -> SearchSpace:
        """``space`` with the spec's fixed genes.

        Raises:
            SpecError: a fixed gene does not exist, or nothing is left of it.
        """
        return space.restrict(self.spec.fixed_choices(space))

    def dataset(self) -> Dataset:
        """The data set; what its user should know of it is told."""
        if self._dataset is None:
            self._dataset = self.spec.data.load(self.progress("decoding images"))
            for note in self._dataset.notes:
                self.reporter.say(note)
        return self._dataset

    def devices(self) -> dict[str, Device]:
        """The target devices with the spec's options, by their names in it."""
        return {
            name: device_factory(self.home, section.name)(**section.options)
            for name, section in self.spec.named_devices.items()
        }

    def own_device_options(self, name: str) -> dict[str, Any]:
        """The options that the spec gives to a device, without those that are the device's defaults."""
        section = self.spec.named_devices[name]
        return own_options(device_factory(self.home, section.name), section.options)
