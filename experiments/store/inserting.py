"""Rows into tables, where some of them may be there already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows, leaving out those that are there already; returns how many were new."""
    if not rows:
        return 0
    if connection.dialect.name != "postgresql":
        return connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows).rowcount
    # PostgreSQL's driver does not count the rows of many statements.
    key = next(iter(table.primary_key))
    made = connection.execute(postgresql.insert(table).on_conflict_do_nothing().returning(key), rows)
    return len(made.all())


def insert_columns(connection: Connection, table: Table, columns: Mapping[str, Sequence[object]]) -> None:
    """Insert many rows, given by columns of one length.

    SQLAlchemy's own way to many rows spends twice the time of the database on preparing them.
    """
    names, rows = ", ".join(columns), zip(*columns.values(), strict=True)
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {table.name} ({names}) FROM STDIN", rows)
        return
    statement = f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(columns))})"
    if found := list(rows):
        connection.exec_driver_sql(statement, found)


def _copy(connection: Connection, statement: str, rows: Iterable[Sequence[object]]) -> None:
    """Rows by COPY, which SQLAlchemy does not know: the driver's errors become what it makes of others."""
    driver: Any = connection.dialect.loaded_dbapi
    raw: Any = connection.connection.driver_connection
    try:
        with raw.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except driver.Error as error:
        raise DBAPIError.instance(
            statement,
            None,
            error,
            driver.Error,
            hide_parameters=True,
            dialect=connection.dialect,
            connection_invalidated=bool(raw.closed),
        ) from error
