"""What the bench of the shipped supernet compares: the same networks, alone, by the supernet's own settings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from bitfront.experiments.benchmarks.inheritance_plot import inheritance_figure
from bitfront.experiments.benchmarks.scratch import alone, from_scratch
from bitfront.supernet.data.dataset import Dataset
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
