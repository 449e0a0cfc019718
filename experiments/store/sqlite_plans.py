"""Which index SQLite shall read candidates by: it keeps no counts that would tell it how many a range holds.

PostgreSQL keeps them, and needs no advice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, literal, select

from bitfront.experiments.store.schema import candidates

SORTED = ("top1", "latency_ms")
"""The metrics with an index; each holds all other metrics too."""

FEW = 150_000
"""So many entries of an index are read, and the hits sorted, in about the time of looking for a page in order."""

_ALL: Mapping[str, str] = {metric: f"ix_candidates_{metric}" for metric in SORTED}
_FRONT = "ix_candidates_on_front"


def by_front(query: Select[Any]) -> Select[Any]:
    """A query of members of the predicted front."""
    return _by(query, _FRONT)


def by_any(query: Select[Any]) -> Select[Any]:
    """A query that looks at metrics of all candidates of an experiment, and at nothing else of them."""
    return _by(query, _ALL[SORTED[0]])


def by_fewest(
    connection: Connection,
    query: Select[Any],
    mine: ColumnElement[bool],
    order: str,
    ranges: Mapping[str, Sequence[ColumnElement[bool]]],
) -> Select[Any]:
    """A query in the order of ``order``; ``ranges``: what it asks of each metric that has an index.

    Where one metric leaves few candidates these are read and sorted; else all are read in their order.
    """
    if connection.dialect.name != "sqlite":
        return query
    found = {metric: _at_most(connection, metric, [mine, *asked]) for metric, asked in ranges.items()}
    fewest = min(found, key=found.__getitem__, default=None)
    if fewest is not None and found[fewest] < FEW:
        return _by(query, _ALL[fewest])
    if order == "id":
        return query
    return _by(query, _ALL.get(order, _ALL[SORTED[0]]))


def _at_most(connection: Connection, metric: str, asked: Sequence[ColumnElement[bool]]) -> int:
    some = _by(select(literal(1)).select_from(candidates).where(*asked), _ALL[metric]).limit(FEW).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def _by(query: Select[Any], index: str) -> Select[Any]:
    return query.with_hint(candidates, f"INDEXED BY {index}", "sqlite")
