"""Cursors: where a listing goes on, as text that is safe in a URL."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Sequence

from bitfront.experiments.store.errors import CursorError

Key = list[int | float]
_LARGEST = 2**63 - 1
_LONGEST = 120
LARGEST_NUMBER = 2**31 - 1
"""Of a row: numbers of experiments and candidates are 32 bits."""


def encode_cursor(listing: str, key: Sequence[int | float]) -> str:
    """A cursor behind the row with this sort key; ``listing`` names the listing and its order."""
    text = json.dumps([_short(listing), *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(listing: str, cursor: str, length: int, largest: float = math.inf) -> Key:
    """The sort key, of ``length`` numbers, in a cursor of the same listing.

    ``largest``: how large the last of them, the number of a row, may be.

    Raises:
        CursorError: the cursor is damaged or belongs to another listing or order.
    """
    try:
        value = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise CursorError(f"cursor {cursor!r} is damaged: use one that a listing gave out, or none") from error
    if not _fits(value, _short(listing), length) or (length and abs(value[-1]) > largest):
        raise CursorError(f"cursor {cursor!r} is not one of the listing {listing!r}: start without a cursor")
    key: Key = value[1:]
    return key


def _short(listing: str) -> str:
    """As long as it is, where that is not much: conditions may be longer than an address may be."""
    return listing if len(listing) <= _LONGEST else hashlib.sha256(listing.encode()).hexdigest()[:32]


def _fits(value: object, listing: str, length: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == length + 1
        and value[0] == listing
        and all(map(_is_storable, value[1:]))
    )


def _is_storable(part: object) -> bool:
    """Whether a database can compare a column with it."""
    if isinstance(part, bool) or not isinstance(part, int | float):
        return False
    return -_LARGEST <= part <= _LARGEST if isinstance(part, int) else math.isfinite(part)
