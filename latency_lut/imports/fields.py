"""What makes the rows of a published table unfit: rows that are no mappings of the right fields to numbers."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any


def bad_fields(rows: Mapping[Hashable, Any], fields: Sequence[str]) -> Iterator[str]:
    """Offenders: rows without a field, with another one, or with a value that is no finite number >= 0."""
    for key, row in rows.items():
        if not isinstance(row, dict):
            yield f"{key} is {reprlib.repr(row)}"
            continue
        yield from (f"{key}: no {field}" for field in fields if field not in row)
        yield from (f"{key}: unknown field {field!r}" for field in row if field not in fields)
        for field in fields:
            if field in row and not _is_amount(row[field]):
                yield f"{key}: {field} is {reprlib.repr(row[field])}"


def _is_amount(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= sys.float_info.max  # type: ignore[operator]  # whole numbers have no limit
