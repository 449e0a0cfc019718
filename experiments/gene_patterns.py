"""Genes that have the same choices, under one pattern: as ``fixed`` of a spec takes it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from bitfront.supernet.genes import Choice, Gene

_NUMBER = re.compile(r"\d+")
_DIGITS = 10

_Group = tuple[str, tuple[Choice, ...]]


def gene_patterns(genes: Sequence[Gene]) -> list[dict[str, Any]]:
    """JSON-able rows in the genes' order: pattern, kind, choices, count.

    A pattern is matched, as by `fnmatch`, by exactly those genes that it stands for.
    """
    names = [gene.name for gene in genes]
    groups: dict[_Group, list[Gene]] = {}
    for gene in genes:
        groups.setdefault((_NUMBER.sub("#", gene.name), gene.choices), []).append(gene)
    rows = []
    for alike in groups.values():
        for pattern, covered in _patterns([gene.name for gene in alike], names):
            first = next(gene for gene in alike if gene.name in covered)
            row = {"pattern": pattern, "kind": first.kind, "choices": list(first.choices), "count": len(covered)}
            rows.append((names.index(first.name), row))
    return [row for _, row in sorted(rows, key=lambda entry: entry[0])]


def _patterns(wanted: list[str], names: list[str]) -> list[tuple[str, set[str]]]:
    """Patterns that match ``wanted`` and nothing else of ``names``: all at once, or else by the first number."""
    whole = _pattern(wanted, names)
    if whole is not None:
        return [(whole, set(wanted))]
    parts: dict[str, list[str]] = {}
    for name in wanted:
        parts.setdefault(_NUMBER.findall(name)[0], []).append(name)
    if len(parts) == 1:  # every number is the same, or no pattern will do
        return [(name, {name}) for name in wanted]
    return [found for part in parts.values() for found in _patterns(part, names)]


def _pattern(wanted: list[str], names: list[str]) -> str | None:
    """One pattern for genes whose names differ in numbers alone; None where it would match others as well."""
    numbers = [tuple(map(int, _NUMBER.findall(name))) for name in wanted]
    columns = list(zip(*numbers, strict=True))
    for loose in (True, False):
        written = [_written(column, loose) for column in columns]
        pieces = [text for text in written if text is not None]
        if len(pieces) == len(columns):
            pattern = "".join(itertools.chain(*zip(_NUMBER.split(wanted[0]), [*pieces, ""], strict=True)))
            if set(_matched(pattern, names)) == set(wanted):
                return pattern
    return None


def _written(column: Sequence[int], loose: bool) -> str | None:
    """``3`` for one number, ``*`` or ``[1-3]`` for several; None where a range can not say it."""
    different = sorted(set(column))
    if len(different) == 1:
        return str(different[0])
    if loose:
        return "*"
    if different[-1] < _DIGITS and different == list(range(different[0], different[-1] + 1)):
        return f"[{different[0]}-{different[-1]}]"
    return None


def _matched(pattern: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if fnmatchcase(name, pattern)]
