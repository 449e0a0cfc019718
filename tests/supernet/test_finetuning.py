"""A short training of one subnet: it helps, it repeats itself, and it leaves the supernet alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bitfront.supernet.calibration import initialise_scales
from bitfront.supernet.data.dataset import Dataset, Split
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.evaluation import Evaluator, resolution_of
from bitfront.supernet.finetuning import Finetuned, FinetuningSettings, finetune
from bitfront.supernet.genes import Choice, GeneKind
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace


@pytest.fixture(scope="module")
def supernet(tiny_space: MBConvSpace, tiny_data: Dataset) -> Supernet:
    """Step sizes as training begins with them, and weights that were taught a little."""
    supernet = Supernet(tiny_space, seed=1)
    float_largest = _genome(tiny_space, "fp32")
    blocks, images = tiny_space.blocks(float_largest), Evaluator(supernet, tiny_data).images("train", 12)
    initialise_scales(supernet, [blocks], [images])
    labels = torch.from_numpy(tiny_data.train.labels)
    optimizer = torch.optim.AdamW(supernet.parameters(), lr=1e-2)
    for _ in range(25):
        optimizer.zero_grad()
        F.cross_entropy(supernet(images, blocks), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return supernet


def _genome(space: SearchSpace, number_format: str) -> NDArray[np.uint8]:
    formats: dict[GeneKind, Choice] = {"weight_format": number_format, "activation_format": number_format}
    genome: NDArray[np.uint8] = space.assign(space.extremes()[1:], formats)[0]
    return genome


def _tuned(supernet: Supernet, data: Dataset, seed: int = 0, epochs: int = 6, rate: float = 5e-3) -> Finetuned:
    settings = FinetuningSettings(epochs=epochs, batch_size=32, learning_rate=rate, distillation=0.0)
    genome = _genome(supernet.space, "int4")
    return finetune(supernet, data, genome, settings, np.random.default_rng(seed))


def test_it_raises_the_accuracy_and_returns_what_it_measured(supernet: Supernet, tiny_data: Dataset) -> None:
    done = _tuned(supernet, tiny_data, epochs=16)
    assert done.kept
    assert done.top1_after > done.top1_before + 0.1
    with torch.no_grad():
        images = Evaluator(supernet, tiny_data).images("validation", resolution_of(done.subnet.blocks))
        right = done.subnet(images).argmax(1).numpy() == tiny_data.validation.labels
    assert right.mean() == done.top1_after


def test_a_seed_repeats_it_and_the_supernet_stays(supernet: Supernet, tiny_data: Dataset) -> None:
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    one, same, other = (_tuned(supernet, tiny_data, seed, epochs=4) for seed in (0, 0, 1))
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert one.top1_after == same.top1_after
    for name, tensor in one.subnet.state_dict().items():
        assert torch.equal(tensor, same.subnet.state_dict()[name])
    assert one.kept
    assert any(not torch.equal(t, other.subnet.state_dict()[n]) for n, t in one.subnet.state_dict().items())


def test_a_teacher_takes_the_place_of_labels(supernet: Supernet, tiny_data: Dataset) -> None:
    """Asked for its answers alone, the network is the same whatever the labels say; half asked, it is not."""
    shuffled = Split(tiny_data.train.images, np.roll(tiny_data.train.labels, 1))
    genome = _genome(supernet.space, "int8")
    for share in (1.0, 0.5):
        settings = FinetuningSettings(epochs=1, batch_size=32, learning_rate=3e-3, distillation=share)
        weights = []
        for data in (tiny_data, dataclasses.replace(tiny_data, train=shuffled)):
            done = finetune(supernet, data, genome, settings, np.random.default_rng(0))
            weights.append(done.subnet.state_dict() | {"after": torch.tensor(done.top1_after)})
        alike = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        assert alike == (share == 1.0)


def test_what_is_made_worse_is_not_taken(supernet: Supernet, tiny_data: Dataset) -> None:
    blocks = supernet.space.blocks(_genome(supernet.space, "int4"))
    as_it_was = Evaluator(supernet, tiny_data).subnet(blocks).state_dict()
    spoiled = _tuned(supernet, tiny_data, epochs=1, rate=0.5)
    assert not spoiled.kept
    assert spoiled.top1_after < spoiled.top1_before
    for name, tensor in spoiled.subnet.state_dict().items():
        assert torch.equal(tensor, as_it_was[name])


def test_divergence_is_named(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    settings = FinetuningSettings(epochs=1, learning_rate=1e38, distillation=0.0)
    genome = _genome(tiny_space, "fp32")
    with pytest.raises(NumericalError, match=r"loss of fine-tuning became .* a learning rate below 1e\+38"):
        finetune(Supernet(tiny_space, seed=1), tiny_data, genome, settings, np.random.default_rng(0))
