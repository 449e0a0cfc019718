"""Patterns of genes with the same choices stand for exactly the genes that they match."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np
import pytest

from bitfront.experiments.gene_patterns import gene_patterns
from bitfront.supernet.genes import Gene
from bitfront.supernet.spaces import SPACES


def check(genes: list[Gene]) -> list[str]:
    rows = gene_patterns(genes)
    covered: list[str] = []
    for row in rows:
        matched = [gene for gene in genes if fnmatchcase(gene.name, row["pattern"])]
        assert len(matched) == row["count"]
        assert {(gene.kind, gene.choices) for gene in matched} == {(row["kind"], tuple(row["choices"]))}
        covered += [gene.name for gene in matched]
    assert sorted(covered) == sorted(gene.name for gene in genes)
    return [row["pattern"] for row in rows]


@pytest.mark.parametrize("name", SPACES.names())
def test_every_gene_is_under_one_pattern(name: str) -> None:
    space = SPACES.get(name)()
    assert len(check(list(space.genes))) < 45


def widths(choices: dict[str, tuple[int, ...]]) -> list[Gene]:
    return [Gene(name, "width", values) for name, values in choices.items()]


def test_equal_genes_share_a_star() -> None:
    assert check(widths({f"stage{s}.block{b}.width": (1, 2) for s in range(2) for b in range(3)})) == [
        "stage*.block*.width"
    ]


def test_a_range_stands_where_a_star_says_too_much() -> None:
    genes = widths({"stage0.block0.width": (1,), **{f"stage0.block{b}.width": (1, 2) for b in (1, 2, 3)}})
    assert check(genes) == ["stage0.block0.width", "stage0.block[1-3].width"]


def test_gaps_and_two_digits_are_written_out() -> None:
    names = [f"stage0.block{b}.width" for b in range(12)]
    genes = widths({name: (1,) if i in (1, 5, 11) else (1, 2) for i, name in enumerate(names)})
    patterns = check(genes)
    assert "stage0.block11.width" in patterns


def test_random_genes_are_covered_exactly() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        names = [f"stage{s}.block{b}.width" for s in range(3) for b in range(int(rng.integers(1, 13)))]
        check(widths({name: tuple(range(int(rng.integers(1, 3)))) or (0,) for name in names}))
