"""Rows into tables, where some of them may be there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


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
        raw: Any = connection.connection.driver_connection
        with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    statement = f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(columns))})"
    if found := list(rows):
        connection.exec_driver_sql(statement, found)
