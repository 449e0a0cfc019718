"""Few candidates that stand for many in a plot over two metrics, chosen by the database."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Row, and_, cast, func, literal, select

from bitfront.experiments.store.schema import candidates

_BELOW_ONE = 1 - 1e-9  # the largest value belongs to the last cell, not to one behind it


def first_of_cells(
    connection: Connection,
    across: ColumnElement[Any],
    up: ColumnElement[Any],
    mine: Sequence[ColumnElement[bool]],
    most: int,
) -> tuple[int, Sequence[Row[Any]]]:
    """How many candidates meet ``mine``, and the first of each cell of a grid of at most ``most`` cells.

    Rows have all columns of the table, and ``stands_for``: how many candidates are in the cell.
    """
    bounds = select(func.count(), func.min(across), func.max(across), func.min(up), func.max(up)).where(*mine)
    total, *ends = connection.execute(bounds).one()
    if not total:
        return 0, []
    side = math.isqrt(max(most, 1))
    grid = [_cell(connection, across, ends[0], ends[1], side), _cell(connection, up, ends[2], ends[3], side)]
    mine_number = candidates.c.experiment_number
    cells = select(
        mine_number, func.min(candidates.c.number).label("first"), func.count().label("stands_for")
    ).where(*mine)
    found = cells.group_by(mine_number, *grid).subquery()
    same = and_(mine_number == found.c.experiment_number, candidates.c.number == found.c.first)
    return int(total), connection.execute(select(candidates, found.c.stands_for).join(found, same)).all()


def _cell(
    connection: Connection, column: ColumnElement[Any], low: float, high: float, side: int
) -> ColumnElement[Any]:
    """The number of the cell, 0 .. side - 1, in which a value from ``low`` to ``high`` lies."""
    width = high - low
    place = (column - literal(low)) * literal(side * _BELOW_ONE / width if width > 0 else 0.0)
    # SQLite cuts where it casts, and often has no floor; PostgreSQL rounds.
    return cast(func.floor(place) if connection.dialect.name == "postgresql" else place, Integer)
