"""Bring a database to the tables this code knows, when it is opened."""

from __future__ import annotations

import threading
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, inspect, text

from bitfront.experiments.store.engine import make_engine, place_of, reading, writing
from bitfront.experiments.store.errors import StoreVersionError
from bitfront.experiments.store.owner import Owner
from bitfront.supernet.errors import CorruptFileError

HEAD = "0004"
"""The newest revision in migrations/versions, written down so that alembic is loaded only to migrate."""

MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION_TABLE = "alembic_version"
_ALEMBIC = threading.Lock()  # alembic keeps the migration that runs in module globals


def upgrade(engine: Engine) -> None:
    """Migrate to `HEAD` where needed; any number of processes may do so at once.

    Raises:
        StoreVersionError: the database was made by a newer bitfront, or an older one works with it now.
        CorruptFileError: the database belongs to another program.
        StorageError: it can not be read or written.
    """
    with reading(engine) as connection:
        if _revision(connection) == HEAD:
            return
    # The write lock is taken before looking again, so that only the first of several processes migrates.
    with _ALEMBIC, writing(engine) as connection:
        _lock_postgresql(connection)
        if (revision := _revision(connection)) != HEAD:
            if revision is not None:
                _refuse_while_held(connection)
            _migrate(connection, revision)


def stored_revision(url: URL) -> str | None:
    """The revision of a database, which is left as it is; None where there is none.

    Raises:
        CorruptFileError: the database is damaged, or belongs to another program.
        StorageError: it can not be read.
    """
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        return None
    engine = make_engine(url)
    try:
        with reading(engine) as connection:
            return _revision(connection)
    finally:
        engine.dispose()


def _revision(connection: Connection) -> str | None:
    tables = inspect(connection).get_table_names()
    if _VERSION_TABLE in tables:
        found = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()
        return None if found is None else str(found)
    if tables:
        raise CorruptFileError(
            f"{place_of(connection.engine.url)} belongs to another program (it has the tables "
            f"{', '.join(sorted(tables)[:5])}): set BITFRONT_HOME to another folder"
        )
    return None


def _refuse_while_held(connection: Connection) -> None:
    """An older version that runs would go on to write what it knows alone."""
    held = text("SELECT id, host, pid, process_started FROM experiments WHERE status IN ('RUNNING', 'CANCELLING')")
    for row in connection.execute(held).all():
        owner = Owner(row.host or "", row.pid or 0, row.process_started or "")
        if owner.is_here and owner != Owner.current() and owner.is_alive:
            raise StoreVersionError(
                f"an older bitfront works on experiment {row.id!r} ({owner}), which this one would change: "
                "wait until it has ended, or stop it, and try again"
            )


def _lock_postgresql(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('bitfront migrations'))"))


def _migrate(connection: Connection, revision: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreVersionError(
            f"{place_of(connection.engine.url)} has revision {revision!r}, which bitfront {version('bitfront')} "
            f"does not know (its newest is {HEAD!r}): upgrade bitfront, or set BITFRONT_HOME to another folder"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
