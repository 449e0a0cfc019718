from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.search.archive import Archive, first_of_equals, non_dominated
from bitfront.search.problem import Evaluation

Floats = NDArray[np.float64]

# Few different values, so that ties and equal points are common.
_POINTS = st.integers(1, 4).flatmap(
    lambda m: st.lists(st.lists(st.integers(0, 4).map(float), min_size=m, max_size=m), max_size=40).map(
        lambda rows: np.array(rows, dtype=np.float64).reshape(-1, m)
    )
)


def dominates(a: Floats, b: Floats) -> bool:
    return bool((a <= b).all() and (a < b).any())


def brute_force(F: Floats) -> list[bool]:
    return [not any(dominates(other, row) for other in F) for row in F]


def scores(F: Floats, G: Floats | None = None) -> Evaluation:
    return Evaluation(F, np.zeros((len(F), 0)) if G is None else G, {"macs": F[:, 0].copy()})


def genomes_of(numbers: Sequence[int]) -> NDArray[np.uint8]:
    return np.array([[n // 256, n % 256, 7] for n in numbers], dtype=np.uint8).reshape(-1, 3)


@given(F=_POINTS)
def test_non_dominated_is_brute_force(F: Floats) -> None:
    assert non_dominated(F).tolist() == brute_force(F)


def test_non_dominated_is_exact_to_the_last_bit() -> None:
    nearly = np.nextafter(1.0, 2.0)
    F = np.array([[1.0, 1.0], [1.0, nearly], [nearly, 0.5], [-0.0, 3.0], [0.0, 3.0]])
    assert non_dominated(F).tolist() == [True, False, True, True, True]


def test_first_of_equals() -> None:
    F = np.array([[2.0, 1.0], [0.0, 1.0], [2.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    assert first_of_equals(F).tolist() == [0, 1, 3]
    zeros = np.array([[0.0, np.inf], [-0.0, np.inf], [np.nextafter(0.0, 1.0), np.inf]])
    assert first_of_equals(zeros).tolist() == [0, 2]
    assert first_of_equals(F[:0]).tolist() == []


@given(F=_POINTS)
def test_first_of_equals_is_what_numpy_finds(F: Floats) -> None:
    _, first = np.unique(F, axis=0, return_index=True)
    assert first_of_equals(F).tolist() == sorted(first.tolist())


@given(F=_POINTS, cuts=st.lists(st.integers(0, 40), max_size=4), misses=st.sets(st.integers(0, 39)))
def test_front_is_kept_exactly_whatever_the_batches(F: Floats, cuts: list[int], misses: set[int]) -> None:
    G = np.array([[1.0 if i in misses else -1.0] for i in range(len(F))]).reshape(-1, 1)
    archive = Archive(3)
    for rows in np.split(np.arange(len(F)), sorted(cut for cut in cuts if cut <= len(F))):
        archive.add(genomes_of(rows.tolist()), scores(F[rows], G[rows]))
    feasible = [i for i in range(len(F)) if i not in misses]
    members = archive.front.tolist()
    for i in feasible:
        if i in members:
            assert not any(dominates(F[j], F[i]) for j in feasible)
        else:
            assert any(dominates(F[j], F[i]) or ((F[j] == F[i]).all() and j < i) for j in members)
    assert set(members) <= set(feasible)
    assert members == sorted(set(members))


def test_each_genome_is_stored_once_with_its_first_scores() -> None:
    archive = Archive(3)
    first = archive.add(genomes_of([5, 6, 5]), scores(np.array([[1.0], [2.0], [3.0]])))
    assert first.tolist() == [0, 1]
    again = archive.add(genomes_of([6, 7, 5]), scores(np.array([[9.0], [4.0], [9.0]])))
    assert again.tolist() == [2]
    assert archive.evaluation.F[:, 0].tolist() == [1.0, 2.0, 4.0]
    assert archive.evaluation.metrics["macs"].tolist() == [1.0, 2.0, 4.0]
    assert archive.genomes.tolist() == genomes_of([5, 6, 7]).tolist()
    assert archive.fresh(genomes_of([7, 9, 8, 9, 5])).tolist() == [1, 2]
    assert archive.add(genomes_of([7]), scores(np.array([[0.0]]))).tolist() == []
    assert archive.front.tolist() == [0]
    assert archive.rows_of(genomes_of([7, 5, 7, 6])).tolist() == [2, 0, 2, 1]
    with pytest.raises(KeyError):
        archive.rows_of(genomes_of([5, 8]))


def test_grows_over_many_batches() -> None:
    archive, rng = Archive(3), np.random.default_rng(0)
    F = rng.random((1000, 2))
    for start in range(0, 1000, 37):
        rows = np.arange(start, min(start + 37, 1000))
        archive.add(genomes_of(rows.tolist()), scores(F[rows]))
    assert len(archive) == 1000
    np.testing.assert_array_equal(archive.evaluation.F, F)
    np.testing.assert_array_equal(archive.genomes, genomes_of(range(1000)))
    np.testing.assert_array_equal(archive.front, np.flatnonzero(non_dominated(F)))


def test_refuses_metrics_that_change() -> None:
    archive = Archive(3)
    with pytest.raises(ValueError, match="nothing has been scored"):
        _ = archive.evaluation
    archive.add(genomes_of([1]), scores(np.ones((1, 1))))
    with pytest.raises(ValueError, match="metrics changed"):
        archive.add(genomes_of([2]), Evaluation(np.ones((1, 1)), np.zeros((1, 0)), {"top1": np.ones(1)}))
