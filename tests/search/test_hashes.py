from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.search import hashes as module
from bitfront.search.hashes import hashes, places


@given(n=st.integers(0, 30), k=st.integers(0, 30), width=st.integers(1, 20), seed=st.integers(0, 99))
def test_places_are_those_of_a_search_one_by_one(n: int, k: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted, among = (rng.integers(0, 2, size=(rows, width), dtype=np.uint8) for rows in (n, k))
    for genome, place in zip(wanted, places(wanted, among), strict=True):
        same = np.flatnonzero((among == genome).all(axis=1))
        assert place == (same[0] if len(same) else -1)


@pytest.mark.parametrize("width", [1, 8, 137])
def test_hashes_differ_in_every_gene_and_are_spread(width: int) -> None:
    genomes = np.zeros((width * 3 + 1, width), dtype=np.uint8)
    for gene in range(width):
        genomes[1 + 3 * gene : 4 + 3 * gene, gene] = [1, 2, 255]
    found = hashes(genomes)
    assert len(np.unique(found)) == len(genomes)
    np.testing.assert_array_equal(hashes(genomes[2:3]), found[2:3])


def test_a_hash_in_common_does_not_make_two_genomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "hashes", lambda genomes: np.zeros(len(genomes), dtype=np.uint64))
    among = np.array([[1, 2], [3, 4]], dtype=np.uint8)
    assert places(np.array([[1, 2], [9, 9]], dtype=np.uint8), among).tolist() == [0, -1]
