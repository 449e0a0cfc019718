"""What the bench of the shipped supernet compares: the same networks, alone, by the supernet's own settings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from bitfront.experiments.benchmarks.inheritance_plot import inheritance_figure
from bitfront.experiments.benchmarks.recorded import SHIPPED, Recorded
from bitfront.experiments.benchmarks.scratch import alone, from_scratch
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.files import read_json
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import TrainingSettings, phases_of


def test_one_network_gets_all_epochs_and_the_supernets_rate() -> None:
    supernets = TrainingSettings(schedule="progressive", batch_size=32, learning_rate=0.01, weight_decay=0.1)
    settings = alone(asdict(supernets), 7)
    assert [(phase.name, phase.epochs) for phase in phases_of(settings)] == [("warmup", 7)]
    assert (settings.batch_size, settings.learning_rate, settings.weight_decay) == (32, 0.01, 0.1)


def test_a_network_is_trained_once_and_found_again(
    tiny_space: MBConvSpace, tiny_data: Dataset, tmp_path: Path, rng: np.random.Generator
) -> None:
    genome = tiny_space.sample(1, rng)[0]
    settings = alone(asdict(TrainingSettings(batch_size=80)), 1)
    first = from_scratch(tiny_space, genome, tiny_data, settings, 0, tmp_path)
    written = (tmp_path / "supernet.safetensors").stat().st_mtime_ns
    second = from_scratch(tiny_space, genome, tiny_data, settings, 0, tmp_path)
    assert (tmp_path / "supernet.safetensors").stat().st_mtime_ns == written
    for name, tensor in first.state_dict().items():
        assert np.array_equal(tensor.numpy(), second.state_dict()[name].numpy())


def test_the_picture_is_a_png() -> None:
    image = inheritance_figure(np.array([0.9, 0.91]), np.array([0.905, 0.9]))
    assert image.startswith(b"\x89PNG")


ABOUT = {"space": "a", "settings": {"epochs": 3}}


def test_what_was_recorded_is_found_again(tmp_path: Path) -> None:
    first, second = np.array([1, 2, 255], dtype=np.uint8), np.array([1, 2, 3], dtype=np.uint8)
    recorded = Recorded.of(ABOUT, tmp_path)
    assert recorded.top1(first, 0) is None
    recorded.add(first, 0, 0.9, {"machine": "here"})
    recorded.write(tmp_path)
    shipped = Recorded(ABOUT)
    shipped.add(first, 0, 0.8, {})
    shipped.add(second, 1, 0.7, {})
    shipped.write(tmp_path / "shipped")
    both = Recorded.of(ABOUT, tmp_path, tmp_path / "shipped" / shipped.file)
    assert (both.top1(first, 0), both.top1(second, 1), both.top1(second, 0)) == (0.9, 0.7, None)


def test_records_of_other_settings_are_apart(tmp_path: Path) -> None:
    other = {**ABOUT, "settings": {"epochs": 4}}
    for about, top1 in ((ABOUT, 0.9), (other, 0.8)):
        recorded = Recorded.of(about, tmp_path)
        assert not recorded.networks
        recorded.add(np.zeros(2, dtype=np.uint8), 0, top1, {})
        recorded.write(tmp_path)
    for about, top1 in ((ABOUT, 0.9), (other, 0.8)):
        assert Recorded.of(about, tmp_path).top1(np.zeros(2, dtype=np.uint8), 0) == top1
    shipped = tmp_path / Recorded(ABOUT).file
    assert not Recorded.of(other, tmp_path / "none", shipped).networks


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"format": "other", "networks": {}, "about": {}}',
        '{"format": "bitfront-from-scratch-1", "networks": {"00/0": {"top1": 91.2}}, "about": {}}',
        '{"format": "bitfront-from-scratch-1", "networks": {"00/0": {}}, "about": {}}',
    ],
)
def test_a_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / Recorded(ABOUT).file).write_text(text)
    with pytest.raises(CorruptFileError, match="delete it"):
        Recorded.of(ABOUT, tmp_path)


def test_the_record_that_comes_with_bitfront_can_be_read() -> None:
    assert SHIPPED.is_file()
    about = read_json(SHIPPED)["about"]
    networks = Recorded.of(about, SHIPPED.parent / "none", SHIPPED).networks
    assert networks
    assert all(0.85 < one["top1"] < 0.95 and one["versions"]["torch"] for one in networks.values())
