"""A PostgreSQL server of one's own, for a measurement or a test, which keeps nothing and nobody else reaches."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitfront.supernet.errors import UnsupportedError

_SETTINGS = "-c listen_addresses='' -c max_connections=150"
_CARELESS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
_INITDB = "--auth=trust --username=bitfront --no-sync --encoding=UTF8 --no-locale"
_INSTALLED = "/usr/lib/postgresql"  # where Debian keeps its versions, of which none is on the path


@contextmanager
def throwaway_postgresql(durable: bool = False) -> Iterator[str]:
    """The URL of an empty server while it runs; ``{}`` in it stands for the database's name.

    ``durable``: it writes to disk as a server does whose data matter, so that its speed says something.

    Raises:
        UnsupportedError: there is no PostgreSQL here, or no driver for it; it says which.
        RuntimeError: it does not start.
    """
    with throwaway_server(durable) as server:
        yield server.url


@contextmanager
def throwaway_server(durable: bool = False) -> Iterator[Server]:
    """As `throwaway_postgresql`, for what stops and starts it meanwhile.

    Raises:
        UnsupportedError, RuntimeError: as `throwaway_postgresql`.
    """
    program = _pg_ctl()
    # The name of a socket must be short, and another user must get there.
    with tempfile.TemporaryDirectory(prefix="bitfront-pg-", ignore_cleanup_errors=True) as folder:
        server = Server(program, Path(folder), _SETTINGS if durable else f"{_SETTINGS} {_CARELESS}")
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _pg_ctl() -> Path:
    if importlib.util.find_spec("psycopg") is None:
        raise UnsupportedError("psycopg, PostgreSQL's driver, is not installed: pip install 'bitfront[postgres]'")
    installed = sorted(Path(_INSTALLED).glob("*/bin/pg_ctl"))
    found = shutil.which("pg_ctl") or (str(installed[-1]) if installed else None)
    if found is None:
        raise UnsupportedError(
            f"there is no PostgreSQL server here (neither pg_ctl nor {_INSTALLED}/*/bin/pg_ctl): "
            "apt-get install postgresql"
        )
    return Path(found)


class Server:
    """A server in a folder; ``url`` with ``{}`` for the database's name."""

    def __init__(self, pg_ctl: Path, folder: Path, settings: str) -> None:
        self.url = f"postgresql+psycopg://bitfront@/{{}}?host={folder}"
        self._pg_ctl, self._folder, self._settings, self._runs = pg_ctl, folder, settings, False
        self._user: str | None = None
        if os.geteuid() == 0:  # the server refuses to run as root
            users = {entry.pw_name: entry for entry in pwd.getpwall()}
            entry = users.get("postgres") or users["nobody"]
            os.chown(folder, entry.pw_uid, entry.pw_gid)
            self._user = entry.pw_name
        self._call("initdb", "-o", _INITDB)

    def start(self) -> None:
        """Start it, with all that it held when it was stopped."""
        log = str(self._folder / "log")
        self._call("start", "-w", "-t", "60", "-l", log, "-o", f"{self._settings} -k {self._folder}")
        self._runs = True

    def stop(self) -> None:
        """Stop it as a crash does; one that is stopped stays so."""
        if self._runs:
            self._call("stop", "-m", "immediate")
        self._runs = False

    def _call(self, action: str, *options: str) -> None:
        command = [str(self._pg_ctl), action, "-s", "-D", str(self._folder / "data"), *options]
        done = subprocess.run(
            command, user=self._user, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr}")
