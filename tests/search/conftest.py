from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.search.problem import Constraint, Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

MakeProblem = Callable[..., Problem]


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    """Three stages of one to three blocks with all formats: like a real space, but nobody tunes it."""
    formats = ("fp32", "int8", "int6", "int4")
    frame = MBConvConfig(
        in_channels=1,
        classes=10,
        stem_channels=8,
        stem_stride=1,
        stages=(
            StageConfig(out_channels=12, stride=2, depths=(1, 2, 3), widths=(8, 16, 24, 32, 40)),
            StageConfig(out_channels=20, stride=2, depths=(1, 2, 3), widths=(16, 24, 40, 56, 72)),
            StageConfig(out_channels=32, stride=1, depths=(1, 2), widths=(24, 48, 72, 96)),
        ),
        head_channels=64,
        resolutions=(8, 12, 16),
        weight_formats=formats,
        activation_formats=formats,
        end_formats=("fp32", "int8"),
    )
    return MBConvSpace("test", frame)


@pytest.fixture(scope="session")
def make_problem() -> MakeProblem:
    """Problems with cheap metrics that every active gene moves, in pairs too."""

    def make(
        space: SearchSpace,
        objectives: tuple[str, ...] = ("top1", "latency_ms", "size_bytes"),
        constraints: tuple[Constraint, ...] = (),
    ) -> Problem:
        gain, latency, size = np.random.default_rng(3).random((3, space.encoding_width))
        pairs = np.random.default_rng(4).normal(size=(space.encoding_width, 8))

        def predict(genomes: Genomes) -> NDArray[np.float64]:
            encoded = space.encode(genomes).astype(np.float64)
            logit = 0.2 * (encoded @ gain) + 0.02 * np.square(encoded @ pairs).sum(axis=1)
            return np.asarray(1.0 / (1.0 + np.exp(-logit)))

        def cost(genomes: Genomes) -> dict[str, NDArray[np.float64]]:
            encoded = space.encode(genomes).astype(np.float64)
            return {"latency_ms": encoded @ latency, "size_bytes": 1000.0 * np.exp(0.05 * (encoded @ size))}

        return Problem(space, objectives, predict, cost, constraints)

    return make
