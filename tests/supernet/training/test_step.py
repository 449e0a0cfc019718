"""One step against its arithmetic written out: loss, gradient, clipping and the move of the weights."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from bitfront.supernet.data.augment import Augmentation, augment, mixup
from bitfront.supernet.data.dataset import Dataset, resize
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import Phase, TrainingSettings, phases_of
from bitfront.supernet.training.batches import Batch, BatchSource
from bitfront.supernet.training.sampling import NetworkSampler
from bitfront.supernet.training.settings import Precision
from bitfront.supernet.training.step import DivergedError, Step

CPU = torch.device("cpu")
SMOOTHING, RATE, MOMENTUM, LARGEST_NORM = 0.1, 0.05, 0.9, 5.0
SETTINGS = TrainingSettings(
    batch_size=30, label_smoothing=SMOOTHING, augment=False, optimizer="sgd", weight_decay=0.0, subnets_per_step=2
)
PHASES = ("warmup", "elastic", "kernel", "expand-1", "quantized")


def phase_called(name: str) -> Phase:
    schedules = (SETTINGS, dataclasses.replace(SETTINGS, schedule="progressive"))
    return next(one for settings in schedules for one in phases_of(settings) if one.name == name)


def drawn(space: MBConvSpace, phase: Phase) -> Genomes:
    return NetworkSampler(space, phase, SETTINGS.subnets_per_step).draw(np.random.default_rng(3))


def parts_of(data: Dataset, settings: TrainingSettings, seed: int = 11) -> Iterator[tuple[float, Batch]]:
    source = BatchSource(data, settings, 0, CPU, (0, 1))
    return source.parts(next(source.rows(0)), seed)


def images_and_labels(data: Dataset) -> tuple[Tensor, Tensor]:
    rows = np.random.default_rng([0, 0]).permutation(len(data.train))[: SETTINGS.batch_size]
    return data.tensor(data.train.images[rows]), torch.from_numpy(data.train.labels[rows])


def against_labels(logits: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Cross-entropy with a share of each label given to all classes alike."""
    wanted = torch.full((len(labels), classes), SMOOTHING / classes)
    wanted[torch.arange(len(labels)), labels] += 1 - SMOOTHING
    return against(logits, wanted)


def against(logits: Tensor, wanted: Tensor) -> Tensor:
    shifted = logits - logits.max(1, keepdim=True).values.detach()
    log_share = shifted - shifted.exp().sum(1, keepdim=True).log()
    return -(wanted * log_share).sum(1).mean()


def shares(logits: Tensor) -> Tensor:
    exponents = (logits - logits.max(1, keepdim=True).values).exp()
    result: Tensor = (exponents / exponents.sum(1, keepdim=True)).detach()
    return result


def loss_by_hand(
    supernet: Supernet, teacher: Supernet | None, phase: Phase, genomes: Genomes, data: Dataset
) -> Tensor:
    """The mean over networks of what each is told to learn."""
    images, labels = images_and_labels(data)

    def logits(of: Supernet, genome: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Tensor:
        blocks = of.space.blocks(genome)
        given: Tensor = of(resize(images, blocks[0].layers[0].in_size), blocks)
        return given

    losses = []
    answers = None
    if teacher is not None:
        answers = shares(logits(teacher, supernet.space.extremes()[1]))
    for genome in genomes:
        given = logits(supernet, genome)
        if teacher is not None and answers is not None:
            losses.append(against_labels(given, labels, data.classes) + against(given, answers))
        elif answers is None:
            losses.append(against_labels(given, labels, data.classes))
            answers = shares(given)
        else:
            losses.append(against(given, answers))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("name", PHASES)
def test_a_step_is_what_it_says(tiny_data: Dataset, shaken_supernet: Supernet, name: str) -> None:
    """Loss and moved weights; in the progressive phases the frozen teacher's answers are in both."""
    space = shaken_supernet.space
    assert isinstance(space, MBConvSpace)
    phase = phase_called(name)
    teacher = Supernet(space, seed=8) if phase.frozen_teacher else None
    by_hand = copy.deepcopy(shaken_supernet)
    genomes = drawn(space, phase)

    step = Step(shaken_supernet, SETTINGS, CPU)
    step.teacher = teacher
    loss = step.run(phase, genomes, parts_of(tiny_data, SETTINGS), RATE)

    expected = loss_by_hand(by_hand, teacher, phase, genomes, tiny_data)
    expected.backward()  # type: ignore[no-untyped-call]
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    gradients = {name: p.grad for name, p in by_hand.named_parameters() if p.grad is not None}
    norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients.values()))
    shrunk = min(1.0, LARGEST_NORM / (norm + 1e-6))
    moved = dict(shaken_supernet.named_parameters())
    for key, before in by_hand.named_parameters():
        gradient = gradients.get(key)
        after = before if gradient is None else before - RATE * (1 + MOMENTUM) * shrunk * gradient
        torch.testing.assert_close(moved[key], after, rtol=1e-4, atol=1e-5)


def test_gradients_are_clipped_as_one(tiny_data: Dataset, shaken_supernet: Supernet) -> None:
    """The step above is in this case too: its gradient is longer than what is let through."""
    with torch.no_grad():
        shaken_supernet.elastic("head.classifier").weight.mul_(100)
    before = copy.deepcopy(shaken_supernet.state_dict())
    phase = phase_called("warmup")
    assert isinstance(shaken_supernet.space, MBConvSpace)
    step = Step(shaken_supernet, SETTINGS, CPU)
    step.run(phase, drawn(shaken_supernet.space, phase), parts_of(tiny_data, SETTINGS), RATE)
    moves = [(t - before[name]).double() for name, t in shaken_supernet.state_dict().items()]
    length = math.sqrt(sum(float((move**2).sum()) for move in moves))
    assert length == pytest.approx(RATE * (1 + MOMENTUM) * LARGEST_NORM, rel=1e-3)


def test_without_the_teacher_the_loss_is_another(tiny_data: Dataset, tiny_space: MBConvSpace) -> None:
    """So that the comparison above can tell whether answers are in it."""
    phase, losses = phase_called("kernel"), []
    for seed in (8, 9):
        step = Step(Supernet(tiny_space, seed=1), SETTINGS, CPU)
        step.teacher = Supernet(tiny_space, seed=seed)
        losses.append(step.run(phase, drawn(tiny_space, phase), parts_of(tiny_data, SETTINGS), RATE))
    assert abs(losses[0] - losses[1]) > 1e-3


def test_the_teacher_is_not_moved_by_a_step(tiny_data: Dataset, tiny_space: MBConvSpace) -> None:
    phase = phase_called("kernel")
    step = Step(Supernet(tiny_space, seed=1), SETTINGS, CPU)
    step.teacher = Supernet(tiny_space, seed=2)
    before = copy.deepcopy(step.teacher.state_dict())
    step.run(phase, drawn(tiny_space, phase), parts_of(tiny_data, SETTINGS), RATE)
    assert all(torch.equal(t, before[name]) for name, t in step.teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in step.teacher.parameters())


@pytest.mark.parametrize("name", PHASES)
def test_parts_of_a_batch_give_the_mean_of_their_gradients(
    tiny_data: Dataset, tiny_space: MBConvSpace, name: str
) -> None:
    """30 images in 4 parts: 8, 8, 7 and 7; each counts by its images."""
    phase = phase_called(name)
    genomes = drawn(tiny_space, phase)
    settings = dataclasses.replace(SETTINGS, accumulation=4)
    teacher = Supernet(tiny_space, seed=8) if phase.frozen_teacher else None

    def stepped(parts: Iterator[tuple[float, Batch]]) -> tuple[float, dict[str, Tensor]]:
        supernet = Supernet(tiny_space, seed=1)
        step = Step(supernet, settings, CPU)
        step.teacher = teacher
        loss = step.run(phase, genomes, parts, 0.0)
        return loss, {n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}

    together, gradients = stepped(parts_of(tiny_data, settings))
    alone = [stepped(iter([(1.0, batch)])) for _, batch in parts_of(tiny_data, settings)]
    weights = [size / 30 for size in (8, 8, 7, 7)]
    assert [weight for weight, _ in parts_of(tiny_data, settings)] == pytest.approx(weights)
    assert together == pytest.approx(sum(w * loss for w, (loss, _) in zip(weights, alone, strict=True)), rel=1e-5)
    norms = [math.sqrt(sum(float((g**2).sum()) for g in found.values())) for _, found in alone]
    assert max(norms) < LARGEST_NORM  # none of them was clipped, so that they can be added
    for key, gradient in gradients.items():
        expected = torch.stack([w * found[key] for w, (_, found) in zip(weights, alone, strict=True)]).sum(0)
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_a_cpu_computes_in_fp32_unless_told(
    tiny_data: Dataset, tiny_space: MBConvSpace, precision: Precision
) -> None:
    """bf16 would move the loss by more than this."""
    phase = phase_called("warmup")
    settings = dataclasses.replace(SETTINGS, precision=precision)
    supernet, genomes = Supernet(tiny_space, seed=1), drawn(tiny_space, phase)
    expected = float(loss_by_hand(copy.deepcopy(supernet), None, phase, genomes, tiny_data).detach())
    assert Step(supernet, settings, CPU).run(phase, genomes, parts_of(tiny_data, settings), RATE) == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize("name", PHASES)
def test_bf16_runs_every_phase(tiny_data: Dataset, tiny_space: MBConvSpace, name: str) -> None:
    """Finite, close to fp32's loss, and not fp32's itself; weights and gradients stay in fp32."""
    phase = phase_called(name)
    genomes, losses = drawn(tiny_space, phase), {}
    for precision in ("fp32", "bf16"):
        settings = dataclasses.replace(SETTINGS, precision=precision)
        supernet = Supernet(tiny_space, seed=1)
        step = Step(supernet, settings, CPU)
        step.teacher = Supernet(tiny_space, seed=2) if phase.frozen_teacher else None
        losses[precision] = step.run(phase, genomes, parts_of(tiny_data, settings), RATE)
        assert all(p.dtype == torch.float32 and bool(p.isfinite().all()) for p in supernet.parameters())
    assert math.isfinite(losses["bf16"])
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_a_step_that_diverges_moves_nothing(tiny_data: Dataset, tiny_space: MBConvSpace) -> None:
    """A finite loss with a gradient that is none counts as well."""
    supernet = Supernet(tiny_space, seed=1)
    before = copy.deepcopy(supernet.state_dict())
    supernet.elastic("stem").weight.register_hook(  # type: ignore[no-untyped-call]
        lambda gradient: gradient * float("inf")
    )
    phase = phase_called("warmup")
    with pytest.raises(DivergedError):
        Step(supernet, SETTINGS, CPU).run(phase, drawn(tiny_space, phase), parts_of(tiny_data, SETTINGS), RATE)
    assert all(torch.equal(t, before[name]) for name, t in supernet.state_dict().items())


# -- batches -----------------------------------------------------------------------------------------------


def test_a_batch_is_varied_and_mixed_alike_at_every_resolution(tiny_data: Dataset) -> None:
    varied = dataclasses.replace(tiny_data, augmentation=Augmentation(shift=0.2, flip=True, mixup=0.8))
    images, labels = torch.from_numpy(varied.train.images[:20]), torch.from_numpy(varied.train.labels[:20])
    targets = torch.eye(varied.classes)[labels]
    batch = Batch(varied, images, targets, True, seed=5)
    for resolution in (12, 8, 12):
        generator = torch.Generator().manual_seed(5)
        seen = augment(varied.normalise(images), resolution, varied.augmentation, generator)
        seen, wanted = mixup(seen, targets, 0.8, generator)
        assert torch.equal(batch.at(resolution)[0], seen)
        assert torch.equal(batch.at(resolution)[1], wanted)
    assert torch.equal(batch.at(8)[1], batch.at(12)[1])
    assert not torch.equal(batch.at(8)[1], targets)


def test_images_that_are_not_varied_are_as_they_are(tiny_data: Dataset) -> None:
    images, targets = torch.from_numpy(tiny_data.train.images[:4]), torch.eye(tiny_data.classes)[:4]
    seen, wanted = Batch(tiny_data, images, targets, False, seed=5).at(8)
    assert torch.equal(seen, resize(tiny_data.normalise(images), 8))
    assert torch.equal(wanted, targets)


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "sizes"),
    [
        (160, 1, [[160]]),
        (53, 1, [[53], [53], [53]]),  # a rest of one image is left out
        (159, 1, [[159]]),
        (158, 1, [[158], [2]]),
        (1, 1, [[1]] * 160),  # where it was asked for
        (60, 3, [[20, 20, 20], [20, 20, 20], [14, 13, 13]]),
        (157, 2, [[79, 78], [3]]),  # no part of one image
        (80, 80, [[2] * 40, [2] * 40]),
    ],
)
def test_batches_and_their_parts(
    tiny_data: Dataset, batch_size: int, accumulation: int, sizes: list[list[int]]
) -> None:
    settings = dataclasses.replace(SETTINGS, batch_size=batch_size, accumulation=accumulation)
    source = BatchSource(tiny_data, settings, 0, CPU, (0, 1))
    assert source.steps == len(sizes)
    found = [[len(batch.at(8)[0]) for _, batch in source.parts(rows, 1)] for rows in source.rows(2)]
    assert found == sizes


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_processes_share_batches_without_an_image_twice(tiny_data: Dataset, processes: int) -> None:
    settings = dataclasses.replace(SETTINGS, batch_size=30, accumulation=2)
    sources = [BatchSource(tiny_data, settings, 0, CPU, (rank, processes)) for rank in range(processes)]
    assert len({source.steps for source in sources}) == 1
    for step in zip(*(source.rows(1) for source in sources), strict=True):
        assert all(np.array_equal(rows, step[0]) for rows in step)
        assert len(step[0]) % processes == 0
        seen: list[bytes] = []
        for source, rows in zip(sources, step, strict=True):
            parts = list(source.parts(rows, 1))
            assert sum(weight for weight, _ in parts) == pytest.approx(1)
            seen += [image.numpy().tobytes() for _, batch in parts for image in batch.at(8)[0]]
        whole = resize(tiny_data.tensor(tiny_data.train.images[step[0]]), 8)
        assert sorted(seen) == sorted(image.numpy().tobytes() for image in whole)
