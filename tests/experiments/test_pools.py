"""Pools of measured pairs: what is in them, and that they are measured once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitfront.experiments.benchmarks import pools
from bitfront.experiments.benchmarks.pools import Pool, Sizes, pool
from bitfront.experiments.reporter import LogReporter
from bitfront.experiments.run import Run
from bitfront.experiments.stages import measuring
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import SupernetRecord
from bitfront.predictors.fitting import is_fp32
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.data.digits import digits
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

_WITH_FEW_IMAGES = "{calibration_images: 64}"


def _untrained(run: Run, space: SearchSpace, dataset: Dataset) -> tuple[str, Supernet]:
    run.store.put_supernet(
        SupernetRecord("net", space.name, space.hash(), dataset.name, dataset.hash, {}, "", {}, "ready")
    )
    run.store.link(run.experiment_id, supernet_id="net")
    return "net", Supernet(space, 0)


@pytest.fixture
def small(home: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """A few pairs of a supernet that has learned nothing."""
    monkeypatch.setattr(pools, "QUICK", Sizes(8, 3, 6, 3))
    monkeypatch.setattr(pools, "_QUICK_TRAINING", _WITH_FEW_IMAGES)
    monkeypatch.setattr(pools, "trained_supernet", _untrained)
    return pool("digits", LogReporter(home / "log.txt"), quick=True)


def test_what_is_held_out_is_nowhere_else(small: Pool) -> None:
    parts = (small.fp32, small.fp32_held_out, small.quantized, small.quantized_held_out)
    assert tuple(map(len, parts)) == (8, 3, 6, 3)
    for one, other in (parts[:2], parts[2:]):
        assert len(np.unique(np.concatenate([one.genomes, other.genomes]), axis=0)) == len(one) + len(other)
    assert is_fp32(small.space, small.fp32.genomes).all()
    assert is_fp32(small.space, small.fp32_held_out.genomes).all()
    assert not is_fp32(small.space, small.quantized.genomes).all()


def test_it_is_measured_once(small: Pool, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(measuring, "_map", refuse)
    again = pool("digits", LogReporter(home / "log.txt"), quick=True)
    for name in ("fp32", "fp32_held_out", "quantized", "quantized_held_out"):
        assert getattr(again, name).hash() == getattr(small, name).hash()
    with open_store(home / "bench") as store:
        known = store.trials("net", "validation").lookup()
    for pairs in (small.fp32, small.quantized_held_out):
        assert [known[genome.tobytes()] for genome in pairs.genomes] == pairs.accuracy.tolist()


def test_without_shipped_weights_there_is_no_pool_of_fashion(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take hours to train one."""
    monkeypatch.setattr(pools, "shipped", lambda *_: None)
    monkeypatch.setattr(Run, "dataset", lambda _: digits())
    monkeypatch.setattr(Run, "space", lambda _: SPACES.get("digits")())
    with pytest.raises(MissingFileError, match="weights"):
        pool("fashion", LogReporter(home / "log.txt"), quick=True)
