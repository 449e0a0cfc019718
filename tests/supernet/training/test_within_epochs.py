"""A checkpoint taken after any step of an epoch: going on from it repeats the undisturbed training bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.files import load_tensors, save_tensors
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import EpochReport, Trainer, TrainingSettings
from bitfront.supernet.training.settings import OptimizerName, Schedule

BATCH = 22  # two full batches and a rest of 16


def settings_of(schedule: Schedule, optimizer: OptimizerName, accumulation: int) -> TrainingSettings:
    return TrainingSettings(
        warmup_epochs=1, elastic_epochs=1, quantized_epochs=1, kernel_epochs=1, depth_epochs=0, expand_epochs=1,
        batch_size=BATCH, subnets_per_step=1, probes=0, learning_rate=1e-2,
        schedule=schedule, optimizer=optimizer, accumulation=accumulation,
    )  # fmt: skip


def trainer_of(space: MBConvSpace, data: Dataset, settings: TrainingSettings, seed: int) -> Trainer:
    return Trainer(Supernet(space, seed), data, settings, seed=2, device="cpu")


CASES = [
    (schedule, optimizer, accumulation)
    for schedule in ("sandwich", "progressive")
    for optimizer in ("adamw", "sgd")
    for accumulation in (1, 3)
]


@pytest.mark.parametrize(("schedule", "optimizer", "accumulation"), CASES)
def test_going_on_from_any_step_repeats_the_undisturbed_training(
    tiny_space: MBConvSpace,
    few_images: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schedule: Schedule,
    optimizer: OptimizerName,
    accumulation: int,
) -> None:
    settings = settings_of(schedule, optimizer, accumulation)
    undisturbed = trainer_of(tiny_space, few_images, settings, seed=1)
    reports: list[EpochReport] = []
    undisturbed.run(reports.append, lambda: pytest.fail("five minutes are not over"))

    monkeypatch.setattr("bitfront.supernet.training.trainer._SAVE_SECONDS", -1.0)
    watched = trainer_of(tiny_space, few_images, settings, seed=1)
    taken: list[tuple[int, int]] = []

    def save() -> None:
        tensors, rest = watched.state()
        taken.append((rest["epoch"], rest["position"]))
        save_tensors(tmp_path / f"{len(taken) - 1}", tensors, rest)

    watched.run(lambda report: None, save)
    assert taken == [(epoch, position) for epoch in range(settings.epochs) for position in (1, 2)]
    # One of each elastic and quantized epoch, or all of them in one case: every one costs a training.
    chosen = taken if (schedule, optimizer, accumulation) == CASES[0] else taken[2 + accumulation % 2 :: 2]
    for epoch, position in chosen:
        resumed = trainer_of(tiny_space, few_images, settings, seed=77)
        resumed.restore(*load_tensors(tmp_path / f"{taken.index((epoch, position))}"))
        rest: list[EpochReport] = []
        resumed.run(rest.append)
        assert rest == reports[epoch:]
        expected = undisturbed.supernet.state_dict()
        for name, tensor in resumed.supernet.state_dict().items():
            assert torch.equal(tensor, expected[name]), (epoch, position, name)


def test_steps_that_are_left_are_told_from_where_it_was(
    tiny_space: MBConvSpace, few_images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of("sandwich", "adamw", 1)
    trainer = trainer_of(tiny_space, few_images, settings, seed=1)
    told: list[tuple[int, int]] = []
    trainer.run(lambda report: None, None, lambda done, total: told.append((done, total)))
    assert told == [(step, 9) for step in range(1, 10)]

    monkeypatch.setattr("bitfront.supernet.training.trainer._SAVE_SECONDS", -1.0)
    stopped = trainer_of(tiny_space, few_images, settings, seed=1)

    def stop() -> None:
        if stopped.state()[1]["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.run(lambda report: None, stop)
    resumed = trainer_of(tiny_space, few_images, settings, seed=1)
    resumed.restore(*stopped.state())
    told.clear()
    resumed.run(lambda report: None, None, lambda done, total: told.append((done, total)))
    assert told == [(step, 9) for step in range(5, 10)]
