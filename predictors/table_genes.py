"""Genomes out of the cells of a table, with what is wrong named by row."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.predictors.features import role
from bitfront.predictors.table_files import PairTableError, RawTable
from bitfront.supernet.genes import Gene, Genomes
from bitfront.supernet.space import SearchSpace

GENOME = "genome"
"""The column of whole genomes; where there is none, each gene with choices has a column of its name."""

_EMPTY = {"", "nan", "na", "n/a", "none", "null"}
_WRONG, _NOTHING = -1, -2
Problem = tuple[int, str]


@dataclass(frozen=True)
class ReadGenomes:
    """What the rows of a table say.

    Attributes:
        genomes: uint8 (n, n_genes), canonical; rows with problems hold zeros where they are wrong.
        problems: (row, words), rows counted from 0.
        skipped: (n,), whether genes of skipped blocks held something other than their first choice.
        used: the columns that genomes were read from.
    """

    genomes: Genomes
    problems: list[Problem]
    skipped: NDArray[np.bool_]
    used: tuple[str, ...]


def read_genomes(table: RawTable, space: SearchSpace) -> ReadGenomes:
    """Genomes from a column of genomes (choice indices) or from a column for each gene (choice values).

    Genes of skipped blocks may hold anything; genes with but one choice need no column.

    Raises:
        PairTableError: columns of genes are missing or unknown.
    """
    if GENOME in table.columns:
        indices, problems = _whole(table.columns[GENOME], space)
        used: tuple[str, ...] = (GENOME,)
    else:
        _check_columns(table, space)
        used = tuple(gene.name for gene in space.genes if gene.name in table.columns)
        indices, problems = np.zeros((len(table), space.n_genes), dtype=np.int64), []
        for name in used:
            place = space.position[name]
            indices[:, place] = _indices(space.genes[place], table.columns[name])
    readable = np.ones(len(table), dtype=bool)
    readable[[row for row, _ in problems]] = False
    outside = (indices < 0) | (indices >= space.cardinalities)
    raw = np.where(outside, 0, indices).astype(np.uint8)
    active = space.active(raw)
    wrong = outside & active & readable[:, None]
    problems += [(row, _outside(table, space, row, gene, indices)) for row, gene in np.argwhere(wrong).tolist()]
    canonical = space.canonical(raw)
    problems += _forbidden(space, canonical, ~wrong.any(axis=1) & readable)
    skipped = (~active & (indices != 0) & (indices != _NOTHING)).any(axis=1)
    return ReadGenomes(canonical, sorted(problems), skipped, used)


# -- columns of genes -----------------------------------------------------------------------------------


def _check_columns(table: RawTable, space: SearchSpace) -> None:
    missing = [gene.name for gene in space.genes if len(gene.choices) > 1 and gene.name not in table.columns]
    roles = {role(name) for name in space.position}
    others = [name for name in table.columns if name not in space.position]
    # A column that is no gene may be of another use, unless it is named like a gene or in place of one.
    unknown = [name for name in others if role(name) in roles or _near(name, missing)]
    problems = [_unknown(name, missing or list(space.position), space) for name in unknown]
    taken = {near for name in unknown if (near := _near(name, missing))}
    problems += [f"column of gene {name!r} is missing" for name in missing if name not in taken]
    if not unknown and not any(name in space.position for name in table.columns):
        raise PairTableError(
            table.source,
            [f"none of its columns ({', '.join(map(repr, table.columns))}) is a gene of space {space.name!r}"],
            f"Name columns after its genes ('{space.genes[0].name}', ...), or give genomes in a column {GENOME!r}",
        )
    if problems:
        formats = all(space.genes[space.position[name]].is_policy for name in missing)
        hint = ": where nothing was quantized, add them with fp32 in every row" if missing and formats else ""
        raise PairTableError(
            table.source, problems, f"Every gene of space {space.name!r} with choices needs a column{hint}"
        )


def _unknown(name: str, candidates: Sequence[str], space: SearchSpace) -> str:
    near = _near(name, candidates)
    return f"column {name!r} is no gene of space {space.name!r}" + (f": did you mean {near!r}?" if near else "")


def _near(name: str, candidates: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, candidates, n=1, cutoff=0.8)), None)


def _indices(gene: Gene, cells: Sequence[object]) -> NDArray[np.int64]:
    """Choice indices of a gene's column; `_WRONG` or `_NOTHING` where there is none."""
    places = {str(choice): i for i, choice in enumerate(gene.choices)}
    seen: dict[object, int] = {}
    found = np.empty(len(cells), dtype=np.int64)
    for row, cell in enumerate(cells):
        key = cell if isinstance(cell, str | int | float | None) else repr(cell)
        if key not in seen:
            text = _plain(cell)
            seen[key] = _NOTHING if text in _EMPTY else places.get(text, _WRONG)
        found[row] = seen[key]
    return found


def _plain(cell: object) -> str:
    """A cell as choices are written: ``3`` for ``3.0`` and ``" 3"``, and empty ones all alike."""
    text = "" if cell is None else str(cell).strip()
    if text.lower() in _EMPTY:
        return ""
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


# -- a column of genomes --------------------------------------------------------------------------------


def _whole(cells: Sequence[object], space: SearchSpace) -> tuple[NDArray[np.int64], list[Problem]]:
    found = np.zeros((len(cells), space.n_genes), dtype=np.int64)
    problems: list[Problem] = []
    for row, cell in enumerate(cells):
        values = _numbers(cell, space.n_genes)
        if values is None:
            shown = "missing" if _plain(cell) == "" else f"{str(cell)[:40]!r}, which is no list of whole numbers"
            problems.append((row, f"{GENOME} is {shown}"))
        elif len(values) != space.n_genes:
            words = f"{GENOME} has {len(values)} genes, but space {space.name!r} has {space.n_genes}"
            problems.append((row, words))
        else:
            # What is too large for the array is out of range all the same.
            found[row] = np.clip(np.array(values, dtype=object), -1, 256).astype(np.int64)
    return found, problems


def _numbers(cell: object, n_genes: int) -> list[int] | None:
    """Choice indices: a list, its JSON, numbers with separators, or two hexadecimal digits a gene."""
    if isinstance(cell, bytes):
        return list(cell)
    if isinstance(cell, str):
        return _from_text(cell.strip(), n_genes)
    if isinstance(cell, list) and all(isinstance(value, int) and not isinstance(value, bool) for value in cell):
        return cell
    return None


def _from_text(text: str, n_genes: int) -> list[int] | None:
    if re.fullmatch(rf"(0x)?[0-9a-fA-F]{{{2 * n_genes}}}", text):
        return list(bytes.fromhex(text.removeprefix("0x")))
    if text.startswith("["):
        try:
            return _numbers(list(json.loads(text)), n_genes)
        except (ValueError, RecursionError):
            return None
    parts = [part for part in re.split(r"[\s,;]+", text) if part]
    return [int(part) for part in parts] if parts and all(re.fullmatch(r"-?\d{1,9}", p) for p in parts) else None


# -- what is wrong --------------------------------------------------------------------------------------


def _outside(table: RawTable, space: SearchSpace, row: int, gene: int, indices: NDArray[np.int64]) -> str:
    one = space.genes[gene]
    if GENOME in table.columns:
        rule = f"an index from 0 to {len(one.choices) - 1} (of {_listed(one)})"
        values = _numbers(table.columns[GENOME][row], space.n_genes)
        assert values is not None
        return f"gene {one.name!r} has index {values[gene]}, but must have {rule}"
    if indices[row, gene] == _NOTHING:
        return f"gene {one.name!r} is missing: it must be one of {_listed(one)}"
    return f"gene {one.name!r} is {str(table.columns[one.name][row])!r}, but must be one of {_listed(one)}"


def _listed(gene: Gene) -> str:
    return ", ".join(map(str, gene.choices))


def _forbidden(space: SearchSpace, genomes: Genomes, judged: NDArray[np.bool_]) -> Iterator[Problem]:
    active = space.active(genomes)
    for group in space.groups:
        bad = judged & ~group.valid[group.number(genomes)] & active[:, group.members[0]]
        for row in np.flatnonzero(bad).tolist():
            chosen = [(space.genes[i], int(genomes[row, i])) for i in group.members]
            words = ", ".join(f"{gene.name} {gene.choices[index]}" for gene, index in chosen)
            nearest = group.rows[group.nearest[group.number(genomes[row : row + 1])[0]]]
            other = ", ".join(
                f"{gene.name} {gene.choices[new]}"
                for (gene, old), new in zip(chosen, nearest, strict=True)
                if new != old
            )
            yield row, f"the combination {words} is not allowed in space {space.name!r}: with {other} it would be"
