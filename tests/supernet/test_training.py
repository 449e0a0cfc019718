"""Training: what the phases teach, that it learns, and that it says when it can not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from bitfront.supernet.data.dataset import Dataset, Split, resize
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.forward import Normalise, batch_normalise
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import EpochReport, Trainer, TrainingSettings

SHORT = TrainingSettings(warmup_epochs=1, elastic_epochs=1, quantized_epochs=1, batch_size=40, subnets_per_step=2)


class _Watched(Supernet):
    """Keeps the networks that were run and the images they saw."""

    def __init__(self, space: MBConvSpace, seed: int = 0) -> None:
        super().__init__(space, seed)
        self.ran: list[tuple[Block, ...]] = []
        self.saw: list[Tensor] = []

    def forward(self, x: Tensor, blocks: Sequence[Block], normalise: Normalise = batch_normalise) -> Tensor:
        if torch.is_grad_enabled():  # the trainer also looks at accuracies
            self.ran.append(tuple(blocks))
            self.saw.append(x)
        return super().forward(x, blocks, normalise)


def _layers(network: Sequence[Block]) -> list[Layer]:
    return [layer for block in network for layer in block.layers]


def _formats(network: Sequence[Block]) -> set[str]:
    return {f for layer in _layers(network) for f in (layer.weight_format, layer.activation_format)}


def _shape(network: Sequence[Block]) -> list[Layer]:
    """The network without its policy."""
    return [dataclasses.replace(x, weight_format="", activation_format="") for x in _layers(network)]


Steps = dict[str, list[list[tuple[Block, ...]]]]


def _train(space: MBConvSpace, data: Dataset) -> Steps:
    """The networks of each step of each phase."""
    supernet = _Watched(space)
    steps: Steps = {}

    def after(report: EpochReport) -> None:
        size = 1 if report.phase == "warmup" else 2 + SHORT.subnets_per_step
        assert len(supernet.ran) == size * 4
        steps[report.phase] = [supernet.ran[i : i + size] for i in range(0, len(supernet.ran), size)]
        supernet.ran.clear()

    Trainer(supernet, data, SHORT, seed=5).run(after)
    return steps


@pytest.fixture(scope="module")
def steps(tiny_space: MBConvSpace, tiny_data: Dataset) -> Steps:
    return _train(tiny_space, tiny_data)


def test_warm_up_trains_the_largest_network_in_real_numbers(tiny_space: MBConvSpace, steps: Steps) -> None:
    largest = tiny_space.decode(tiny_space.extremes()[1])
    possible = [tiny_space.blocks(tiny_space.genome(largest | {"resolution": size})) for size in (8, 12)]
    assert all(network in possible for (network,) in steps["warmup"])
    assert {network[0].layers[0].in_size for (network,) in steps["warmup"]} == {8, 12}


@pytest.mark.parametrize("phase", ["elastic", "quantized"])
def test_the_sandwich_has_the_largest_first_and_the_smallest(
    tiny_space: MBConvSpace, steps: Steps, phase: str
) -> None:
    smallest, largest = (tiny_space.blocks(genome) for genome in tiny_space.extremes())
    for teacher, lowest, *sampled in steps[phase]:
        assert teacher == largest
        assert _formats(teacher) == {"fp32"}
        assert _shape(lowest) == _shape(smallest)
        assert len(sampled) == SHORT.subnets_per_step


def test_formats_are_drawn_in_the_quantized_phase_only(steps: Steps) -> None:
    assert {f for step in steps["elastic"] for network in step for f in _formats(network)} == {"fp32"}
    drawn = {f for step in steps["quantized"] for network in step[2:] for f in _formats(network)}
    assert drawn == {"fp32", "int8", "int6", "int4"}
    for _, lowest, *_ in steps["quantized"]:
        for layer in _layers(lowest):
            narrowest = "int4" if layer.name.startswith("stage") else "int8"
            assert (layer.weight_format, layer.activation_format) == (narrowest, narrowest)


def test_sampled_networks_differ_from_step_to_step(steps: Steps) -> None:
    assert len({network for step in steps["elastic"] for network in step[2:]}) > 4


def test_networks_of_a_restricted_space_stay_inside_it(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    """Apart from the teacher, which is always real; a skipped layer keeps its first step sizes."""
    narrow = tiny_space.restrict({"stage1.depth": [1], "stage0.block0.width": [4, 8]}).restrict_formats(
        lambda op: {("int8", "int8"), ("fp32", "fp32")}
    )
    for _, lowest, *sampled in _train(narrow, tiny_data)["quantized"]:
        for network in (lowest, *sampled):
            assert _formats(network) <= {"fp32", "int8"}
            assert "stage1.block1" not in {block.name for block in network}


def test_teacher_and_students_see_the_same_distorted_images(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    supernet = _Watched(tiny_space.restrict({"resolution": [12]}))
    settings = dataclasses.replace(SHORT, warmup_epochs=0, quantized_epochs=0)
    Trainer(supernet, tiny_data, settings, seed=1).run(lambda report: None)
    for i in range(0, len(supernet.saw), 4):
        teacher, *students = supernet.saw[i : i + 4]
        assert all(torch.equal(student, teacher) for student in students)
    assert not torch.equal(supernet.saw[0], supernet.saw[4])


def test_every_training_image_is_seen_once_an_epoch_and_no_other(
    tiny_space: MBConvSpace, tiny_data: Dataset
) -> None:
    supernet = _Watched(tiny_space)
    settings = TrainingSettings(
        warmup_epochs=1, elastic_epochs=0, quantized_epochs=0, batch_size=33, augment=False
    )
    Trainer(supernet, tiny_data, settings, seed=1).run(lambda report: None)
    assert [len(x) for x in supernet.saw] == [33, 33, 33, 33, 28]
    images = tiny_data.tensor(tiny_data.train.images)
    training = {image.numpy().tobytes() for size in (8, 12) for image in resize(images, size)}
    seen = {image.numpy().tobytes() for x in supernet.saw for image in x}
    assert len(seen) == len(images)
    assert seen <= training


def test_images_come_in_another_order_each_epoch(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    supernet = _Watched(tiny_space.restrict({"resolution": [8]}))
    settings = TrainingSettings(0, 2, 0, batch_size=160, subnets_per_step=0, augment=False)
    Trainer(supernet, tiny_data, settings, seed=1).run(lambda report: None)
    first, _, second, _ = supernet.saw  # the largest and the smallest network in each of two epochs of one step
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.sum(0), second.sum(0), rtol=1e-3, atol=1e-3)


class _Inspected(Supernet):
    """Keeps what the weights were like whenever a network was run."""

    def __init__(self, space: MBConvSpace) -> None:
        super().__init__(space)
        self.channels_are_sorted: list[bool] = []
        self.steps_are_set: list[bool] = []

    def forward(self, x: Tensor, blocks: Sequence[Block], normalise: Normalise = batch_normalise) -> Tensor:
        if not torch.is_grad_enabled():
            return super().forward(x, blocks, normalise)
        projections = [self.elastic(group.consumers[0]).weight.detach() for group in self.space.hidden_channels]
        importance = [weight.abs().sum((0, 2, 3)) for weight in projections]
        self.channels_are_sorted.append(all(bool((i.diff() <= 1e-6).all()) for i in importance))
        steps = [step.detach() for layer in self.elastic_layers() for step in layer.input_log_scale.values()]
        self.steps_are_set.append(all(bool(step != 0) for step in steps))
        return super().forward(x, blocks, normalise)


def test_channels_are_sorted_before_width_and_steps_set_before_formats(
    tiny_space: MBConvSpace, tiny_data: Dataset
) -> None:
    supernet = _Inspected(tiny_space)
    settings = TrainingSettings(1, 1, 1, batch_size=160, subnets_per_step=0)
    Trainer(supernet, tiny_data, settings, seed=1).run(lambda report: None)
    # one step an epoch: the largest network alone, then twice the largest and the smallest
    assert supernet.channels_are_sorted[:3] == [False, True, True]
    assert supernet.steps_are_set == [False, False, False, True, True]


def test_it_learns(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    settings = TrainingSettings(
        8, 2, 2, batch_size=16, learning_rate=2e-2, quantized_learning_rate=5e-3, subnets_per_step=1, augment=False
    )
    supernet = Supernet(tiny_space)
    reports: list[EpochReport] = []
    Trainer(supernet, tiny_data, settings, seed=0).run(reports.append)
    assert [(report.epoch, report.epochs) for report in reports] == [(i, 12) for i in range(1, 13)]
    assert [report.phase for report in reports] == ["warmup"] * 8 + ["elastic"] * 2 + ["quantized"] * 2
    losses = [report.loss for report in reports]
    assert losses[0] > 2.0  # chance: log(10) = 2.3
    assert losses[7] < 0.6 * losses[0]
    assert losses[9] < losses[8]
    assert losses[11] < losses[10]
    largest = tiny_space.extremes()[1:]
    int8 = tiny_space.assign(largest, {"weight_format": "int8", "activation_format": "int8"})
    for measured in Evaluator(supernet, tiny_data).evaluate(np.concatenate([largest, int8])):
        assert measured.top1 > 0.35  # chance: 0.1


def test_rates_rise_then_follow_a_cosine_to_zero(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    settings = TrainingSettings(3, 3, 3, batch_size=160, subnets_per_step=1)
    reports: list[EpochReport] = []
    Trainer(Supernet(tiny_space), tiny_data, settings, seed=0).run(reports.append)
    for start, peak in ((0, 4e-3), (3, 4e-3), (6, 1e-3)):
        rates = [report.learning_rate for report in reports[start : start + 3]]
        cosine = [0.5 * (1 + np.cos(np.pi * third / 3)) for third in range(3)]
        np.testing.assert_allclose(rates, [0.02 * peak, cosine[1] * peak, cosine[2] * peak])


def test_phases_of_no_epochs_are_skipped(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    for settings in (
        TrainingSettings(warmup_epochs=0, elastic_epochs=1, quantized_epochs=0, batch_size=80),
        TrainingSettings(warmup_epochs=0, elastic_epochs=0, quantized_epochs=1, batch_size=80),
        TrainingSettings(warmup_epochs=0, elastic_epochs=0, quantized_epochs=0, batch_size=80),
    ):
        reports: list[EpochReport] = []
        Trainer(Supernet(tiny_space), tiny_data, settings, seed=0).run(reports.append)
        assert len(reports) == settings.epochs


def test_training_hears_of_nothing_but_the_training_split(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    dark = Split(np.zeros_like(tiny_data.test.images), np.zeros_like(tiny_data.test.labels))
    weights = []
    for data in (tiny_data, dataclasses.replace(tiny_data, validation=dark, test=dark)):
        supernet = Supernet(tiny_space)
        Trainer(supernet, data, SHORT, seed=0).run(lambda report: None)
        weights.append(supernet.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


PHASES = [("warmup", "learning_rate"), ("elastic", "learning_rate"), ("quantized", "quantized_learning_rate")]


@pytest.mark.parametrize(("phase", "setting"), PHASES)
def test_a_loss_that_is_no_number_stops_the_training(
    tiny_space: MBConvSpace, tiny_data: Dataset, phase: str, setting: str
) -> None:
    """The message names epoch, phase and setting; the weights stay as the last good step left them."""
    supernet = Supernet(tiny_space)
    good: dict[str, Tensor] = {}

    def after(report: EpochReport) -> None:
        if report.epoch == ("warmup", "elastic", "quantized").index(phase):
            spoil()

    def spoil() -> None:
        with torch.no_grad():
            supernet.elastic("head.classifier").weight[0, 0] = float("nan")
        good.update({name: tensor.clone() for name, tensor in supernet.state_dict().items()})

    trainer = Trainer(supernet, tiny_data, dataclasses.replace(SHORT, batch_size=80), seed=0)
    if phase == "warmup":
        spoil()
    epoch = 1 + ("warmup", "elastic", "quantized").index(phase)
    where = rf"loss became nan in epoch {epoch} of 3 \({phase}\)"
    message = rf"{where}, also at 0.3 times the rate: lower the training's {setting}"
    with pytest.raises(NumericalError, match=message):
        trainer.run(after)
    for name, tensor in supernet.state_dict().items():
        # Later phases first sort hidden channels or set step sizes; these tensors are touched by steps alone.
        if phase == "warmup" or name.endswith(("stem.weight", "stem.gain", "classifier.weight", "mix.weight")):
            assert torch.equal(tensor.nan_to_num(), good[name].nan_to_num()), f"{name} was changed by a bad step"


def test_a_diverging_rate_is_found_in_the_epoch_where_it_diverges(
    tiny_space: MBConvSpace, tiny_data: Dataset
) -> None:
    settings = TrainingSettings(
        warmup_epochs=3, elastic_epochs=0, quantized_epochs=0, batch_size=80, learning_rate=1e30
    )
    reports: list[EpochReport] = []
    with pytest.raises(NumericalError, match=r"in epoch \d of 3 \(warmup\), also at 0.3 times the rate: lower"):
        Trainer(Supernet(tiny_space), tiny_data, settings, seed=0).run(reports.append)
    assert all(np.isfinite(report.loss) for report in reports)
