"""Genes that are not free, named as people name them: by patterns, and by the choices that stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from bitfront.supernet.errors import InvalidGenomeError, UnknownNameError, UnsupportedError
from bitfront.supernet.genes import Choice, Gene

Fixed = Choice | Collection[Choice]
"""The one choice, or the choices, that stay."""


def fixed_choices(space: str, genes: Sequence[Gene], fixed: Mapping[str, Fixed]) -> dict[str, tuple[Choice, ...]]:
    """Gene name to the choices that stay, as `SearchSpace.restrict` takes them.

    Args:
        space: its name, for errors.
        genes: its genes.
        fixed: a gene's name, or a pattern as of `fnmatch` (``*.kernel``), to what stays. A value that only some of
            the matched genes have is kept by those; a gene that several patterns match keeps what all allow.

    Raises:
        UnknownNameError: a pattern matches no gene; the message names the nearest one.
        InvalidGenomeError: a value is a choice of no gene that the pattern matches.
        UnsupportedError: nothing is left of a gene.
    """
    allowed: dict[str, tuple[Choice, ...]] = {}
    for pattern, values in fixed.items():
        allowed |= narrowed(space, genes, allowed, pattern, values)
    return allowed


def narrowed(
    space: str, genes: Sequence[Gene], before: Mapping[str, tuple[Choice, ...]], pattern: str, values: Fixed
) -> dict[str, tuple[Choice, ...]]:
    """What one pattern leaves of the genes it matches, after ``before``; as `fixed_choices`."""
    wanted = (values,) if isinstance(values, int | str) else tuple(values)
    matched = [gene for gene in genes if fnmatchcase(gene.name, pattern)]
    if not matched:
        raise UnknownNameError(f"gene of space {space!r}", pattern, [gene.name for gene in genes])
    known = list(dict.fromkeys(choice for gene in matched for choice in gene.choices))
    if strange := [value for value in wanted if value not in known]:
        raise InvalidGenomeError(
            f"{strange[0]!r} is no choice of a gene that {pattern!r} means: choose from {known}"
        )
    found = {}
    for gene in matched:
        free = before.get(gene.name, gene.choices)
        found[gene.name] = tuple(choice for choice in free if choice in wanted)
        if not found[gene.name]:
            raise UnsupportedError(
                f"{pattern!r} leaves no choice of gene {gene.name}: choose from {list(free)}, or write a pattern "
                "that does not match that gene"
            )
    return found
