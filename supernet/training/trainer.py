"""The trainer: phase after phase, epoch after epoch, and what it takes to go on after a crash."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitfront.supernet.calibration import initialise_scales
from bitfront.supernet.data.dataset import Dataset, resize
from bitfront.supernet.errors import CorruptFileError, NumericalError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.training.batches import BatchSource
from bitfront.supernet.training.hardware import device_of, keep_freed_memory
from bitfront.supernet.training.optimisation import new_optimizer, rate_at
from bitfront.supernet.training.parallel import share, share_weights
from bitfront.supernet.training.phases import Phase, phases_of
from bitfront.supernet.training.probe import Probe
from bitfront.supernet.training.report import EpochReport
from bitfront.supernet.training.sampling import NetworkSampler, check_has_teacher, real
from bitfront.supernet.training.settings import TrainingSettings
from bitfront.supernet.training.step import DivergedError, Step
from bitfront.supernet.training.trained import identity_of, unlike

State = tuple[dict[str, Tensor], dict[str, Any]]
_SCALE_IMAGES = 256
_SAVE_SECONDS = 300.0
_AFTER_DIVERGENCE = 0.3


class Trainer:
    """Trains a supernet; `state` and `restore` carry it over a crash.

    Args:
        supernet: trained in place; moved to ``device``.
        dataset: its training split is used, and a part of its validation split to report accuracies by.
        settings: phases, rates, batch size.
        seed: of the data order, augmentation and sampled networks.
        device: ``auto`` is a GPU where there is one.

    Raises:
        UnsupportedError: the space has no real-valued networks, from which quantized ones could learn, or the
            device is not there.
        TrainingSettingsError: the batch can not be shared evenly by the processes that train together.
    """

    def __init__(
        self, supernet: Supernet, dataset: Dataset, settings: TrainingSettings, seed: int, device: str = "auto"
    ) -> None:
        self.space: SearchSpace = supernet.space
        check_has_teacher(self.space)
        self.device = device_of(device)
        self.supernet = supernet.to(self.device)
        self.settings = settings
        self.seed = seed
        self.identity = identity_of(self.space, dataset, seed, settings)
        self.epoch, self.epochs = 0, settings.epochs
        self.phases = phases_of(settings)
        self._dataset = dataset
        self._source = BatchSource(dataset, settings, seed, self.device, share())
        self._step = Step(supernet, settings, self.device)
        self._probe = Probe(supernet, dataset, self.device, seed)
        self._position = 0  # steps of this epoch that are done
        self._losses: list[float] = []
        self._rate_factor = 1.0
        self._good: State | None = None

    def run(
        self,
        after_epoch: Callable[[EpochReport], None],
        save: Callable[[], None] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Train what is left.

        Args:
            after_epoch: called between epochs, when `state` may be taken.
            save: called within long epochs every five minutes, when `state` may be taken as well.
            progress: told of the steps that are done, out of all steps of the training.

        Raises:
            NumericalError: the loss became NaN or infinite, and again after going back to the last good state
                with a lower rate.
        """
        keep_freed_memory()
        while self.epoch < self.epochs:
            if self._good is None:
                self._good = _copied(self.state())
            try:
                report = self._run_epoch(save, progress)
            except DivergedError as error:
                self._go_back(error)
                continue
            self._good = None
            after_epoch(report)
        if not self.settings.quantized_epochs:
            self._initialise_scales()  # unlearned, but not left at 1

    # -- over a crash -------------------------------------------------------------------------------------

    def state(self) -> State:
        """Everything to go on from here: (tensors, JSON-able rest)."""
        tensors = {f"model.{name}": tensor for name, tensor in self.supernet.state_dict().items()}
        for index, slots in self._step.optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer.{index}.{k}": v for k, v in slots.items() if isinstance(v, Tensor)})
        if self._step.teacher is not None:
            tensors.update({f"teacher.{k}": v for k, v in self._step.teacher.state_dict().items()})
        rest = {
            "epoch": self.epoch,
            "position": self._position,
            "losses": list(self._losses),
            "rate_factor": self._rate_factor,
            "of": self.identity,
        }
        return tensors, rest

    def restore(
        self, tensors: dict[str, Tensor], manifest: dict[str, Any], source: str = "this checkpoint"
    ) -> None:
        """Take up a `state` of a trainer with the same arguments; the device may be another.

        ``source`` says in errors where the state came from.

        Raises:
            CorruptFileError: the state is of another supernet, other data or augmentation, other settings or
                another seed.
        """
        model = _under("model.", tensors)
        self._check_mine(model, manifest, source)
        self.supernet.load_state_dict(model)
        self.epoch, self._position = int(manifest["epoch"]), int(manifest["position"])
        self._losses = list(manifest["losses"])
        self._rate_factor = float(manifest["rate_factor"])
        self._good = None
        self._step.optimizer = new_optimizer(self.supernet.parameters(), self.settings)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer.", tensors).items():
            index, slot = name.split(".")
            state.setdefault(int(index), {})[slot] = tensor
        groups = self._step.optimizer.state_dict()["param_groups"]
        self._step.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self._step.teacher = None
        if teacher := _under("teacher.", tensors):
            self._freeze_teacher().load_state_dict(teacher)
        self._agree()

    def _check_mine(self, model: dict[str, Tensor], manifest: dict[str, Any], source: str) -> None:
        others = unlike(manifest.get("of", {}), self.identity)
        if not others and _shapes(model) != _shapes(self.supernet.state_dict()):
            others = ["its tensors are of another supernet"]
        if others:
            raise CorruptFileError(
                f"{source} is of another training ({'; '.join(others)}): delete it to train again, or go back to "
                "what made it"
            )

    def _go_back(self, error: DivergedError) -> None:
        """To the last good state, once in a training, with a lower rate from there on."""
        phase, number = self._phase()[0], self.epoch + 1
        setting = "quantized_learning_rate" if phase.quantized else "learning_rate"
        if self._rate_factor < 1 or self._good is None:
            raise NumericalError(
                f"the training loss became {error.loss} in epoch {number} of {self.epochs} ({phase.name}), "
                f"also at {_AFTER_DIVERGENCE} times the rate: lower the training's {setting}"
            ) from error
        self.restore(*self._good)
        self._rate_factor = _AFTER_DIVERGENCE

    # -- one epoch ----------------------------------------------------------------------------------------

    def _phase(self) -> tuple[Phase, int]:
        """(the phase of the epoch that is next, epochs of it that are done)."""
        done = self.epoch
        for phase in self.phases:
            if done < phase.epochs:
                return phase, done
            done -= phase.epochs
        raise AssertionError("no epoch is left")

    def _run_epoch(self, save: Callable[[], None] | None, progress: Progress) -> EpochReport:
        phase, index = self._phase()
        if index == 0 and self._position == 0:
            self._enter(phase)
        sampler = NetworkSampler(self.space, phase, self.settings.subnets_per_step)
        start, saved, first = time.monotonic(), time.monotonic(), self._position
        steps, rate = self._source.steps, 0.0
        for number, rows in enumerate(self._source.rows(self.epoch)):
            if number < first:
                continue
            rng = np.random.default_rng([self.seed, self.epoch, number])
            rate = self._rate(phase, (index * steps + number) / (phase.epochs * steps))
            seed, genomes = int(rng.integers(2**62)), sampler.draw(rng)
            loss = self._step.run(phase, genomes, self._source.parts(rows, seed), rate)
            self._losses.append(loss)
            self._position = number + 1
            progress(self.epoch * steps + self._position, self.epochs * steps)
            if save is not None and time.monotonic() - saved > _SAVE_SECONDS and self._position < steps:
                save()
                saved = time.monotonic()
        return self._report(phase, rate, start, (steps - first) * self.settings.batch_size)

    def _rate(self, phase: Phase, progress: float) -> float:
        return self._rate_factor * rate_at(phase.learning_rate, progress)

    def _report(self, phase: Phase, rate: float, start: float, images: int) -> EpochReport:
        loss = float(np.mean(self._losses))
        self.epoch, self._position, self._losses = self.epoch + 1, 0, []
        trained = time.monotonic() - start
        top1 = self._probe.top1(self._probed(phase))
        return EpochReport(
            self.epoch, self.epochs, phase.name, loss, rate,
            min(top1), float(np.median(top1)), max(top1),
            time.monotonic() - start, images / max(trained, 1e-9),
        )  # fmt: skip

    def _probed(self, phase: Phase) -> Genomes:
        """The smallest, the largest and the same random networks each time, quantized where formats are drawn."""
        sampled = self.space.sample(self.settings.probes, np.random.default_rng([self.seed, 1]), "sizes")
        genomes = np.concatenate([self.space.extremes(), sampled])
        return genomes if phase.quantized else real(self.space, genomes)

    def _enter(self, phase: Phase) -> None:
        """Each phase starts with fresh moments, as the loss it follows is another one."""
        before = self.phases[: self.phases.index(phase)]
        if phase.elastic_width and not any(earlier.elastic_width for earlier in before):
            self.supernet.sort_channels()
        if phase.frozen_teacher and self._step.teacher is None:
            self._freeze_teacher()
        if not phase.frozen_teacher:
            self._step.teacher = None
        if phase.quantized:
            self._initialise_scales()
        self._step.optimizer = new_optimizer(self.supernet.parameters(), self.settings)
        self._agree()

    def _agree(self) -> None:
        """Processes on unlike hardware sort and calibrate with other roundings; the first one's weights count."""
        share_weights(self.supernet)
        if self._step.teacher is not None:
            share_weights(self._step.teacher)

    def _freeze_teacher(self) -> Supernet:
        teacher = copy.deepcopy(self.supernet).requires_grad_(False)
        self._step.teacher = teacher
        return teacher

    def _initialise_scales(self) -> None:
        rng = np.random.default_rng([self.seed, self.epochs])
        genomes = np.concatenate([self.space.extremes(), self.space.sample(6, rng)])
        networks = [self.space.blocks(g) for g in real(self.space, genomes)]
        few = torch.from_numpy(self._dataset.train.images[:_SCALE_IMAGES]).to(self.device)
        images = self._dataset.normalise(few)
        initialise_scales(self.supernet, networks, [resize(images, b[0].layers[0].in_size) for b in networks])


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _copied(state: State) -> State:
    """Apart from what training goes on to change."""
    return {name: tensor.detach().clone() for name, tensor in state[0].items()}, copy.deepcopy(state[1])
