"""Training on a GPU: steps, a resumed training, and what is measured with its weights."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.bottleneck import BottleneckSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import EpochReport, Trainer, TrainingSettings
from bitfront.supernet.training.run import train
from bitfront.supernet.training.settings import OptimizerName, Precision, Schedule
from bitfront.supernet.training.trained import load_weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SETTINGS = TrainingSettings(
    warmup_epochs=1, elastic_epochs=1, quantized_epochs=1, kernel_epochs=1, depth_epochs=1, expand_epochs=1,
    batch_size=80, subnets_per_step=1,
)  # fmt: skip


@pytest.fixture(params=["tiny", "gated", "bottlenecks"])
def space(
    request: pytest.FixtureRequest,
    tiny_space: MBConvSpace,
    gated_space: MBConvSpace,
    bottleneck_space: BottleneckSpace,
) -> SearchSpace:
    spaces: dict[str, SearchSpace] = {"tiny": tiny_space, "gated": gated_space, "bottlenecks": bottleneck_space}
    return spaces[request.param]


@pytest.mark.parametrize("schedule", ["sandwich", "progressive"])
@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_every_phase_runs(
    space: SearchSpace, tiny_data: Dataset, schedule: Schedule, precision: Precision
) -> None:
    settings = dataclasses.replace(SETTINGS, schedule=schedule, precision=precision, accumulation=2)
    supernet = Supernet(space, seed=1)
    reports: list[EpochReport] = []
    Trainer(supernet, tiny_data, settings, seed=2, device="cuda").run(reports.append)
    assert len(reports) == settings.epochs
    assert all(math.isfinite(report.loss) for report in reports)
    for parameter in supernet.parameters():
        assert (parameter.device.type, parameter.dtype) == ("cuda", torch.float32)
        assert bool(parameter.isfinite().all())


def test_fp32_reports_what_a_cpu_reports(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    """The same networks on the same images; sums are rounded otherwise."""
    settings = dataclasses.replace(SETTINGS, precision="fp32", quantized_epochs=0)
    losses: dict[str, list[float]] = {"cpu": [], "cuda": []}
    for device, found in losses.items():
        trainer = Trainer(Supernet(tiny_space, seed=1), tiny_data, settings, seed=2, device=device)
        trainer.run(lambda report, found=found: found.append(report.loss))  # type: ignore[misc]
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=0.02)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("resumed_on", ["cuda", "cpu"])
def test_a_checkpoint_is_taken_up(
    tiny_space: MBConvSpace, tiny_data: Dataset, optimizer: OptimizerName, resumed_on: str
) -> None:
    settings = dataclasses.replace(SETTINGS, precision="fp32", optimizer=optimizer, schedule="progressive")
    first = Trainer(Supernet(tiny_space, seed=1), tiny_data, settings, seed=2, device="cuda")
    reports: list[EpochReport] = []
    states = []

    def after(report: EpochReport) -> None:
        reports.append(report)
        states.append(copy.deepcopy(first.state()))

    first.run(after)
    second = Trainer(Supernet(tiny_space, seed=9), tiny_data, settings, seed=2, device=resumed_on)
    second.restore(*states[1])  # in the middle of the shrinking: with a teacher
    rest: list[EpochReport] = []
    second.run(rest.append)
    assert [report.epoch for report in rest] == [report.epoch for report in reports[2:]]
    np.testing.assert_allclose([r.loss for r in rest], [r.loss for r in reports[2:]], rtol=0.05)


def test_weights_trained_there_are_measured_here(
    tiny_space: MBConvSpace, tiny_data: Dataset, tmp_path: Path
) -> None:
    settings = TrainingSettings(
        8, 2, 2, batch_size=16, learning_rate=2e-2, quantized_learning_rate=5e-3, subnets_per_step=1, augment=False
    )
    train(Supernet(tiny_space, seed=1), tiny_data, settings, 2, tmp_path, device="cuda")
    supernet = Supernet(tiny_space)
    load_weights(supernet, tmp_path)
    assert all(parameter.device.type == "cpu" for parameter in supernet.parameters())
    (largest,) = Evaluator(supernet, tiny_data).evaluate(tiny_space.extremes()[1:])
    assert largest.top1 > 0.35  # chance: 0.1
