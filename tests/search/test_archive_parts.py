"""Candidates in parquet parts: nothing is lost, doubled or taken for another search's."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfront.search import search
from bitfront.search.archive_parts import ArchiveParts, ArchivePartsError, read_parts
from bitfront.search.loop import Checkpoint, Generation
from bitfront.search.measured import MeasuredProblem
from bitfront.search.parquet_part import paths
from bitfront.search.problem import Constraint, Problem
from bitfront.search.scored import Scored
from bitfront.supernet.errors import MissingFileError, StorageError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

MakeProblem = Callable[..., Problem]


def assert_same(one: Scored, other: Scored) -> None:
    assert one.objectives == other.objectives
    assert one.errors == other.errors
    assert one.metrics.keys() == other.metrics.keys()
    for name in one.metrics:
        np.testing.assert_array_equal(one.metrics[name], other.metrics[name])
    for field in ("genomes", "generations", "F", "feasible"):
        mine, theirs = getattr(one, field), getattr(other, field)
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


@pytest.fixture(scope="module")
def half_broken(space: SearchSpace, make_problem: MakeProblem) -> Problem:
    """A limit that some miss, and candidates that can not be measured."""
    inner = make_problem(space)

    def measure(genomes: Genomes) -> list[float | str]:
        values = inner.predict(genomes)
        return ["ünlucky" if genome[0] == 0 else float(v) for genome, v in zip(genomes, values, strict=True)]

    limits = [Constraint("latency_ms", "<=", 20.0)]
    return MeasuredProblem(space, inner.objectives, measure, inner.cost, limits)


@pytest.fixture(scope="module")
def some(half_broken: Problem) -> Scored:
    """60 candidates in generations of 7, of which some fail and some are not feasible."""
    genomes = half_broken.space.sample(60, np.random.default_rng(0))
    genomes = genomes[np.sort(np.unique(genomes, axis=0, return_index=True)[1])]
    scores = half_broken.evaluate(genomes)
    assert scores.errors
    assert 0 < scores.feasible.sum() < len(genomes) - len(scores.errors)
    assert len(genomes) == 60
    return Scored.of(half_broken.objectives, genomes, scores, np.arange(len(genomes)) // 7)


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), rows=st.integers(9, 70))
def test_what_is_read_is_what_was_kept(half_broken: Problem, some: Scored, cuts: list[int], rows: int) -> None:
    edges = [0, *sorted(min(cut, len(some)) for cut in cuts), len(some)]
    with tempfile.TemporaryDirectory() as name:
        with ArchiveParts(Path(name), half_broken, rows=rows) as parts:
            for start, stop in itertools.pairwise(edges):
                parts.append(some.part(start, stop))
        assert_same(read_parts(Path(name), half_broken.space), some)


@settings(max_examples=30)
@given(
    before=st.integers(0, 60),
    flushed=st.integers(0, 60),
    committed=st.integers(0, 60),
    rows=st.integers(9, 40),
)
def test_after_a_kill_nothing_is_lost_or_doubled(
    half_broken: Problem, some: Scored, before: int, flushed: int, committed: int, rows: int
) -> None:
    """Whatever the folder had when the process died, it holds what was committed, and then goes on."""
    with tempfile.TemporaryDirectory() as name:
        dead = ArchiveParts(Path(name), half_broken, rows=rows)
        dead.append(some.part(0, min(before, flushed)))
        dead.flush()
        dead.append(some.part(min(before, flushed), before))  # and is never closed
        with ArchiveParts(Path(name), half_broken, some.part(0, committed), rows) as parts:
            assert len(parts) == min(committed, len(some))
            parts.append(some.part(committed, len(some)))
        assert_same(read_parts(Path(name), half_broken.space), some)


def test_pandas_reads_the_folder(tmp_path: Path, half_broken: Problem, some: Scored) -> None:
    with ArchiveParts(tmp_path, half_broken, rows=20) as parts:
        for start in range(0, len(some), 10):
            parts.append(some.part(start, start + 10))
    assert len(paths(tmp_path)) == 3
    table = pd.read_parquet(tmp_path)
    assert table["candidate"].tolist() == list(range(len(some)))
    genomes = np.frombuffer(b"".join(table["genome"]), dtype=np.uint8).reshape(len(table), -1)
    np.testing.assert_array_equal(genomes, some.genomes)
    np.testing.assert_array_equal(table["latency_ms"], some.metrics["latency_ms"])
    failed = table["error"].notna()
    texts = enumerate(table["error"].tolist())
    assert {row: text for row, text in texts if isinstance(text, str)} == some.errors
    assert table.loc[failed, ["top1", "objective_top1", "objective_latency_ms"]].isna().all(axis=None)
    np.testing.assert_array_equal(table["objective_top1"][~failed], 1 - table["top1"][~failed])
    assert not table["feasible"][failed].any()


def killed(at: int, parts: ArchiveParts, kept: list[Generation]) -> Callable[[Generation], None]:
    def keep(generation: Generation) -> None:
        if generation.index == at:
            raise KeyboardInterrupt
        kept.append(generation)
        parts.keep(generation)

    return keep


def test_a_search_that_was_killed_goes_on(tmp_path: Path, space: SearchSpace, make_problem: MakeProblem) -> None:
    problem, budget = make_problem(space), {"generations": 5, "options": {"population": 20}}
    with ArchiveParts(tmp_path / "whole", problem) as parts:
        search(problem, rng=np.random.default_rng(1), on_generation=parts.keep, **budget)  # type: ignore[arg-type]
    kept: list[Generation] = []
    dead = ArchiveParts(tmp_path / "killed", problem, rows=40)
    with pytest.raises(KeyboardInterrupt):
        search(
            problem,
            rng=np.random.default_rng(1),
            on_generation=killed(3, dead, kept),
            **budget,  # type: ignore[arg-type]
        )
    scored = [Scored.of(problem.objectives, one.genomes, one.evaluation, one.index) for one in kept]
    known = Scored.joined(scored)
    assert len(known) == 60 > len(read_parts(tmp_path / "killed", space))
    checkpoint = Checkpoint(kept[-1].state, known.genomes, known.metrics)
    with ArchiveParts(tmp_path / "killed", problem, known) as parts:
        rng = np.random.default_rng(9)
        search(problem, rng=rng, on_generation=parts.keep, resume=checkpoint, **budget)  # type: ignore[arg-type]
    assert_same(read_parts(tmp_path / "killed", space), read_parts(tmp_path / "whole", space))


def test_candidates_that_do_not_follow_are_refused(
    tmp_path: Path, space: SearchSpace, make_problem: MakeProblem
) -> None:
    problem, heard = make_problem(space), list[Generation]()
    rng, options = np.random.default_rng(0), {"population": 5}
    search(problem, rng=rng, generations=2, options=options, on_generation=heard.append)
    with ArchiveParts(tmp_path, problem) as parts, pytest.raises(ArchivePartsError, match="candidate 5 does not"):
        parts.keep(heard[1])


def written(folder: Path, problem: Problem, some: Scored) -> None:
    with ArchiveParts(folder, problem, rows=10) as parts:
        for start in range(0, len(some), 10):
            parts.append(some.part(start, start + 10))


def test_a_folder_with_parts_is_not_begun_again(tmp_path: Path, half_broken: Problem, some: Scored) -> None:
    written(tmp_path, half_broken, some)
    with pytest.raises(ArchivePartsError, match=r"has 6 parts of a search already"):
        ArchiveParts(tmp_path, half_broken)
    assert_same(read_parts(tmp_path, half_broken.space), some)


def test_parts_of_another_space_are_refused_and_left(
    tmp_path: Path, half_broken: Problem, some: Scored, tiny_space: SearchSpace, make_problem: MakeProblem
) -> None:
    written(tmp_path, half_broken, some)
    for wrong in (
        lambda: read_parts(tmp_path, tiny_space),
        lambda: ArchiveParts(tmp_path, make_problem(tiny_space), some.part(0, 0)),
    ):
        with pytest.raises(ArchivePartsError, match=r"of space 'test' with hash .* and not of 'tiny'"):
            wrong()
    assert len(paths(tmp_path)) == 6


def test_damage_is_named(tmp_path: Path, half_broken: Problem, some: Scored) -> None:
    with pytest.raises(MissingFileError, match="has no parts"):
        read_parts(tmp_path, half_broken.space)
    written(tmp_path, half_broken, some)
    files = paths(tmp_path)
    whole = files[2].read_bytes()
    files[2].write_bytes(whole[: len(whole) // 2])
    named = r"candidates-0000000020\.parquet is damaged .*: leave it and resume the experiment"
    with pytest.raises(ArchivePartsError, match=named):
        read_parts(tmp_path, half_broken.space)
    files[2].unlink()
    with pytest.raises(ArchivePartsError, match="begins with candidate 30, but 20 comes next"):
        read_parts(tmp_path, half_broken.space)
    with ArchiveParts(tmp_path, half_broken, some):
        pass
    assert_same(read_parts(tmp_path, half_broken.space), some)


@pytest.mark.parametrize("damage", ["half", "empty", "no parquet", "broken footer"])
@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_damaged_part_is_written_anew(
    tmp_path: Path, half_broken: Problem, some: Scored, damage: str, place: int
) -> None:
    """Where the search goes on all candidates are at hand, be the part of known ones or of those beyond."""
    written(tmp_path, half_broken, some)
    path = paths(tmp_path)[place]
    whole = path.read_bytes()
    footer = whole[: len(whole) - 60] + bytes(byte ^ 0xFF for byte in whole[-60:-8]) + whole[-8:]
    damaged = {"half": whole[: len(whole) // 2], "empty": b"", "no parquet": b"?" * 200, "broken footer": footer}
    path.write_bytes(damaged[damage])
    with ArchiveParts(tmp_path, half_broken, some.part(0, 45), rows=10) as parts:
        assert len(parts.notes) == 1
        assert parts.notes[0].startswith(f"{path} was damaged")
        parts.append(some.part(45, len(some)))
    assert_same(read_parts(tmp_path, half_broken.space), some)


def test_what_is_whole_but_no_part_is_left(tmp_path: Path, half_broken: Problem, some: Scored) -> None:
    written(tmp_path, half_broken, some)
    foreign = tmp_path / "candidates-0000000099.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(foreign)
    with pytest.raises(ArchivePartsError, match=r"0000000099\.parquet is no part of a search .*: move it away"):
        ArchiveParts(tmp_path, half_broken, some)
    assert foreign.exists()
    foreign.rename(tmp_path / "candidates-old.parquet")
    (tmp_path / "candidates-old.parquet").write_bytes(b"")
    with pytest.raises(ArchivePartsError, match=r"candidates-old\.parquet is no part of a search"):
        ArchiveParts(tmp_path, half_broken, some)
    assert len(paths(tmp_path)) == 7


def test_parts_of_two_searches_are_refused(tmp_path: Path, half_broken: Problem, some: Scored) -> None:
    written(tmp_path, half_broken, some.part(0, 10))
    fewer = dataclasses.replace(some, objectives=("top1",), F=some.F[:, :1])
    written(tmp_path / "other", half_broken, fewer)
    paths(tmp_path / "other")[1].rename(tmp_path / paths(tmp_path / "other")[1].name)
    with pytest.raises(ArchivePartsError, match="of several searches"):
        read_parts(tmp_path, half_broken.space)


def test_bad_arguments(tmp_path: Path, half_broken: Problem, some: Scored) -> None:
    with pytest.raises(ArchivePartsError, match="at least 1 row"):
        ArchiveParts(tmp_path, half_broken, rows=0)
    (tmp_path / "file").write_text("")
    parts = ArchiveParts(tmp_path / "file", half_broken)
    parts.append(some)
    with pytest.raises(StorageError, match="can not write"):
        parts.close()
    with pytest.raises(ValueError, match="same objectives and metrics"):
        Scored.joined([])


def test_a_search_that_was_taken_over_replaces_nothing(tmp_path: Path, half_broken: Problem, some: Scored) -> None:
    """It wakes up, can not store its next generation, and leaves the parts of the other one as they are."""

    def overtaken() -> None:
        with ArchiveParts(tmp_path, half_broken) as first:
            first.append(some.part(0, 20))
            with ArchiveParts(tmp_path, half_broken) as second:
                second.append(some)
            raise RuntimeError("taken over")

    with pytest.raises(RuntimeError, match="taken over"):
        overtaken()
    assert_same(read_parts(tmp_path, half_broken.space), some)


def test_two_that_write_to_one_folder_are_told(tmp_path: Path, half_broken: Problem, some: Scored) -> None:
    first = ArchiveParts(tmp_path, half_broken)
    first.append(some.part(0, 20))
    with ArchiveParts(tmp_path, half_broken) as second:
        second.append(some)
    with pytest.raises(ArchivePartsError, match="another search writes"):
        first.flush()
    assert_same(read_parts(tmp_path, half_broken.space), some)


def test_what_waits_is_written_though_something_else_went_wrong(
    tmp_path: Path, half_broken: Problem, some: Scored
) -> None:
    def stopped() -> None:
        with ArchiveParts(tmp_path, half_broken) as parts:
            parts.append(some)
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stopped()
    assert_same(read_parts(tmp_path, half_broken.space), some)
