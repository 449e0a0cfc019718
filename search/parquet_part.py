"""One parquet file of scored candidates: what its columns are, and whose it is."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.search.constraints import Floats
from bitfront.search.problem import Problem
from bitfront.search.scored import Scored
from bitfront.supernet.errors import BitfrontError, StorageError
from bitfront.supernet.space import SearchSpace

FIX = "give the folder of one search of this space; what an experiment lacks is written anew when it is resumed"
"""What to do about a part that is not what it should be."""
_FIX_DAMAGE = (
    "leave it and resume the experiment, which writes it and those behind it anew; if that is COMPLETED, take it "
    "from a backup (the store has its candidates too)"
)

_METADATA = b"bitfront"
_FORMAT = 1
_OBJECTIVE = "objective_"
_NAME = "candidates-"


class ArchivePartsError(BitfrontError):
    """Parts are there already, are of another space, or do not make one table."""


class DamagedPartError(ArchivePartsError):
    """The file of a part is no whole parquet file."""


def paths(folder: Path) -> list[Path]:
    """The parts in a folder, in the order of their candidates."""
    return sorted(folder.glob(f"{_NAME}*.parquet"))


def path_of(folder: Path, first: int) -> Path:
    """The file of a part whose first candidate has this number."""
    return folder / f"{_NAME}{first:010d}.parquet"


def encode(scored: Scored, first: int, problem: Problem) -> bytes:
    """A file of candidates, the first of which has number ``first``.

    Columns: ``candidate`` (its number), ``generation``, ``genome`` (one byte a gene), each metric under its name,
    each objective as ``objective_METRIC`` (minimised), ``feasible`` and ``error``. Numbers of a candidate that
    failed are null. Space, genes, objectives and constraints are JSON in the schema's metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet

    n, n_genes = scored.genomes.shape
    # A list of integers takes four times as long to write.
    genomes = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(n_genes), n, [None, pa.py_buffer(scored.genomes.tobytes())]
    )
    columns = {
        "candidate": pa.array(np.arange(first, first + n)),
        "generation": pa.array(scored.generations),
        "genome": genomes,
        **{name: _numbers(scored.metrics[name]) for name in sorted(scored.metrics)},
        **{f"{_OBJECTIVE}{name}": _numbers(scored.F[:, i]) for i, name in enumerate(scored.objectives)},
        "feasible": pa.array(scored.feasible),
        "error": pa.array([scored.errors.get(row) for row in range(n)], pa.string()),
    }
    metadata = {_METADATA: json.dumps(_document(scored, problem)).encode()}
    out = io.BytesIO()
    table = pa.table(columns).replace_schema_metadata(metadata)
    pyarrow.parquet.write_table(table, out, compression="zstd", use_dictionary=["error"])
    return out.getvalue()


def extent(path: Path, space: SearchSpace) -> tuple[int, int]:
    """(Number of the first candidate, how many there are) of a part of this space; its rows are not read.

    Raises:
        DamagedPartError: the file is none that can be read.
        ArchivePartsError: it is of another space, or no part.
    """
    try:
        first, (metadata, rows) = int(path.stem.removeprefix(_NAME)), _footer(path)
        document = json.loads(metadata[_METADATA])
        found = document["format"], document["space_hash"], document["space"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArchivePartsError(
            f"{path} is no part of a search ({error!r}): move it away, or give another folder"
        ) from error
    if found[0] != _FORMAT:
        raise ArchivePartsError(f"{path} has format {found[0]}, but {_FORMAT} can be read: {FIX}")
    if found[1] != space.hash():
        raise ArchivePartsError(
            f"{path} is of space {found[2]!r} with hash {found[1]}, and not of {space.name!r} with hash "
            f"{space.hash()}: {FIX}"
        )
    return first, rows


def _footer(path: Path) -> tuple[dict[bytes, bytes], int]:
    """The metadata of a parquet file, and how many rows it has."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            return file.schema_arrow.metadata or {}, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:  # the system refuses it, which says nothing about the file
            raise StorageError(f"can not read {path}: {error}. Make it readable") from error
        raise DamagedPartError(f"{path} is damaged ({error!r}): {_FIX_DAMAGE}") from error


def decode(path: Path) -> Scored:
    """The candidates of a part.

    Raises:
        DamagedPartError: its rows can not be read.
    """
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read()
        return _arrays(table, json.loads(table.schema.metadata[_METADATA]))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DamagedPartError(f"{path} is damaged ({error!r}): {_FIX_DAMAGE}") from error


def _document(scored: Scored, problem: Problem) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "space": problem.space.name,
        "space_hash": problem.space.hash(),
        "genes": [gene.name for gene in problem.space.genes],
        "metrics": sorted(scored.metrics),
        "objectives": list(scored.objectives),
        "constraints": [str(constraint) for constraint in problem.constraints],
    }


def _arrays(table: Any, document: dict[str, Any]) -> Scored:
    genomes = np.frombuffer(b"".join(table["genome"].to_pylist()), dtype=np.uint8)
    F = np.stack([_column(table, f"{_OBJECTIVE}{name}") for name in document["objectives"]], axis=1)
    errors = table["error"].to_pylist() if table["error"].null_count < len(table) else []
    return Scored(
        tuple(document["objectives"]),
        genomes.reshape(len(table), -1),
        table["generation"].to_numpy(),
        {name: _column(table, name) for name in document["metrics"]},
        np.where(np.isnan(F), np.inf, F),
        table["feasible"].to_numpy(),
        {row: text for row, text in enumerate(errors) if text is not None},
    )


def _numbers(values: Floats) -> Any:
    """A column with nothing where a candidate failed."""
    import pyarrow as pa

    return pa.array(np.ascontiguousarray(values), mask=~np.isfinite(values))


def _column(table: Any, name: str) -> Floats:
    """The reverse: NaN where there is nothing."""
    return np.asarray(table[name].to_numpy(), dtype=np.float64)
