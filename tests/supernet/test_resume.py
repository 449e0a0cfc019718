"""A training that is stopped after any epoch and resumed from its file ends as the undisturbed one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bitfront.supernet.data.dataset import Dataset, Split
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.files import load_tensors, save_tensors
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import EpochReport, Trainer, TrainingSettings

SETTINGS = TrainingSettings(1, 2, 2, batch_size=80, subnets_per_step=1)
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def undisturbed(tiny_space: MBConvSpace, tiny_data: Dataset) -> tuple[State, list[EpochReport]]:
    """A run that was never stopped, nor asked for its state."""
    supernet = Supernet(tiny_space, seed=1)
    reports: list[EpochReport] = []
    Trainer(supernet, tiny_data, SETTINGS, seed=2).run(reports.append)
    return supernet.state_dict(), reports


@pytest.fixture(scope="module")
def checkpoints(tiny_space: MBConvSpace, tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what another run wrote after each epoch, by the number of the epoch."""
    folder = tmp_path_factory.mktemp("checkpoints")
    trainer = Trainer(Supernet(tiny_space, seed=1), tiny_data, SETTINGS, seed=2)
    trainer.run(lambda report: save_tensors(folder / str(report.epoch), *trainer.state()))
    return folder


@pytest.mark.parametrize("epoch", range(1, SETTINGS.epochs + 1))
def test_resuming_after_any_epoch_ends_alike(
    tiny_space: MBConvSpace,
    tiny_data: Dataset,
    checkpoints: Path,
    undisturbed: tuple[State, list[EpochReport]],
    epoch: int,
) -> None:
    supernet = Supernet(tiny_space, seed=77)  # other weights at first: all must come from the file
    trainer = Trainer(supernet, tiny_data, SETTINGS, seed=2)
    trainer.restore(*load_tensors(checkpoints / str(epoch)))
    reports: list[EpochReport] = []
    trainer.run(reports.append)
    expected, expected_reports = undisturbed
    assert reports == expected_reports[epoch:]
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_being_killed_twice_ends_alike(
    tiny_space: MBConvSpace,
    tiny_data: Dataset,
    checkpoints: Path,
    undisturbed: tuple[State, list[EpochReport]],
    tmp_path: Path,
) -> None:
    """The second checkpoint is written by a run that was itself resumed."""
    first = Trainer(Supernet(tiny_space, seed=7), tiny_data, SETTINGS, seed=2)
    first.restore(*load_tensors(checkpoints / "2"))

    def die_after_four(report: EpochReport) -> None:
        if report.epoch == 4:
            save_tensors(tmp_path / "again", *first.state())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(die_after_four)
    supernet = Supernet(tiny_space, seed=8)
    second = Trainer(supernet, tiny_data, SETTINGS, seed=2)
    second.restore(*load_tensors(tmp_path / "again"))
    second.run(lambda report: None)
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, undisturbed[0][name]), name


def test_another_seed_trains_otherwise(
    tiny_space: MBConvSpace, tiny_data: Dataset, undisturbed: tuple[State, list[EpochReport]]
) -> None:
    supernet = Supernet(tiny_space, seed=1)
    Trainer(supernet, tiny_data, SETTINGS, seed=3).run(lambda report: None)
    assert any(not torch.equal(tensor, undisturbed[0][name]) for name, tensor in supernet.state_dict().items())


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("space", "space_hash was '.*' and is '.*'"),
        ("data", "data_hash was '.*' and is '.*'"),
        ("augmentation", "augmentation.flip was False and is True"),
        ("seed", "seed was 2 and is 3"),
        ("settings", "training.batch_size was 80 and is 40"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    tiny_space: MBConvSpace, tiny_data: Dataset, what: str, words: str
) -> None:
    state = Trainer(Supernet(tiny_space), tiny_data, SETTINGS, seed=2).state()
    frame = dataclasses.replace(tiny_space.frame, head_channels=24)
    space = MBConvSpace("tiny", frame) if what == "space" else tiny_space
    settings = dataclasses.replace(SETTINGS, batch_size=40) if what == "settings" else SETTINGS
    data = tiny_data
    if what == "data":
        fewer = Split(data.test.images[1:], data.test.labels[1:])
        data = dataclasses.replace(data, test=fewer)
    if what == "augmentation":
        data = dataclasses.replace(data, augmentation=dataclasses.replace(data.augmentation, flip=True))
    trainer = Trainer(Supernet(space), data, settings, seed=3 if what == "seed" else 2)
    before = {name: tensor.clone() for name, tensor in trainer.supernet.state_dict().items()}
    with pytest.raises(CorruptFileError, match=rf"^/there is of another training \(.*{words}.*\): delete it"):
        trainer.restore(*state, "/there")
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.supernet.state_dict().items())


def test_a_file_of_something_else_is_refused(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    trainer = Trainer(Supernet(tiny_space), tiny_data, SETTINGS, seed=2)
    with pytest.raises(CorruptFileError, match="of another training"):
        trainer.restore({"a": torch.zeros(2)}, {})
    with pytest.raises(CorruptFileError, match="its tensors are of another supernet"):
        trainer.restore({"model.a": torch.zeros(2)}, trainer.state()[1])
