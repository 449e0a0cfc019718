"""True accuracy: right answers counted by hand, on the right split, always alike."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.supernet.calibration import calibrate
from bitfront.supernet.data.dataset import Dataset, Split, resize
from bitfront.supernet.errors import NumericalError, UnknownNameError
from bitfront.supernet.evaluation import Evaluator, Measured, Rejected, resolution_of
from bitfront.supernet.evaluation_group import Group
from bitfront.supernet.evaluation_plan import Plan, sharing_order
from bitfront.supernet.genes import Genomes
from bitfront.supernet.inference import ReadyParams
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.policy import quantized_outputs
from bitfront.supernet.space import SearchSpace
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
    size = blocks[0].layers[0].in_size
    with torch.no_grad():
        logits = evaluator.subnet(blocks)(resize(tiny_data.tensor(tiny_data.validation.images), size))
    answers = logits.argmax(1).numpy()
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


def test_batch_norm_is_set_by_training_images_alone(shaken_supernet: Supernet, tiny_data: Dataset) -> None:
    evaluator = Evaluator(shaken_supernet, tiny_data, calibration_images=50)
    for size in shaken_supernet.space.genes[0].choices:
        resized = resize(tiny_data.tensor(tiny_data.train.images), int(size))
        training = {image.numpy().tobytes() for image in resized}
        images = evaluator.calibration_images(int(size))
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


# -- common work -------------------------------------------------------------------------------------------


def _alone(evaluator: Evaluator, genome: NDArray[np.uint8], split: str) -> Tensor:
    """Logits of the extracted subnet, on the whole split at once."""
    blocks = evaluator.supernet.space.blocks(genome)
    with torch.no_grad():
        logits: Tensor = evaluator.subnet(blocks)(evaluator.images(split, resolution_of(blocks)))
    return logits


def _relatives(space: SearchSpace, rng: np.random.Generator) -> Genomes:
    """Candidates that share rows of blocks of every length, and the same ones twice."""
    parents = space.sample(4, rng)
    children = np.repeat(parents, 6, axis=0)
    places = rng.integers(space.n_genes, size=len(children))
    children[np.arange(len(children)), places] = rng.integers(space.cardinalities[places])
    return space.canonical(np.concatenate([parents, children, parents[:2]]))


@pytest.mark.parametrize("sizes", [(512, 16 << 20, 512 << 20), (512, 1, 512 << 20), (64, 16 << 20, 1)])
def test_common_work_changes_no_bit(
    shaken_supernet: Supernet, tiny_data: Dataset, rng: np.random.Generator, sizes: tuple[int, int, int]
) -> None:
    """In one pass, in several of few images, and with images resized batch by batch."""
    space = shaken_supernet.space
    batch_size, activation_bytes, image_bytes = sizes
    evaluator = Evaluator(
        shaken_supernet,
        tiny_data,
        batch_size=batch_size,
        activation_bytes=activation_bytes,
        image_bytes=image_bytes,
    )
    genomes = _relatives(space, rng)
    together = evaluator.outcomes(genomes, "test")
    labels = torch.from_numpy(tiny_data.test.labels)
    for genome, outcome in zip(genomes, together, strict=True):
        assert isinstance(outcome, Measured)
        right = int((_alone(evaluator, genome, "test").argmax(1) == labels).sum())
        assert outcome.top1 == right / len(labels)
        assert evaluator.evaluate_one(genome, "test").top1 == outcome.top1


@pytest.mark.parametrize("joint", [True, False])
def test_the_logits_are_the_subnets_to_the_bit(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, tiny_data: Dataset, rng: np.random.Generator, joint: bool
) -> None:
    evaluator = Evaluator(shaken_supernet, tiny_data)
    for resolution in (8, 12):
        same = tiny_space.assign(_relatives(tiny_space, rng), {"resolution": resolution})
        networks = [tiny_space.blocks(genome) for genome in same]
        images, calibration = evaluator.images("test", resolution), evaluator.calibration_images(resolution)
        seen: dict[int, Tensor] = {}
        with torch.inference_mode():
            group = Group(networks, ReadyParams(shaken_supernet.params))
            if joint:
                group.calibrate_and_count(calibration, images, tiny_data.test.labels, seen.__setitem__)
            else:
                group.calibrate([calibration])
                group.count(images, tiny_data.test.labels, seen.__setitem__)
        for candidate, genome in enumerate(same):
            assert torch.equal(seen[candidate], _alone(evaluator, genome, "test")), tiny_space.decode(genome)


def test_equal_rows_of_blocks_are_run_once(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, rng: np.random.Generator
) -> None:
    """By counting: as many nodes as there are different rows, and each is run once per walk."""
    genomes = tiny_space.assign(_relatives(tiny_space, rng), {"resolution": 8})
    networks = [tiny_space.blocks(genome) for genome in genomes]
    plan = Plan(networks, ReadyParams(shaken_supernet.params))
    rows = set()
    for blocks in networks:
        outputs = quantized_outputs(blocks)
        for length in range(1, len(blocks) + 1):
            own = {layer.name for block in blocks[:length] for layer in block.layers}
            rows.add((blocks[:length], outputs & own))
    nodes = list(plan.nodes())
    assert len(nodes) == len(rows) < sum(len(blocks) for blocks in networks)
    assert sorted(candidate for node in nodes for candidate in node.ends) == list(range(len(genomes)))


def test_neighbours_in_sharing_order_share(tiny_space: MBConvSpace, rng: np.random.Generator) -> None:
    """Every pair of candidates with the same first blocks has only such between them."""
    genomes = tiny_space.sample(60, rng)
    order = sharing_order(tiny_space, genomes)
    assert sorted(order) == list(range(60))
    networks = [tiny_space.blocks(genomes[place]) for place in order]
    for length in (1, 2):
        starts = [blocks[:length] for blocks in networks]
        changes = sum(one != other for one, other in itertools.pairwise(starts))
        assert changes == len(set(starts)) - 1


def test_weights_that_do_not_fit_are_made_again(
    shaken_supernet: Supernet, tiny_space: MBConvSpace, rng: np.random.Generator
) -> None:
    few, many = ReadyParams(shaken_supernet.params, 1), ReadyParams(shaken_supernet.params)
    for genome in tiny_space.sample(10, rng):
        for layer in tiny_space.layers(genome):
            for quantized in (False, True):
                one, other = few(layer, quantized), many(layer, quantized)
                for name in ("weight", "bias", "input_scale", "output_scale"):
                    a, b = getattr(one, name), getattr(other, name)
                    assert (a is None and b is None) or torch.equal(a, b)


def test_one_broken_candidate_among_others(
    tiny_space: MBConvSpace, shaken_supernet: Supernet, tiny_data: Dataset
) -> None:
    with torch.no_grad():
        shaken_supernet.elastic("stage1.block1.expand").weight[0, 0] = float("nan")
    shallow, deep = tiny_space.extremes()
    outcomes = Evaluator(shaken_supernet, tiny_data).outcomes(np.stack([deep, shallow, deep]))
    assert [type(outcome) for outcome in outcomes] == [NumericalError, Measured, NumericalError]
    assert str(deep.tolist()) in str(outcomes[0])


def test_hopeless_candidates_are_given_up_and_no_others(
    shaken_supernet: Supernet, tiny_data: Dataset, genomes: Genomes
) -> None:
    evaluator = Evaluator(shaken_supernet, tiny_data)
    truth = _top1(evaluator, genomes)
    hopeless = evaluator.outcomes(genomes, reject_below=0.99)
    assert all(isinstance(one, Rejected) and one.images == 20 and one.bound < 0.99 for one in hopeless)
    assert all(one.bound >= true for one, true in zip(hopeless, truth, strict=True) if isinstance(one, Rejected))
    kept = evaluator.outcomes(genomes, reject_below=0.0)
    assert [one.top1 for one in kept if isinstance(one, Measured)] == truth


def test_scales_can_be_set_for_each_network(
    shaken_supernet: Supernet, tiny_data: Dataset, tiny_space: MBConvSpace, rng: np.random.Generator
) -> None:
    """Scales that were spoiled are made good; the subnet is what was measured."""
    genomes = tiny_space.assign(tiny_space.sample(4, rng), {"weight_format": "int8", "activation_format": "int8"})
    with torch.no_grad():
        for layer in shaken_supernet.elastic_layers():
            layer.input_log_scale["int8"].fill_(5.0)
            layer.weight_log_ratio["int8"].fill_(0.0)
            layer.output_log_scale.fill_(5.0)
    spoiled, mended = (Evaluator(shaken_supernet, tiny_data, recalibrate_scales=on) for on in (False, True))
    labels = torch.from_numpy(tiny_data.validation.labels)
    for genome, top1 in zip(genomes, _top1(mended, genomes), strict=True):
        logits = _alone(mended, genome, "validation")
        assert top1 == float((logits.argmax(1) == labels).double().mean())
        real = tiny_space.assign(genome[None], {"weight_format": "fp32", "activation_format": "fp32"})[0]
        exact = _alone(spoiled, real, "validation")
        near = (logits - exact).abs().mean()
        assert near < 0.5 * (_alone(spoiled, genome, "validation") - exact).abs().mean()


@pytest.mark.parametrize("name", ["gated_space", "bottleneck_space"])
def test_other_blocks_share_work_to_the_bit(
    name: str, request: pytest.FixtureRequest, rng: np.random.Generator
) -> None:
    """Squeeze and excitation, smooth activation functions, shortcuts with a layer, and pooling between blocks."""
    space: SearchSpace = request.getfixturevalue(name)
    layer = space.layers(space.extremes()[1])[0]
    shape = (64, layer.in_channels, layer.in_size, layer.in_size)
    train, validation, test = (
        Split(rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, 2, shape[0])) for _ in range(3)
    )
    channels = layer.in_channels
    data = Dataset("noise", ("a", "b"), train, validation, test, (0.5,) * channels, (0.3,) * channels)
    supernet = Supernet(space, seed=3)
    with torch.no_grad():
        for one in supernet.elastic_layers():
            for scale, bits in ((one.input_log_scale[f"int{bits}"], bits) for bits in (8, 6, 4)):
                scale.fill_(4.0 / 2**bits).log_()
            one.output_log_scale.fill_(8.0 / 2**8).log_()
    evaluator = Evaluator(supernet, data, calibration_images=48)
    resolution = int(space.genes[space.position["resolution"]].choices[-1])
    genomes = space.assign(_relatives(space, rng), {"resolution": resolution})
    seen: dict[int, Tensor] = {}
    with torch.inference_mode():
        group = Group([space.blocks(genome) for genome in genomes], ReadyParams(evaluator.supernet.params))
        group.calibrate([evaluator.calibration_images(resolution)])
        group.count(evaluator.images("test", resolution), data.test.labels, seen.__setitem__)
    for candidate, genome in enumerate(genomes):
        assert torch.equal(seen[candidate], _alone(evaluator, genome, "test")), space.decode(genome)
