"""True accuracy: right answers counted by hand, on the right split, always alike."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from bitfront.supernet import evaluation as evaluation_module
from bitfront.supernet.calibration import calibrate
from bitfront.supernet.data.dataset import Dataset, Split, resize
from bitfront.supernet.errors import NumericalError, UnknownNameError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.subnet import Subnet


@pytest.fixture
def genomes(tiny_space: MBConvSpace, rng: np.random.Generator) -> Genomes:
    return tiny_space.sample(8, rng)


def _top1(evaluator: Evaluator, genomes: Genomes, split: str = "validation") -> list[float]:
    return [measured.top1 for measured in evaluator.evaluate(genomes, split)]


def _with(dataset: Dataset, **splits: Any) -> Dataset:
    return dataclasses.replace(dataset, **splits)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_accuracy_is_the_share_of_right_answers(
    shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes, split: str
) -> None:
    measured = Evaluator(shaken_supernet, tiny_data).evaluate(genomes, split)
    for genome, result in zip(genomes, measured, strict=True):
        blocks = shaken_supernet.space.blocks(genome)
        size = blocks[0].layers[0].in_size
        statistics = calibrate(shaken_supernet, blocks, resize(tiny_data.tensor(tiny_data.train.images), size))
        images = resize(tiny_data.tensor(tiny_data.split(split).images), size)
        with torch.no_grad():
            logits = Subnet(shaken_supernet, blocks, statistics)(images).numpy()
        labels = tiny_data.split(split).labels
        right = sum(int(np.argmax(row)) == int(label) for row, label in zip(logits, labels, strict=True))
        # The evaluator calibrates on the same images in another order: sums may differ in the last digit.
        assert abs(result.top1 - right / len(logits)) <= 1.5 / len(logits)
        assert result.seconds > 0


def test_labels_that_are_the_answers_give_full_marks(
    shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes
) -> None:
    """An exact count, whatever the roundings: the answers themselves become the labels, then some are changed."""
    genome = genomes[0]
    blocks = shaken_supernet.space.blocks(genome)
    evaluator = Evaluator(shaken_supernet, tiny_data)
    statistics = evaluator.statistics(blocks)
    answers = evaluator.classify(blocks, statistics, tiny_data.validation, "validation", genome).numpy()
    for wrong in (0, 1, 13, 80):
        labels = answers.copy()
        labels[:wrong] = (labels[:wrong] + 1) % 10
        data = _with(tiny_data, validation=Split(tiny_data.validation.images, labels))
        assert _top1(Evaluator(shaken_supernet, data), genome[None]) == [(80 - wrong) / 80]


def test_the_same_genome_measures_the_same(
    shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes
) -> None:
    evaluator = Evaluator(shaken_supernet, tiny_data)
    first = _top1(evaluator, genomes)
    assert len(set(first)) > 1
    assert _top1(evaluator, genomes[::-1]) == first[::-1]
    assert _top1(evaluator, np.repeat(genomes[:1], 3, axis=0)) == first[:1] * 3
    assert _top1(Evaluator(shaken_supernet, tiny_data), genomes) == first


def test_splits_are_told_apart(shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes) -> None:
    evaluator = Evaluator(shaken_supernet, tiny_data)
    assert _top1(evaluator, genomes) != _top1(evaluator, genomes, "test")
    swapped = _with(tiny_data, validation=tiny_data.test, test=tiny_data.validation)
    other = Evaluator(shaken_supernet, swapped)
    assert _top1(other, genomes) == _top1(evaluator, genomes, "test")
    assert _top1(other, genomes, "test") == _top1(evaluator, genomes)


def test_measuring_hears_of_nothing_but_its_split_and_the_training_images(
    shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes
) -> None:
    expected = _top1(Evaluator(shaken_supernet, tiny_data), genomes)
    dark = Split(np.zeros_like(tiny_data.test.images), np.zeros_like(tiny_data.test.labels))
    unlabelled = Split(tiny_data.train.images, np.zeros_like(tiny_data.train.labels))
    other = Evaluator(shaken_supernet, _with(tiny_data, train=unlabelled, test=dark))
    assert _top1(other, genomes) == expected


def test_batch_norm_is_set_by_training_images_alone(
    shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def spy(supernet: Supernet, blocks: object, images: torch.Tensor, batch_size: int) -> object:
        seen.append(images)
        return calibrate(supernet, supernet.space.blocks(genomes[0]), images, batch_size)

    monkeypatch.setattr(evaluation_module, "calibrate", spy)
    Evaluator(shaken_supernet, tiny_data, calibration_images=50).evaluate(genomes[:1], "test")
    size = shaken_supernet.space.blocks(genomes[0])[0].layers[0].in_size
    training = {image.numpy().tobytes() for image in resize(tiny_data.tensor(tiny_data.train.images), size)}
    (images,) = seen
    assert len(images) == 50
    assert len({image.numpy().tobytes() for image in images} & training) == 50


def test_damaged_weights_are_named_with_the_genome(
    shaken_supernet: Supernet, tiny_data: Dataset, rng: np.random.Generator
) -> None:
    for value in (float("nan"), float("inf")):
        with torch.no_grad():
            shaken_supernet.elastic("stage0.block0.depthwise").weight[0, 0, 3, 3] = value
        evaluator = Evaluator(shaken_supernet, tiny_data)
        for genome in shaken_supernet.space.sample(6, rng):
            with pytest.raises(NumericalError) as caught:
                evaluator.evaluate(genome[None])
            assert str(genome.tolist()) in str(caught.value)
            assert "train it again" in str(caught.value)


def test_damage_to_a_layer_that_a_network_skips_is_no_damage(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, tiny_data: Dataset
) -> None:
    with torch.no_grad():
        shaken_supernet.elastic("stage1.block1.expand").weight[0, 0] = float("nan")
    evaluator = Evaluator(shaken_supernet, tiny_data)
    shallow, deep = tiny_space.extremes()
    evaluator.evaluate(shallow[None])
    with pytest.raises(NumericalError):
        evaluator.evaluate(deep[None])


def test_an_unknown_split(shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown split .* 'validaton': did you mean 'validation'"):
        Evaluator(shaken_supernet, tiny_data).evaluate(genomes, "validaton")


def test_progress_is_told_after_each_candidate(
    shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes
) -> None:
    told: list[tuple[int, int]] = []
    Evaluator(shaken_supernet, tiny_data).evaluate(genomes[:3], progress=lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_batch_size_hardly_matters(shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes) -> None:
    """Calibration in one batch, answers in batches of 512 or of 80: the same images, the same answers."""
    large, small = Evaluator(shaken_supernet, tiny_data), Evaluator(shaken_supernet, tiny_data, batch_size=160)
    np.testing.assert_allclose(_top1(large, genomes), _top1(small, genomes), atol=1.5 / 80)
