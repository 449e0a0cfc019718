"""The store of BITFRONT_HOME, and how people name the experiments in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bitfront.supernet.errors import BitfrontError, MissingFileError, StorageError, UnknownNameError

if TYPE_CHECKING:
    from bitfront.experiments.store.base import Store
    from bitfront.experiments.store.records import Experiment
    from bitfront.experiments.store.statuses import Status

LATEST = "latest"
_PAGE = 1000
_MOST_NAMED = 5


class AmbiguousIdError(BitfrontError):
    """The beginning of an id fits several experiments."""


def home_exists() -> bool:
    """Whether there is a BITFRONT_HOME, so that what only reads makes none.

    Raises:
        StorageError: it is no folder.
    """
    from bitfront.experiments.store.home import home

    if home().exists() and not home().is_dir():
        raise StorageError(f"{home()} is no folder: choose another with --home or BITFRONT_HOME")
    return home().is_dir()


@contextmanager
def opened() -> Iterator[Store]:
    """The store, made where there is none; experiments whose process is gone are INTERRUPTED in it.

    Nobody replaces the home meanwhile.
    """
    from bitfront.experiments.store.home import home, open_store
    from bitfront.experiments.store.swapping import opening

    with opening(home()), open_store() as store:
        store.mark_interrupted()
        yield store


@contextmanager
def opened_existing() -> Iterator[Store]:
    """The store, for what makes no sense without experiments.

    Raises:
        MissingFileError: there is no BITFRONT_HOME.
        StorageError: it is no folder.
    """
    from bitfront.experiments.store.home import home

    if not home_exists():
        raise MissingFileError(
            f"there are no experiments in {home()}: start one with 'bitfront run SPEC', "
            "or point to another folder with --home or BITFRONT_HOME"
        )
    with opened() as store:
        yield store


def all_experiments(store: Store, status: Status | None = None) -> Iterator[Experiment]:
    """Every experiment, newest first."""
    cursor: str | None = None
    while True:
        page = store.list_experiments(cursor, _PAGE, status)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def find(store: Store, text: str) -> Experiment:
    """The experiment that a person means: by its id, the unique beginning of one, or ``latest``.

    Raises:
        UnknownNameError: none fits; the message names the nearest.
        AmbiguousIdError: several fit.
    """
    if text == LATEST:
        newest = store.list_experiments(limit=1).items
        if not newest:
            raise UnknownNameError("experiment", text, [])
        return newest[0]
    try:
        return store.get(text)
    except UnknownNameError:
        fitting = [one for one in all_experiments(store) if text and one.id.startswith(text)]
        if not fitting:
            raise
    if len(fitting) > 1:
        named = ", ".join(one.id for one in fitting[:_MOST_NAMED])
        more = f" and {len(fitting) - _MOST_NAMED} more" if len(fitting) > _MOST_NAMED else ""
        raise AmbiguousIdError(f"{text!r} is the beginning of {named}{more}: give more of the id")
    return fitting[0]
