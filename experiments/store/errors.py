"""What can go wrong in a store beside storage itself."""

from __future__ import annotations

from bitfront.supernet.errors import BitfrontError


class StatusError(BitfrontError):
    """An experiment can not go from its status to the one asked for, or is held by another process."""


class ConflictError(BitfrontError):
    """What was to be stored contradicts what is stored already."""


class CursorError(BitfrontError):
    """A cursor was not given out by this store for this listing."""


class StoreVersionError(BitfrontError):
    """The store was made by a newer bitfront."""
