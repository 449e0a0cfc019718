"""A loss that is no number: back to the last good state once, with a lower rate; then an error."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Sequence

import pytest
import torch
from torch import Tensor

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.forward import Normalise, batch_normalise
from bitfront.supernet.layers import Block
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import EpochReport, Trainer, TrainingSettings
from bitfront.supernet.training.trainer import State

SANDWICH = TrainingSettings(1, 2, 1, batch_size=30, subnets_per_step=1)
PROGRESSIVE = dataclasses.replace(
    SANDWICH, schedule="progressive", kernel_epochs=1, depth_epochs=1, expand_epochs=1, quantized_epochs=1
)
FACTOR = 0.3


class _Spoilt(Supernet):
    """Some forward passes of the training, by their number, answer with NaN; a spoilt copy is never spoilt."""

    def __init__(self, space: SearchSpace, spoilt: Collection[int]) -> None:
        super().__init__(space, seed=1)
        self.passes, self.spoilt = 0, spoilt

    def forward(self, x: Tensor, blocks: Sequence[Block], normalise: Normalise = batch_normalise) -> Tensor:
        logits = super().forward(x, blocks, normalise)
        if not torch.is_grad_enabled():
            return logits
        self.passes += 1
        return logits * float("nan") if self.passes - 1 in self.spoilt else logits


def trained(
    space: SearchSpace, data: Dataset, settings: TrainingSettings, spoilt: Collection[int] = ()
) -> tuple[Supernet, list[EpochReport], dict[int, State]]:
    """(Supernet, reports, state after each epoch)."""
    supernet = _Spoilt(space, spoilt)
    trainer = Trainer(supernet, data, settings, seed=2, device="cpu")
    reports: list[EpochReport] = []
    states = {0: copy.deepcopy(trainer.state())}

    def after(report: EpochReport) -> None:
        reports.append(report)
        states[report.epoch] = copy.deepcopy(trainer.state())

    trainer.run(after)
    return supernet, reports, states


def slowed(
    space: SearchSpace, data: Dataset, settings: TrainingSettings, state: State
) -> tuple[Supernet, list[EpochReport]]:
    """What is to come out: an undisturbed training from a good state on, at a lower rate."""
    tensors, rest = copy.deepcopy(state)
    supernet = Supernet(space, seed=1)
    trainer = Trainer(supernet, data, settings, seed=2, device="cpu")
    trainer.restore(tensors, rest | {"rate_factor": FACTOR})
    reports: list[EpochReport] = []
    trainer.run(reports.append)
    return supernet, reports


# With two steps an epoch: the passes of warm-up are 2, of an epoch of a sandwich 6, of one of shrinking 2.
@pytest.mark.parametrize(
    ("settings", "bad", "epoch"),
    [
        (SANDWICH, 0, 0),  # the very first step
        (SANDWICH, 1, 0),
        (SANDWICH, 2, 1),  # the first after channels were sorted
        (SANDWICH, 11, 2),  # the random network in the second step of an epoch
        (SANDWICH, 14, 3),  # the first after step sizes were set
        (PROGRESSIVE, 3, 1),  # when the teacher was just made
        (PROGRESSIVE, 6, 3),
        (PROGRESSIVE, 8, 4),  # the largest in the first quantized step
    ],
)
def test_one_bad_step_goes_back_once_and_ends_well(
    tiny_space: MBConvSpace, few_images: Dataset, settings: TrainingSettings, bad: int, epoch: int
) -> None:
    _, calm_reports, calm = trained(tiny_space, few_images, settings)
    supernet, reports, states = trained(tiny_space, few_images, settings, {bad})
    expected, expected_reports = slowed(tiny_space, few_images, settings, calm[epoch])
    assert [report.epoch for report in reports] == list(range(1, settings.epochs + 1))
    assert reports[:epoch] == calm_reports[:epoch]
    assert reports[epoch:] == expected_reports
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name]), name
    rates = [(one.learning_rate, other.learning_rate) for one, other in zip(reports, calm_reports, strict=True)]
    assert all(found == calm_rate for found, calm_rate in rates[:epoch])
    assert all(found == pytest.approx(FACTOR * calm_rate) for found, calm_rate in rates[epoch:])
    factors = [rest["rate_factor"] for _, rest in states.values()]
    assert factors == [1.0] * (epoch + 1) + [FACTOR] * (settings.epochs - epoch)


def test_a_gradient_that_is_no_number_goes_back_too(tiny_space: MBConvSpace, few_images: Dataset) -> None:
    supernet, times = Supernet(tiny_space, seed=1), [0]

    def spoil(gradient: Tensor) -> Tensor:
        times[0] += 1
        return gradient * float("inf") if times[0] == 1 else gradient

    supernet.elastic("stem").weight.register_hook(spoil)  # type: ignore[no-untyped-call]
    trainer = Trainer(supernet, few_images, SANDWICH, seed=2, device="cpu")
    trainer.run(lambda report: None)
    assert trainer.state()[1]["rate_factor"] == FACTOR
    assert all(bool(tensor.isfinite().all()) for tensor in supernet.state_dict().values())


@pytest.mark.parametrize(
    ("bad", "epoch", "phase", "setting"),
    [
        ({0, 1}, 1, "warmup", "learning_rate"),  # at once again
        ({1, 6}, 2, "elastic", "learning_rate"),  # after an epoch that went well
        ({0, 19}, 4, "quantized", "quantized_learning_rate"),
    ],
)
def test_a_second_bad_step_ends_the_training(
    tiny_space: MBConvSpace, few_images: Dataset, bad: set[int], epoch: int, phase: str, setting: str
) -> None:
    message = (
        rf"^the training loss became nan in epoch {epoch} of 4 \({phase}\), also at 0\.3 times the rate: "
        rf"lower the training's {setting}$"
    )
    with pytest.raises(NumericalError, match=message):
        trained(tiny_space, few_images, SANDWICH, bad)


def test_a_training_that_went_back_before_a_crash_does_not_go_back_again(
    tiny_space: MBConvSpace, few_images: Dataset
) -> None:
    """The lower rate is in the checkpoint."""
    _, _, states = trained(tiny_space, few_images, SANDWICH, {0})
    tensors, rest = states[1]
    assert rest["rate_factor"] == FACTOR
    trainer = Trainer(_Spoilt(tiny_space, {3}), few_images, SANDWICH, seed=2, device="cpu")
    trainer.restore(tensors, rest)
    with pytest.raises(NumericalError, match=r"in epoch 2 of 4 \(elastic\), also at 0.3 times"):
        trainer.run(lambda report: None)


def test_after_going_back_a_crash_changes_nothing(tiny_space: MBConvSpace, few_images: Dataset) -> None:
    supernet, reports, states = trained(tiny_space, few_images, SANDWICH, {3})
    for epoch in (2, 3):
        resumed = Supernet(tiny_space, seed=9)
        trainer = Trainer(resumed, few_images, SANDWICH, seed=2, device="cpu")
        trainer.restore(*copy.deepcopy(states[epoch]))
        rest: list[EpochReport] = []
        trainer.run(rest.append)
        assert rest == reports[epoch:]
        assert all(torch.equal(t, supernet.state_dict()[name]) for name, t in resumed.state_dict().items())
