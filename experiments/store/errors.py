"""What can go wrong in a store beside storage itself."""

from __future__ import annotations

from bitfront.supernet.errors import BitfrontError, StorageError


class StatusError(BitfrontError):
    """An experiment can not go from its status to the one asked for, or is held by another process."""


class ConflictError(BitfrontError):
    """What was to be stored contradicts what is stored already."""


class CursorError(BitfrontError):
    """A cursor was not given out by this store for this listing."""


class StoreVersionError(BitfrontError):
    """The store was made by a newer bitfront."""


class LostError(StorageError):
    """The database went away. ``unknown``: in the middle of a commit, which may have been done or not."""

    def __init__(self, message: str, unknown: bool = False) -> None:
        super().__init__(message, unknown)

    @property
    def unknown(self) -> bool:
        """Whether what was to be stored may have been."""
        return bool(self.args[1])

    def __str__(self) -> str:
        return str(self.args[0])
