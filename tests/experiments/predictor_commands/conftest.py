"""Measurements of one's own in a table, and the predictor that `bitfront predictor fit` makes of it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from bitfront.predictors.fitting import is_fp32
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.digits import digits

Call = Callable[..., Result]


class Own:
    """What somebody measured: ``real`` candidates in fp32, then ``quantized`` ones."""

    space = digits()
    real, quantized = 40, 60

    def measured(self, seed: int) -> tuple[Genomes, list[float]]:
        """Different candidates, with accuracies that can be learned."""
        rng, space = np.random.default_rng(seed), self.space
        drawn = space.sample(200, rng, "sizes")
        fp32 = np.unique(space.assign(drawn, {"weight_format": "fp32", "activation_format": "fp32"}), axis=0)
        others = drawn[~is_fp32(space, drawn)][: self.quantized]
        genomes = np.concatenate([fp32[rng.permutation(len(fp32))[: self.real]], others])
        weights = np.random.default_rng(0).normal(0, 0.01, space.encoding_width)
        return genomes, np.clip(0.8 + space.encode(genomes) @ weights, 0, 1).round(4).tolist()

    def rows(self, seed: int = 1) -> list[dict[str, Any]]:
        """The same as rows of a table, with a column for each gene."""
        empty = dict.fromkeys(self.space.position, "")
        pairs = zip(*self.measured(seed), strict=True)
        return [{**empty, **self.space.decode(genome), "top1": accuracy} for genome, accuracy in pairs]

    def write(self, path: Path, cells: list[dict[str, Any]]) -> Path:
        """Write rows as CSV."""
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(cells[0]))
            writer.writeheader()
            writer.writerows(cells)
        return path


@pytest.fixture(scope="session")
def own() -> Own:
    """See there."""
    return Own()


@pytest.fixture
def table(own: Own, tmp_path: Path) -> Path:
    """A CSV file of them."""
    return own.write(tmp_path / "mine.csv", own.rows())


@pytest.fixture
def fit(call: Call, tmp_path: Path) -> Call:
    """`predictor fit` of a ridge regression, into ``p.safetensors``."""

    def run(path: Path, *more: object) -> Result:
        to = tmp_path / "p.safetensors"
        return call("predictor", "fit", "--space", "digits", "--csv", path, "--kind", "ridge", "-o", to, *more)

    return run


@pytest.fixture
def stored(fit: Call, table: Path, tmp_path: Path) -> Path:
    """The predictor that is learned from the table."""
    assert fit(table).exit_code == 0
    return tmp_path / "p.safetensors"


@pytest.fixture
def told() -> Callable[[Result], str]:
    """What a command says on stderr, in one line."""
    return _told


@pytest.fixture
def refused() -> Callable[..., None]:
    """A command's only error has these words; its exit code is 1 and stdout is empty."""

    def check(result: Result, *words: str) -> None:
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1
        for word in words:
            assert word in _told(result)

    return check


def _told(result: Result) -> str:
    return " ".join(result.stderr.split())
