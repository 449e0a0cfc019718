"""Genomes found again in whole batches: 64-bit hashes find where, equality decides whether."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.genes import Genomes

_WORD = 8
_HALF = np.uint64(32)


def hashes(genomes: Genomes) -> NDArray[np.uint64]:
    """A 64-bit hash of each genome (n, n_genes), the same wherever it is asked."""
    n, width = genomes.shape
    padded = np.zeros((n, -(-width // _WORD) * _WORD), dtype=np.uint8)
    padded[:, :width] = genomes
    words = padded.view("<u8")
    odd = np.random.default_rng(width).integers(1 << 63, size=words.shape[1], dtype=np.uint64) * 2 + 1
    mixed: NDArray[np.uint64] = ((words ^ (words >> _HALF)) * odd).sum(axis=1, dtype=np.uint64)
    return mixed ^ (mixed >> _HALF)


def places(genomes: Genomes, among: Genomes) -> NDArray[np.intp]:
    """Where each of ``genomes`` (n, n_genes) stands in ``among`` (k, n_genes), shape (n,).

    It is -1 where it was not found: it is not there, or, hardly ever, another genome has its hash.
    """
    if not len(among):
        return np.full(len(genomes), -1, dtype=np.intp)
    known = hashes(among)
    order = np.argsort(known, kind="stable")
    found = np.minimum(np.searchsorted(known, hashes(genomes), sorter=order), len(known) - 1)
    rows = order[found]
    same = (among[rows] == genomes).all(axis=1)
    return np.where(same, rows, -1)
