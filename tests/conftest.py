"""Fixtures that every test folder may use: one thread, a small space, a small part of the digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import settings

from bitfront.supernet.data.dataset import Dataset, Split
from bitfront.supernet.data.digits import digits
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

torch.set_num_threads(1)
# The same examples every time, and no time limit per example: the machines that run this are shared.
settings.register_profile("bitfront", deadline=None, derandomize=True, database=None)
settings.load_profile("bitfront")


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with a fixed seed."""
    return np.random.default_rng(20240)


@pytest.fixture(scope="session")
def tiny_space() -> MBConvSpace:
    """The digits space cut down: every kind of gene, block and residual, all formats, about 2e14 networks."""
    formats = ("fp32", "int8", "int6", "int4")
    frame = MBConvConfig(
        in_channels=1,
        classes=10,
        stem_channels=4,
        stem_stride=1,
        stages=(
            StageConfig(out_channels=6, stride=2, depths=(1, 2), widths=(4, 8, 12)),
            StageConfig(out_channels=8, stride=1, depths=(1, 2), widths=(8, 12), kernels=(3, 5)),
        ),
        head_channels=16,
        resolutions=(8, 12),
        weight_formats=formats,
        activation_formats=formats,
        end_formats=("fp32", "int8"),
    )
    return MBConvSpace("tiny", frame)


def _part(split: Split, n: int) -> Split:
    return Split(split.images[:n], split.labels[:n])


@pytest.fixture(scope="session")
def tiny_data() -> Dataset:
    """The first few images of every split of the digits."""
    whole = digits()
    train, validation, test = _part(whole.train, 160), _part(whole.validation, 80), _part(whole.test, 80)
    return Dataset("tiny digits", whole.class_names, train, validation, test, whole.mean, whole.std)


@pytest.fixture
def shaken_supernet(tiny_space: MBConvSpace) -> Supernet:
    """An untrained supernet without a tensor at its neutral start; about a third of the gains are negative."""
    supernet = Supernet(tiny_space, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        for layer in supernet.elastic_layers():
            if layer.gain is not None:
                layer.gain.copy_(0.5 + torch.randn(layer.gain.shape, generator=generator))
            for name, bits in (("int8", 8), ("int6", 6), ("int4", 4)):
                layer.input_log_scale[name].fill_(4.0 / 2**bits).log_()
            layer.output_log_scale.fill_(8.0 / 2**8).log_()
    return supernet
