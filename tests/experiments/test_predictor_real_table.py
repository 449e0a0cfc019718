"""Published ImageNet measurements as a table of one's own: read, learned, and judged by what was held out."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from bitfront.experiments.benchmarks.ofa_resnet50 import per_convolution_space, published_pairs
from bitfront.predictors import PREDICTORS
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.fitting import fit_and_judge
from bitfront.predictors.pair_tables import read_pairs
from bitfront.supernet.errors import MissingFileError

SPACE = per_convolution_space()


@pytest.fixture(scope="module")
def published() -> Pairs:
    try:
        return published_pairs(SPACE)
    except MissingFileError as error:
        pytest.skip(str(error))


def test_it_is_learned_from_a_table(published: Pairs, tmp_path: Path) -> None:
    path = tmp_path / "imagenet.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*SPACE.position, "Top-1 Acc (%)"])
        writer.writeheader()
        for genome, top1 in zip(published.genomes, published.accuracy, strict=True):
            writer.writerow({**SPACE.decode(genome), "Top-1 Acc (%)": 100 * top1})
    table = read_pairs(path, SPACE, "Top-1 Acc (%)", percent=True)
    assert (table.genomes == published.genomes).all()
    np.testing.assert_allclose(table.accuracy, published.accuracy, rtol=1e-12)

    fitted = fit_and_judge(PREDICTORS.get("ridge"), SPACE, table.pairs, np.random.default_rng(0))
    assert fitted.how == "from scratch"  # no row is fp32 throughout
    assert fitted.fp32_pairs == 0
    metrics = fitted.judgement.metrics
    assert metrics["held_out"] == round(0.2 * len(table.averaged()[0]))
    assert metrics["kendall_tau"] > 0.6
    assert 0.8 <= metrics["interval_coverage"] <= 1
