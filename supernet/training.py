"""Training a supernet: the largest network, then every architecture, then every number format.

1. *warm-up*: the largest network alone, in real numbers. Then hidden channels are sorted by importance.
2. *elastic*: the sandwich rule (Yu and Huang 2019): each step trains the largest, the smallest and some random
   networks; all but the largest learn from the largest one's answers (in-place distillation).
3. *quantized*: the same with number formats drawn as well and step sizes learned (LSQ, Esser et al. 2020). The
   largest network stays in real numbers and teaches.

Every epoch draws from its own generator, seeded by (seed, epoch), so that a resumed run repeats an undisturbed
one: a checkpoint holds weights, optimizer and the number of finished epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bitfront.supernet.calibration import initialise_scales
from bitfront.supernet.data.dataset import Dataset, augment, resize
from bitfront.supernet.errors import CorruptFileError, NumericalError, UnsupportedError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace

Phase = Literal["warmup", "elastic", "quantized"]
_FLOAT = "fp32"


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a supernet is trained. Rates are peak rates of AdamW under a cosine; epochs are per phase."""

    warmup_epochs: int = 8
    elastic_epochs: int = 36
    quantized_epochs: int = 18
    batch_size: int = 64
    learning_rate: float = 4e-3
    quantized_learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    subnets_per_step: int = 4
    augment: bool = True

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return self.warmup_epochs + self.elastic_epochs + self.quantized_epochs

    def phase(self, epoch: int) -> tuple[Phase, int, int]:
        """(phase, epoch within it, epochs of it) of an overall epoch."""
        if epoch < self.warmup_epochs:
            return "warmup", epoch, self.warmup_epochs
        epoch -= self.warmup_epochs
        if epoch < self.elastic_epochs:
            return "elastic", epoch, self.elastic_epochs
        return "quantized", epoch - self.elastic_epochs, self.quantized_epochs


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch did. ``loss`` is the mean over steps of the mean over the step's networks."""

    epoch: int
    epochs: int
    phase: Phase
    loss: float
    learning_rate: float


class Trainer:
    """Trains a supernet epoch by epoch; `state` and `restore` carry it over a crash.

    Args:
        supernet: trained in place.
        dataset: its training split is used, and nothing else of it.
        settings: phases, rates, batch size.
        seed: of the data order, augmentation and sampled networks.

    Raises:
        UnsupportedError: the space has no real-valued networks, from which quantized ones could learn.
    """

    def __init__(self, supernet: Supernet, dataset: Dataset, settings: TrainingSettings, seed: int) -> None:
        self.supernet = supernet
        self.space: SearchSpace = supernet.space
        _check_has_teacher(self.space)
        self.settings = settings
        self.seed = seed
        self.epoch = 0
        self._images = dataset.tensor(dataset.train.images)
        self._labels = torch.from_numpy(dataset.train.labels)
        self._optimizer = self._new_optimizer(settings.learning_rate)

    def run(self, after_epoch: Callable[[EpochReport], None]) -> None:
        """Train what is left; ``after_epoch`` is called between epochs, when `state` may be taken.

        Raises:
            NumericalError: the loss became NaN or infinite.
        """
        while self.epoch < self.settings.epochs:
            after_epoch(self._run_epoch())
        if not self.settings.quantized_epochs:
            self._initialise_scales()  # unlearned, but not left at 1

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything to go on from here: (tensors, JSON-able rest)."""
        tensors = {f"model.{name}": tensor for name, tensor in self.supernet.state_dict().items()}
        for index, slots in self._optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer.{index}.{slot}": value for slot, value in slots.items()})
        return tensors, {"epoch": self.epoch, "seed": self.seed, "settings": asdict(self.settings)}

    def restore(self, tensors: dict[str, Tensor], manifest: dict[str, Any]) -> None:
        """Take up a `state` of a trainer with the same arguments.

        Raises:
            CorruptFileError: the state is of another supernet, other settings or another seed.
        """
        model = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        self._check_mine(model, manifest)
        self.supernet.load_state_dict(model)
        self.epoch = int(manifest["epoch"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, slot = name.split(".")
                state.setdefault(int(index), {})[slot] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _check_mine(self, model: dict[str, Tensor], manifest: dict[str, Any]) -> None:
        shapes = {name: tensor.shape for name, tensor in self.supernet.state_dict().items()}
        mine = (shapes, self.seed, asdict(self.settings))
        theirs = ({k: v.shape for k, v in model.items()}, manifest.get("seed"), manifest.get("settings"))
        for what, ours, other in zip(("supernet", "seed", "settings"), mine, theirs, strict=True):
            if ours != other:
                raise CorruptFileError(
                    f"this checkpoint is of another {what}: delete it to train again, or go back to what made it"
                )

    # -- one epoch ----------------------------------------------------------------------------------------

    def _run_epoch(self) -> EpochReport:
        phase, index, epochs = self.settings.phase(self.epoch)
        if index == 0:
            self._enter(phase)
        rng = np.random.default_rng([self.seed, self.epoch])
        steps = math.ceil(len(self._images) / self.settings.batch_size)
        losses, rate = [], 0.0
        for step, rows in enumerate(self._batches(rng)):
            rate = self._set_rate(phase, (index * steps + step) / (epochs * steps))
            losses.append(self._step(phase, rows, rng))
        self.epoch += 1
        return EpochReport(self.epoch, self.settings.epochs, phase, float(np.mean(losses)), rate)

    def _enter(self, phase: Phase) -> None:
        """Each phase starts with fresh moments, as the loss it follows is another one."""
        rate = self.settings.quantized_learning_rate if phase == "quantized" else self.settings.learning_rate
        if phase == "elastic":
            self.supernet.sort_channels()
        if phase == "quantized":
            self._initialise_scales()
        self._optimizer = self._new_optimizer(rate)

    def _initialise_scales(self) -> None:
        rng = np.random.default_rng([self.seed, self.settings.epochs])
        genomes = np.concatenate([self.space.extremes(), self.space.sample(6, rng)])
        networks = [self.space.blocks(g) for g in self._float(genomes)]
        images = [resize(self._images[:256], blocks[0].layers[0].in_size) for blocks in networks]
        initialise_scales(self.supernet, networks, images)

    def _batches(self, rng: np.random.Generator) -> Iterator[Tensor]:
        order = torch.from_numpy(rng.permutation(len(self._images)))
        return iter(torch.split(order, self.settings.batch_size))

    def _set_rate(self, phase: Phase, progress: float) -> float:
        peak = self.settings.quantized_learning_rate if phase == "quantized" else self.settings.learning_rate
        rate = peak * min(1.0, progress / 0.05 + 0.02) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _new_optimizer(self, rate: float) -> torch.optim.Optimizer:
        decayed = [p for p in self.supernet.parameters() if p.ndim >= 2]
        others = [p for p in self.supernet.parameters() if p.ndim < 2]
        groups = [
            {"params": decayed, "weight_decay": self.settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=rate)

    # -- one step -----------------------------------------------------------------------------------------

    def _step(self, phase: Phase, rows: Tensor, rng: np.random.Generator) -> float:
        seed = int(rng.integers(2**62))
        self._optimizer.zero_grad(set_to_none=True)
        genomes = self._networks(phase, rng)
        teacher: Tensor | None = None
        total = 0.0
        for genome in genomes:
            blocks = self.space.blocks(genome)
            logits = self.supernet(self._inputs(rows, blocks[0].layers[0].in_size, seed), blocks)
            if teacher is None:
                loss = F.cross_entropy(logits, self._labels[rows], label_smoothing=self.settings.label_smoothing)
                teacher = logits.detach().softmax(1)
            else:
                loss = -(teacher * logits.log_softmax(1)).sum(1).mean()
            (loss / len(genomes)).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach()) / len(genomes)
        self._check(total, phase)
        torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), 5.0)
        self._optimizer.step()
        return total

    def _networks(self, phase: Phase, rng: np.random.Generator) -> Genomes:
        """The step's networks, the teacher first."""
        smallest, largest = self.space.extremes()
        if phase == "warmup":
            place = self.space.position["resolution"]
            largest[place] = rng.integers(len(self.space.genes[place].choices))
            return self._float(largest[None])
        sampled = self.space.sample(self.settings.subnets_per_step, rng, "sizes")
        teacher = self._float(largest[None])
        if phase == "elastic":
            return np.concatenate([teacher, self._float(np.concatenate([smallest[None], sampled]))])
        return np.concatenate([teacher, self._lowest(smallest[None]), sampled])

    def _inputs(self, rows: Tensor, resolution: int, seed: int) -> Tensor:
        if not self.settings.augment:
            return resize(self._images[rows], resolution)
        # One seed for all networks of a step: teacher and students see the same distorted images.
        return augment(self._images[rows], resolution, torch.Generator().manual_seed(seed))

    def _float(self, genomes: Genomes) -> Genomes:
        return self.space.assign(genomes, {"weight_format": _FLOAT, "activation_format": _FLOAT})

    def _lowest(self, genomes: Genomes) -> Genomes:
        """The policy with the last format of every gene: formats are listed from the widest to the narrowest."""
        result = genomes.copy()
        for i, gene in enumerate(self.space.genes):
            if gene.is_policy:
                result[:, i] = len(gene.choices) - 1
        return self.space.repair(result)

    def _check(self, loss: float, phase: Phase) -> None:
        if not math.isfinite(loss):
            setting = "quantized_learning_rate" if phase == "quantized" else "learning_rate"
            raise NumericalError(
                f"the training loss became {loss} in epoch {self.epoch + 1} of {self.settings.epochs} ({phase}): "
                f"lower supernet.{setting} and run again"
            )


def _check_has_teacher(space: SearchSpace) -> None:
    lacking = [gene.name for gene in space.genes if gene.is_policy and _FLOAT not in gene.choices]
    if lacking:
        raise UnsupportedError(
            f"space {space.name!r} can not be trained: {len(lacking)} of its format genes have no {_FLOAT!r}, the "
            f"first is {lacking[0]!r}. Quantized networks learn from a real one: add {_FLOAT!r} to the formats"
        )
