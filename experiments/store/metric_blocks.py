"""The metrics of all candidates by column, for questions that are about all of them.

What is stored are the rows of `candidates`; blocks repeat their numbers, some hundred of one metric in a row, so
that a million values of a metric are read in some milliseconds. Indexes that would answer the same questions
slow storing down ten times, as each candidate goes to another place in each of them
(docs/decisions/0012-metrics-by-column.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select

from bitfront.experiments.store.column_cache import Block, ColumnCache, Key
from bitfront.experiments.store.schema import candidates, experiments, metric_blocks
from bitfront.search.constraints import METRICS

BLOCK = 480
"""Most candidates of a block: with it, a row fills a page of SQLite, or half of one of PostgreSQL."""

NUMBER, DIGEST = "number", "digest"
"""What blocks have beside metrics: the candidates' numbers, ascending, and short digests of their genomes."""

_BYTES = 8
_WHOLE, _FLOAT = np.dtype("<i8"), np.dtype("<f8")
_Column = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Columns:
    """Candidates' numbers (n,), ascending, and values (n,) of each metric, NaN where a candidate lacks it."""

    numbers: NDArray[np.int64]
    values: Mapping[str, _Column]


def read_columns(
    connection: Connection,
    experiment: int,
    names: Iterable[str],
    cache: ColumnCache | None = None,
    key: Key = (),
) -> Columns:
    """All candidates of an experiment, given by its number, with some metrics, or `DIGEST`.

    ``cache`` keeps them under ``key``, which must be another one after candidates were taken out.
    """
    cache = ColumnCache() if cache is None else cache
    numbers = _column(connection, experiment, NUMBER, None, cache, key)
    values = {one: _column(connection, experiment, one, numbers, cache, key) for one in dict.fromkeys(names)}
    return Columns(numbers, values)


def add_to_blocks(connection: Connection, experiment: int, added: Mapping[str, _Column]) -> None:
    """Append candidates: metrics, each (n,), NaN where one lacks it, `DIGEST`, and `NUMBER`, above all before."""
    if not len(added[NUMBER]):
        return
    newest = select(func.max(metric_blocks.c.first)).where(*_of(experiment, NUMBER)).scalar_subquery()
    tail = _read(connection, experiment, metric_blocks.c.first == newest)
    if tail and len(tail[NUMBER]) < BLOCK:
        _delete(connection, experiment, metric_blocks.c.first == int(tail[NUMBER][0]))
        added = _joined(tail, added)
    _write(connection, experiment, added)


def forget_in_blocks(connection: Connection, experiment: int, low: int, high: int) -> None:
    """Take out candidates numbered ``low`` to ``high`` that have no row any more."""
    before = select(func.max(metric_blocks.c.first)).where(*_of(experiment, NUMBER), metric_blocks.c.first <= low)
    start = connection.execute(before).scalar()
    touched = metric_blocks.c.first.between(low if start is None else start, high)
    columns = _read(connection, experiment, touched)
    if not columns:
        return
    numbers = columns[NUMBER]
    mine = (candidates.c.experiment_number == experiment) & candidates.c.number.between(low, high)
    left = connection.execute(select(candidates.c.number).where(mine)).scalars().all()
    kept = (numbers < low) | (numbers > high) | np.isin(numbers, left)
    _delete(connection, experiment, touched)
    _write(connection, experiment, {name: values[kept] for name, values in columns.items()})


def count_in_blocks(connection: Connection, experiment: int | None = None) -> int:
    """How many candidates an experiment has, or all have; counting rows would read every one."""
    size = func.coalesce(func.sum(func.length(metric_blocks.c.packed)), 0)
    query = select(size).where(metric_blocks.c.metric == NUMBER)
    # With experiments named, the index finds the blocks.
    named = select(experiments.c.number) if experiment is None else [experiment]
    query = query.where(metric_blocks.c.experiment_number.in_(named))
    return int(connection.execute(query).scalar_one()) // _BYTES


def digests_of(genomes: Sequence[bytes]) -> _Column:
    """Eight bytes of the SHA-256 of each genome."""
    return np.frombuffer(b"".join([hashlib.sha256(one).digest()[:_BYTES] for one in genomes]), _WHOLE)


def rebuild_blocks_if_behind(connection: Connection, experiment: int) -> None:
    """Make the blocks anew where a program that knows none of them added rows: an older version that still ran."""
    newest = select(func.max(candidates.c.number)).where(candidates.c.experiment_number == experiment)
    last = connection.execute(newest).scalar()
    blocks = _blocks(connection, experiment, NUMBER, _last_first(connection, experiment))
    known = int(blocks[-1][1][-1]) if blocks else None
    if last == known:
        return
    _delete(connection, experiment, metric_blocks.c.first >= 0)
    rows = select(candidates).where(candidates.c.experiment_number == experiment).order_by(candidates.c.number)
    for part in connection.execute(rows).partitions(BLOCK):
        _write(connection, experiment, _of_rows(part))


def _last_first(connection: Connection, experiment: int) -> int:
    newest = select(func.max(metric_blocks.c.first)).where(*_of(experiment, NUMBER))
    return connection.execute(newest).scalar() or 0


def _of_rows(rows: Sequence[Row[Any]]) -> dict[str, _Column]:
    devices = sorted(set().union(*(row.by_device or {} for row in rows)))
    columns: dict[str, list[Any]] = {name: [row._mapping[name] for row in rows] for name in METRICS}
    columns |= {name: [(row.by_device or {}).get(name) for row in rows] for name in devices}
    return {
        NUMBER: np.array([row.number for row in rows], _WHOLE),
        DIGEST: digests_of([row.genome for row in rows]),
        **{name: np.array(values, dtype=_FLOAT) for name, values in columns.items()},
    }


def _type(name: str) -> np.dtype[Any]:
    return _WHOLE if name in (NUMBER, DIGEST) else _FLOAT


def _of(experiment: int, name: str) -> tuple[ColumnElement[bool], ...]:
    return (metric_blocks.c.experiment_number == experiment, metric_blocks.c.metric == name)


def _of_any(connection: Connection, experiment: int) -> tuple[ColumnElement[bool], ...]:
    """Blocks of whichever metric, named, as the index leads to places in a metric alone."""
    mine = metric_blocks.c.experiment_number == experiment
    least = select(func.min(metric_blocks.c.metric).label("name")).where(mine).cte("names", recursive=True)
    after = select(func.min(metric_blocks.c.metric)).where(mine, metric_blocks.c.metric > least.c.name)
    names = least.union_all(select(after.scalar_subquery()).where(least.c.name.is_not(None)))
    found = connection.execute(select(names.c.name).where(names.c.name.is_not(None))).scalars().all()
    return (mine, metric_blocks.c.metric.in_(found))


def _column(
    connection: Connection, experiment: int, name: str, numbers: _Column | None, cache: ColumnCache, key: Key
) -> _Column:
    until = cache.until((*key, name))
    blocks = _blocks(connection, experiment, name, until)
    if blocks and _follows(blocks, until, numbers):
        column = cache.column((*key, name), until, blocks)
        if column is not None:
            return column
    if until:
        blocks = _blocks(connection, experiment, name, 0)
    return _placed(name, blocks, numbers)


def _blocks(connection: Connection, experiment: int, name: str, start: int) -> list[Block]:
    """Block after block of a column, from that whose first candidate is ``start``."""
    query = select(metric_blocks.c.first, metric_blocks.c.packed).where(
        *_of(experiment, name), metric_blocks.c.first >= start
    )
    rows = connection.execute(query.order_by(metric_blocks.c.first)).all()
    return [(row.first, np.frombuffer(row.packed, _type(name))) for row in rows]


def _follows(blocks: Sequence[Block], until: int, numbers: _Column | None) -> bool:
    """Whether blocks begin at ``until`` and go on without a gap to the last candidate."""
    if until and blocks[0][0] != until:
        return False
    if numbers is None:
        return True
    starts = np.searchsorted(numbers, until) + np.cumsum([0, *(len(values) for _, values in blocks)])
    firsts = np.array([first for first, _ in blocks])
    return bool(starts[-1] == len(numbers)) and np.array_equal(numbers[starts[:-1]], firsts)


def _placed(name: str, blocks: Sequence[Block], numbers: _Column | None) -> _Column:
    """The values of blocks where their candidates' ``numbers`` are, or in a row; NaN where there is no block."""
    if numbers is None:
        return np.concatenate([np.empty(0, _type(name)), *(values for _, values in blocks)])
    column = np.full(len(numbers), np.nan) if _type(name) is _FLOAT else np.zeros(len(numbers), _type(name))
    for first, values in blocks:
        at = np.searchsorted(numbers, first)
        column[at : at + len(values)] = values
    return column


def _read(connection: Connection, experiment: int, which: ColumnElement[bool]) -> dict[str, _Column]:
    """All columns of some blocks; empty where there are none."""
    query = select(metric_blocks.c.metric, metric_blocks.c.first, metric_blocks.c.packed).where(
        *_of_any(connection, experiment), which
    )
    blocks: dict[str, list[Block]] = {}
    for name, first, packed in connection.execute(query.order_by(metric_blocks.c.first)).all():
        blocks.setdefault(name, []).append((first, np.frombuffer(packed, _type(name))))
    if not blocks:
        return {}
    numbers = _placed(NUMBER, blocks.pop(NUMBER), None)
    return {NUMBER: numbers, **{name: _placed(name, parts, numbers) for name, parts in blocks.items()}}


def _joined(before: Mapping[str, _Column], added: Mapping[str, _Column]) -> dict[str, _Column]:
    nothing = [np.full(len(columns[NUMBER]), np.nan) for columns in (before, added)]
    return {
        name: np.concatenate([before.get(name, nothing[0]), added.get(name, nothing[1])])
        for name in {**before, **added}
    }


def _delete(connection: Connection, experiment: int, which: ColumnElement[bool]) -> None:
    connection.execute(delete(metric_blocks).where(*_of_any(connection, experiment), which))


def _write(connection: Connection, experiment: int, columns: Mapping[str, _Column]) -> None:
    numbers = columns[NUMBER]
    rows = [
        {"experiment_number": experiment, "metric": name, "first": int(numbers[start]), "packed": part.tobytes()}
        for name, values in columns.items()
        for start in range(0, len(numbers), BLOCK)
        if not np.isnan(part := values[start : start + BLOCK].astype(_type(name), copy=False)).all()
    ]
    if rows:
        connection.execute(insert(metric_blocks), rows)
