"""A baseline that comes out otherwise when it is read: the advice names what can have changed."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from bitfront.predictors import load_predictor, stored
from bitfront.predictors.baselines.ridge import RidgePredictor
from bitfront.predictors.dataset import Pairs
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.spaces.digits import digits

SPACE = digits()
HERE = version("scikit-learn")


def off(folder: Path, made_by: str) -> Path:
    """A file that says other predictions than its fit gives here."""
    rng = np.random.default_rng(0)
    genomes = SPACE.sample(30, rng)
    predictor = RidgePredictor.from_scratch(SPACE, Pairs(genomes, rng.uniform(0.5, 0.9, 30)), rng)
    tensors, values = predictor._state()
    tensors["predicted"] = tensors["predicted"] + torch.tensor(0.25)
    about = stored.manifest(predictor, asdict(predictor.options), {**values, "made_by": made_by}, {})
    stored.write(folder / "p.safetensors", tensors, about)
    return folder / "p.safetensors"


def message(path: Path) -> str:
    with pytest.raises(CorruptFileError) as caught:
        load_predictor(path, SPACE)
    assert "comes out otherwise when fitted again, off by up to 0.25; " in str(caught.value)
    return str(caught.value)


def test_another_version_is_named(tmp_path: Path) -> None:
    words = message(off(tmp_path, "0.1.2"))
    assert f"it was made with scikit-learn 0.1.2, this is {HERE}: install that version, or delete" in words


def test_the_same_version_is_not_to_be_installed_again(tmp_path: Path) -> None:
    words = message(off(tmp_path, HERE))
    assert words.endswith("another build, or the machine computes otherwise: delete the file and fit it anew")
    assert "install" not in words
    assert HERE not in words
