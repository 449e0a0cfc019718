"""Generations, candidates and the measured front in SQL."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Engine, Row, func, insert, select, update

from bitfront.experiments.store.engine import reading, writing
from bitfront.experiments.store.errors import ConflictError
from bitfront.experiments.store.inserting import insert_columns, insert_new
from bitfront.experiments.store.known_genomes import KnownGenomes
from bitfront.experiments.store.metric_blocks import DIGEST, NUMBER, add_to_blocks, digests_of
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import CandidateBatch, FrontMember, Generation, Measurement
from bitfront.experiments.store.retry import repeatable
from bitfront.experiments.store.schema import candidates, front_members, generations, search_states
from bitfront.experiments.store.sql_candidates import by_front, candidate_of
from bitfront.experiments.store.sql_experiments import held_by, held_number, number_of, row_of
from bitfront.experiments.store.state_blob import decode_state, encode_state
from bitfront.search.constraints import METRICS
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.genes import Genomes

_MOST_PARAMETERS = 500


class SearchSql:
    """The part of a store that is about what a search finds."""

    _engine: Engine
    _patience: float
    _known: KnownGenomes | None = None  # of the experiment that this process added to last

    @repeatable
    def add_generation(
        self,
        experiment_id: str,
        generation: Generation,
        batch: CandidateBatch,
        front: Genomes,
        state: Mapping[str, Any],
        owner: Owner | None = None,
    ) -> None:
        """See `Store.add_generation`."""
        if not math.isfinite(generation.hypervolume):
            raise NumericalError(
                f"the hypervolume of generation {generation.index} is {generation.hypervolume}: "
                "check the objectives and the reference point"
            )
        blob = encode_state(state)
        with writing(self._engine) as connection:
            number = int(held_by(owner, row_of(connection, experiment_id, lock=True)).number)
            if _is_stored(connection, number, generation):
                return
            _check_next(connection, experiment_id, number, generation.index)
            known = KnownGenomes.read(connection, number, self._known)
            _insert_generation(connection, number, generation)
            known = _insert_candidates(connection, known, generation, batch)
            _set_front(connection, known, _genomes(front))
            _put_state(connection, number, generation.index, blob)
        self._known = known

    @repeatable
    def last_generation(self, experiment_id: str) -> tuple[Generation, dict[str, Any]] | None:
        """See `Store.last_generation`."""
        with reading(self._engine) as connection:
            number = number_of(connection, experiment_id)
            same = (generations.c.experiment_number == search_states.c.experiment_number) & (
                generations.c.index == search_states.c.generation_index
            )
            row = connection.execute(
                select(generations, search_states.c.state)
                .join(search_states, same)
                .where(generations.c.experiment_number == number)
            ).one_or_none()
        return None if row is None else (_generation(row), decode_state(row.state))

    @repeatable
    def generations(self, experiment_id: str) -> tuple[Generation, ...]:
        """See `Store.generations`."""
        with reading(self._engine) as connection:
            number = number_of(connection, experiment_id)
            query = select(generations).where(generations.c.experiment_number == number)
            return tuple(_generation(row) for row in connection.execute(query.order_by(generations.c.index)))

    @repeatable
    def add_front_members(
        self, experiment_id: str, candidate_ids: Sequence[int], owner: Owner | None = None
    ) -> None:
        """See `Store.add_front_members`."""
        with writing(self._engine) as connection:
            number = held_number(connection, experiment_id, owner)
            rows = [
                {"experiment_number": number, "candidate_number": int(one), "dominated": False}
                for one in candidate_ids
            ]
            insert_new(connection, front_members, rows)

    @repeatable
    def measure_front_members(
        self, experiment_id: str, measurements: Sequence[Measurement], owner: Owner | None = None
    ) -> None:
        """See `Store.measure_front_members`."""
        with writing(self._engine) as connection:
            number = held_number(connection, experiment_id, owner)
            for one in measurements:
                mine = (front_members.c.experiment_number == number) & (
                    front_members.c.candidate_number == one.candidate_id
                )
                before = connection.execute(select(front_members.c.by_device).where(mine)).first()
                if before is None:
                    raise ConflictError(
                        f"candidate {one.candidate_id} is no front member of {experiment_id!r}: add it first"
                    )
                if values := _measured(one, before.by_device or {}):
                    connection.execute(update(front_members).where(mine).values(**values))

    @repeatable
    def front(self, experiment_id: str) -> tuple[FrontMember, ...]:
        """See `Store.front`."""
        member = [column.label(f"member_{column.name}") for column in front_members.c]
        same = (front_members.c.experiment_number == candidates.c.experiment_number) & (
            front_members.c.candidate_number == candidates.c.number
        )
        with reading(self._engine) as connection:
            number = number_of(connection, experiment_id)
            query = select(candidates, *member).join(front_members, same)
            # Ordered by the members' own column, so that SQLite begins with them and not with all candidates.
            order = front_members.c.candidate_number
            mine = query.where(front_members.c.experiment_number == number).order_by(order)
            return tuple(_member(row) for row in connection.execute(mine))


def _check_next(connection: Connection, experiment_id: str, number: int, index: int) -> None:
    query = select(func.max(generations.c.index)).where(generations.c.experiment_number == number)
    newest = connection.execute(query).scalar_one()
    expected = 0 if newest is None else newest + 1
    if index != expected:
        raise ConflictError(
            f"generation {index} of experiment {experiment_id!r} can not be stored, as {expected} comes next: "
            "is another process running the same experiment?"
        )


def _is_stored(connection: Connection, number: int, generation: Generation) -> bool:
    """Whether it is the newest already: it may have been stored before the answer was lost."""
    mine = select(generations).where(generations.c.experiment_number == number)
    row = connection.execute(mine.order_by(generations.c.index.desc()).limit(1)).one_or_none()
    found = None if row is None else _generation(row)
    return found is not None and found == generation and found.created_at == generation.created_at


def _insert_generation(connection: Connection, number: int, generation: Generation) -> None:
    connection.execute(
        insert(generations).values(
            experiment_number=number,
            index=generation.index,
            evaluations=generation.evaluations,
            hypervolume=generation.hypervolume,
            created_at=generation.created_at,
        )
    )


def _insert_candidates(
    connection: Connection, known: KnownGenomes, generation: Generation, batch: CandidateBatch
) -> KnownGenomes:
    genomes = _genomes(batch.genomes)
    # Of several that are equal the first counts.
    places = {genome: row for row, genome in reversed(list(enumerate(genomes)))}
    digests = digests_of(genomes)
    for genome in known.numbers_of(connection, genomes, digests):
        del places[genome]
    rows = np.array(sorted(places.values()), dtype=np.int64)
    numbers = np.arange(len(rows)) + known.next_number(connection)
    metrics = _scored(batch, rows)
    by_device = {name: values for name, values in metrics.items() if name not in METRICS}
    columns: dict[str, Sequence[object]] = {
        "experiment_number": [known.experiment] * len(rows),
        "number": numbers.tolist(),
        "generation_index": [generation.index] * len(rows),
        "genome": [genomes[row] for row in rows],
        "on_front": [False] * len(rows),
        "error": [batch.errors.get(row) for row in rows.tolist()],
        **{name: _numbers(values) for name, values in metrics.items() if name in METRICS},
        "by_device": _by_device(by_device, len(rows)),
    }
    insert_columns(connection, candidates, columns)
    add_to_blocks(connection, known.experiment, {NUMBER: numbers, DIGEST: digests[rows], **metrics})
    return known.after((generation.index, generation.created_at), digests[rows], numbers)


def _scored(batch: CandidateBatch, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """The metrics of some rows, NaN where one could not be scored."""
    failed = np.isin(rows, list(batch.errors))
    return {name: np.where(failed, np.nan, values[rows]) for name, values in batch.predicted.items()}


def _genomes(genomes: Genomes) -> list[bytes]:
    data, width = genomes.tobytes(), genomes.shape[1]
    return [data[start : start + width] for start in range(0, len(genomes) * width, width)]


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Values of a metric, and nothing where a candidate could not be scored."""
    numbers: list[float | None] = values.tolist()
    for row in np.flatnonzero(np.isnan(values)).tolist():
        numbers[row] = None
    return numbers


def _by_device(metrics: Mapping[str, NDArray[np.float64]], n: int) -> list[str | None]:
    """Each candidate's METRIC@DEVICE values as JSON; nothing where there are none."""
    if not metrics:
        return [None] * n
    rows = zip(*(values.tolist() for values in metrics.values()), strict=True)
    return [None if math.isnan(row[0]) else json.dumps(dict(zip(metrics, row, strict=True))) for row in rows]


def _set_front(connection: Connection, known: KnownGenomes, front: Sequence[bytes]) -> None:
    mine = candidates.c.experiment_number == known.experiment
    query = by_front(select(candidates.c.genome, candidates.c.number).where(mine, candidates.c.on_front))
    old = {row.genome: row.number for row in connection.execute(query)}
    kept = set(front)
    left = [candidate for genome, candidate in old.items() if genome not in kept]
    joining = sorted(kept - old.keys())
    joined = known.numbers_of(connection, joining, digests_of(joining)) if joining else {}
    if len(joined) != len(joining):
        raise ConflictError(
            f"{len(joining) - len(joined)} members of the front are no candidates of the experiment"
        )
    _flag(connection, mine, left, False)
    _flag(connection, mine, sorted(joined.values()), True)


def _flag(connection: Connection, mine: ColumnElement[bool], numbers: Sequence[int], on_front: bool) -> None:
    for start in range(0, len(numbers), _MOST_PARAMETERS):
        part = candidates.c.number.in_(numbers[start : start + _MOST_PARAMETERS])
        connection.execute(update(candidates).where(mine, part).values(on_front=on_front))


def _put_state(connection: Connection, number: int, index: int, blob: bytes) -> None:
    mine = search_states.c.experiment_number == number
    changed = connection.execute(update(search_states).where(mine).values(generation_index=index, state=blob))
    if not changed.rowcount:
        values = {"experiment_number": number, "generation_index": index, "state": blob}
        connection.execute(insert(search_states).values(**values))


def _generation(row: Row[Any]) -> Generation:
    # A row is a tuple too, whose method `index` hides the column.
    return Generation(row._mapping["index"], row.evaluations, row.hypervolume, row.created_at)


def _member(row: Row[Any]) -> FrontMember:
    return FrontMember(
        candidate=candidate_of(row),
        top1_validation=row.member_top1_validation,
        top1_test=row.member_top1_test,
        latency_ms=row.member_latency_ms,
        dominated=row.member_dominated,
        error=row.member_error,
        by_device=row.member_by_device or {},
    )


def _measured(one: Measurement, before: Mapping[str, float]) -> dict[str, Any]:
    values = {
        "top1_validation": one.top1_validation,
        "top1_test": one.top1_test,
        "latency_ms": one.latency_ms,
        "dominated": one.dominated,
        "error": one.error,
        "by_device": {**before, **one.by_device} if one.by_device else None,
    }
    return {name: value for name, value in values.items() if value is not None}
