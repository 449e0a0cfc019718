"""docs/search.md: its specs are accepted and its scripts run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from bitfront.experiments.spec import spec_from
from bitfront.search.archive_parts import ArchiveParts, read_parts
from bitfront.search.parquet_part import paths
from bitfront.search.problem import Problem
from bitfront.search.scored import Scored
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.digits import digits

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
SPACE = digits()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def problem() -> Problem:
    def cost(genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        total = genomes.sum(axis=1).astype(np.float64)
        return {"latency_ms": 1 + total, "size_bytes": 1e6 - 1000.0 * total}

    return Problem(SPACE, ("top1", "latency_ms"), lambda genomes: np.tanh(genomes.sum(axis=1) / 99.0), cost)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_specs_are_accepted(text: str) -> None:
    given: dict[str, Any] = yaml.safe_load(text)
    spec = spec_from({"space": "digits", "data": "digits", "device": "bitfusion", **given})
    for name in given["search"]:
        assert name in spec.search.model_fields_set


def test_all_columns_are_explained(tmp_path: Path, problem: Problem, capsys: pytest.CaptureFixture[str]) -> None:
    genomes = SPACE.sample(50, np.random.default_rng(0))
    folder = tmp_path / "candidates"
    with ArchiveParts(folder, problem) as parts:
        parts.append(Scored.of(problem.objectives, genomes, problem.evaluate(genomes), 0))
    names: dict[str, Any] = {"folder": folder, "own_folder": tmp_path / "own", "space": SPACE, "problem": problem}
    for script in blocks("python"):
        exec(compile(script, "docs/search.md", "exec"), names)
    np.testing.assert_array_equal(names["genomes"], genomes)
    np.testing.assert_array_equal(names["scored"].genomes, genomes)
    assert len(paths(tmp_path / "own")) == 1
    assert len(read_parts(tmp_path / "own", SPACE)) == 500
    assert len(names["found"].fronts) == 2
    told = set(re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE)) - {"column"}
    documented = {name for cell in told for name in re.findall(r"`(\w+)`", cell)}
    assert documented <= set(names["table"].columns)
    assert set(names["table"].columns) - documented == {"size_bytes", "objective_latency_ms"}
    assert capsys.readouterr().out
