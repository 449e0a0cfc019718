"""Fixtures that every test folder may use: one thread, a small space, a small part of the digits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from bitfront.experiments.benchmarks.throwaway_postgresql import throwaway_postgresql
from bitfront.experiments.store.sql import SqlStore
from bitfront.latency_lut import machine_lock
from bitfront.supernet.data.dataset import Dataset, Split
from bitfront.supernet.data.digits import digits
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.bottleneck import BottleneckConfig, BottleneckSpace, BottleneckStage
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

torch.set_num_threads(1)
# The same examples every time, and no time limit per example: the machines that run this are shared.
settings.register_profile("bitfront", deadline=None, derandomize=True, database=None)
settings.load_profile("bitfront")


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded data sets are kept in a folder of this test run; where it has several workers, they share it."""
    base = tmp_path_factory.getbasetemp()
    shared = "PYTEST_XDIST_WORKER" in os.environ
    cache = (base.parent if shared else base) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITFRONT_CACHE", str(cache))
        yield
    if not shared:  # pytest keeps the folders of several runs
        shutil.rmtree(cache, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def machine_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A worker of this test run waits for nobody who measures: not for other workers, nor for a user's run."""
    place = tmp_path_factory.mktemp("machine") / "measuring.lock"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_lock, "lock_path", lambda: place)
        yield


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store, made once, as making its tables takes longer than most tests."""
    path = tmp_path_factory.mktemp("store") / "bitfront.sqlite"
    SqlStore(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL of this test run, with its server; ``{}`` stands for the database's name."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(throwaway_postgresql())
        except UnsupportedError as error:
            pytest.skip(str(error))
        yield url


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


@pytest.fixture(scope="session")
def gated_space() -> MBConvSpace:
    """Squeeze and excitation, h-swish, a residual first block and a hidden linear layer: MobileNetV3's parts."""
    formats = ("fp32", "int8", "int6", "int4")
    frame = MBConvConfig(
        in_channels=1,
        classes=10,
        stem_channels=4,
        stem_stride=1,
        stages=(
            StageConfig(6, 2, (1, 2), (8, 12, 16), act="relu", se=True),
            StageConfig(8, 1, (1, 2), (12, 16), kernels=(3, 5), act="hswish", se=True),
            StageConfig(8, 2, (1,), (16, 24), kernels=(3, 5), act="hswish"),
        ),
        head_channels=16,
        resolutions=(9, 12),
        weight_formats=formats,
        activation_formats=formats,
        end_formats=("fp32", "int8"),
        first_block_channels=4,
        first_block_residual=True,
        hidden_channels=12,
        stem_act="hswish",
        head_act="hswish",
    )
    return MBConvSpace("gated", frame)


@pytest.fixture(scope="session")
def bottleneck_space() -> BottleneckSpace:
    """A deep stem with a maximum, elastic outputs, shortcuts that average: ResNet-50's parts."""
    formats = ("fp32", "int8", "int6", "int4")
    frame = BottleneckConfig(
        in_channels=1,
        classes=10,
        stem_channels=(4, 6),
        stem_out_channels=(8, 12),
        stem_stride=1,
        stem_pool=True,
        stages=(BottleneckStage((16, 24), 1, (1, 2)), BottleneckStage((24, 32), 2, (1, 2))),
        expand_percents=(50, 75),
        resolutions=(9, 14),
        weight_formats=formats,
        activation_formats=formats,
        end_formats=("fp32", "int8"),
    )
    return BottleneckSpace("bottlenecks", frame)


def _part(split: Split, n: int) -> Split:
    return Split(split.images[:n], split.labels[:n])


@pytest.fixture(scope="session")
def tiny_data() -> Dataset:
    """The first few images of every split of the digits."""
    whole = digits()
    train, validation, test = _part(whole.train, 160), _part(whole.validation, 80), _part(whole.test, 80)
    return Dataset(
        "tiny digits", whole.class_names, train, validation, test, whole.mean, whole.std, whole.augmentation
    )


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
