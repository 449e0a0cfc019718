"""Reading candidates in SQL: pages in an order, filters, one, and fronts side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Row, Select, select

from bitfront.experiments.store.base import MOST_PER_PAGE
from bitfront.experiments.store.choosing import first_in_order, first_of_cells, meeting
from bitfront.experiments.store.column_cache import ColumnCache
from bitfront.experiments.store.cursors import LARGEST_NUMBER, decode_cursor, encode_cursor
from bitfront.experiments.store.engine import reading
from bitfront.experiments.store.filters import Filter
from bitfront.experiments.store.metric_blocks import Columns, count_in_blocks, read_columns
from bitfront.experiments.store.records import Candidate, Page
from bitfront.experiments.store.retry import repeatable
from bitfront.experiments.store.schema import candidates, front_members
from bitfront.experiments.store.service_records import ComparedMember, Thinned
from bitfront.experiments.store.sql_experiments import check_limit, number_of, row_of
from bitfront.search.constraints import METRICS, base_metric, check_metric, is_of_device
from bitfront.supernet.errors import UnknownNameError

_NEAR = 1000
_NO_NUMBER = 2**31
_MOST_PARAMETERS = 500
_MEASURED = {"top1": "top1_validation", "latency_ms": "latency_ms"}


class CandidatesSql:
    """The part of a store that answers what a search found."""

    _engine: Engine
    _patience: float
    _cache: ColumnCache

    @repeatable
    def candidates(
        self,
        experiment_id: str,
        cursor: str | None = None,
        limit: int = 100,
        order: str = "id",
        on_front: bool = False,
        where: Sequence[Filter] = (),
    ) -> Page[Candidate]:
        """See `Store.candidates`."""
        check_limit(limit)
        metric = _ordered_by(order)
        listing = _listing(experiment_id, order, on_front, where)
        length = 1 if metric is None else 2
        after = None if cursor is None else decode_cursor(listing, cursor, length, LARGEST_NUMBER)
        descending = order.startswith("-")
        with reading(self._engine) as connection:
            mine = row_of(connection, experiment_id)
            if metric is None and not where:
                rows = connection.execute(_by_id(mine.number, on_front, descending, after).limit(limit + 1)).all()
            else:
                asked = [one.metric for one in where] + ([] if metric is None else [metric])
                columns = self._columns(connection, mine, asked)
                met = meeting(where, columns.values, len(columns.numbers))
                if on_front:
                    met &= np.isin(columns.numbers, _front_numbers(connection, mine.number))
                values = columns.numbers if metric is None else columns.values[metric]
                behind = None if after is None else (after[0], after[-1])
                places = first_in_order(values, columns.numbers, met, limit + 1, descending, behind)
                rows = _rows(connection, mine.number, columns.numbers[places].tolist())
        page = tuple(map(candidate_of, rows[:limit]))
        if len(rows) <= limit:
            return Page(page, None)
        last = page[-1]
        key = [last.id] if metric is None else [last.predicted[metric], last.id]
        return Page(page, encode_cursor(listing, key))

    @repeatable
    def candidate(self, experiment_id: str, candidate_id: int) -> Candidate:
        """See `Store.candidate`."""
        with reading(self._engine) as connection:
            mine = candidates.c.experiment_number == number_of(connection, experiment_id)
            one = select(candidates).where(mine, candidates.c.number == candidate_id)
            # A larger number would not fit into the column, and so is no candidate's.
            row = connection.execute(one).one_or_none() if 0 <= candidate_id < _NO_NUMBER else None
            if row is None:
                on_front = select(candidates.c.number).where(mine, candidates.c.on_front).limit(_NEAR)
                known = [str(number) for number in connection.execute(on_front).scalars()]
                raise UnknownNameError(f"candidate of {experiment_id}", str(candidate_id), known)
            return candidate_of(row)

    @repeatable
    def count_candidates(self, experiment_id: str, where: Sequence[Filter] = ()) -> int:
        """See `Store.count_candidates`."""
        with reading(self._engine) as connection:
            mine = row_of(connection, experiment_id)
            if not where:
                return count_in_blocks(connection, mine.number)
            columns = self._columns(connection, mine, [one.metric for one in where])
        return int(meeting(where, columns.values, len(columns.numbers)).sum())

    @repeatable
    def thinned(
        self, experiment_id: str, x: str, y: str, most: int = 5000, where: Sequence[Filter] = ()
    ) -> Thinned:
        """See `Store.thinned`."""
        if not 1 <= most <= MOST_PER_PAGE:
            raise ValueError(f"most is {most}, but must be from 1 to {MOST_PER_PAGE}")
        check_metric(x)
        check_metric(y)
        with reading(self._engine) as connection:
            mine = row_of(connection, experiment_id)
            columns = self._columns(connection, mine, [x, y, *(one.metric for one in where)])
            met = meeting(where, columns.values, len(columns.numbers))
            met &= ~np.isnan(columns.values[x]) & ~np.isnan(columns.values[y])
            places = np.flatnonzero(met)
            front = _front_numbers(connection, mine.number)
            front = front[met[np.searchsorted(columns.numbers, front)]]
            cells, counts = first_of_cells(columns.values[x][places], columns.values[y][places], most - len(front))
            stands_for = dict.fromkeys(front.tolist(), 0)
            stands_for |= dict(zip(columns.numbers[places[cells]].tolist(), counts.tolist(), strict=True))
            rows = _rows(connection, mine.number, sorted(stands_for))
        thin = tuple(map(candidate_of, rows))
        return Thinned(thin, tuple(stands_for[one.id] for one in thin), len(places))

    def _columns(self, connection: Connection, mine: Row[Any], names: Sequence[str]) -> Columns:
        return read_columns(connection, mine.number, names, self._cache, (mine.id, mine.forgotten))

    @repeatable
    def compare(self, experiment_ids: Sequence[str], objectives: Sequence[str]) -> tuple[ComparedMember, ...]:
        """See `Store.compare`."""
        _check_objectives(objectives)
        with reading(self._engine) as connection:
            numbers = {number_of(connection, one): one for one in dict.fromkeys(experiment_ids)}
            rows = connection.execute(_fronts(list(numbers))).all()
        place = {number: i for i, number in enumerate(numbers)}
        rows = sorted(rows, key=lambda row: (place[row.experiment_number], row.number))
        seen = [(numbers[row.experiment_number], row, *view) for row in rows for view in _views(row, objectives)]
        dominated = _dominated([predicted for *_, predicted in seen], objectives)
        return tuple(
            ComparedMember(one, device, candidate_of(row), predicted, _measured(row, objectives, device), bad)
            for (one, row, device, predicted), bad in zip(seen, dominated, strict=True)
        )


def candidate_of(row: Row[Any]) -> Candidate:
    """The candidate in a row that has all columns of the table."""
    values = row._mapping
    predicted = {metric: values[metric] for metric in METRICS if values[metric] is not None}
    predicted |= row.by_device or {}
    return Candidate(row.number, row.generation_index, row.genome, predicted, row.on_front, row.error)


def _listing(experiment_id: str, order: str, on_front: bool, where: Sequence[Filter]) -> str:
    # The same filters in another order are the same listing.
    filters = sorted({f"{one.metric}{one.op}{float(one.value)!r}" for one in where})
    return " ".join(["candidates", experiment_id, order, "front" if on_front else "all", *filters])


def _ordered_by(order: str) -> str | None:
    """The metric that an order is by, or nothing where it is by id."""
    name = order.removeprefix("-")
    if name == "id":
        return None
    if name not in METRICS and not is_of_device(name):
        raise UnknownNameError("order", order, ["id", *METRICS, "-id", *(f"-{metric}" for metric in METRICS)])
    check_metric(name)
    return name


def _by_id(mine: int, on_front: bool, descending: bool, after: Sequence[float] | None) -> Select[Any]:
    number = candidates.c.number
    query = select(candidates).where(candidates.c.experiment_number == mine)
    if on_front:
        query = by_front(query.where(candidates.c.on_front))
    if after is not None:
        query = query.where(number < after[0] if descending else number > after[0])
    return query.order_by(number.desc() if descending else number)


def _front_numbers(connection: Connection, mine: int) -> NDArray[np.int64]:
    query = select(candidates.c.number).where(candidates.c.experiment_number == mine, candidates.c.on_front)
    return np.array(connection.execute(by_front(query)).scalars().all(), dtype=np.int64)


def _rows(connection: Connection, mine: int, numbers: Sequence[int]) -> list[Row[Any]]:
    """The rows of candidates, in the order of their numbers here."""
    found: dict[int, Row[Any]] = {}
    for start in range(0, len(numbers), _MOST_PARAMETERS):
        part = candidates.c.number.in_(numbers[start : start + _MOST_PARAMETERS])
        query = select(candidates).where(candidates.c.experiment_number == mine, part)
        found |= {row.number: row for row in connection.execute(query)}
    return [found[number] for number in numbers]


def by_front(query: Select[Any]) -> Select[Any]:
    """A query of members of the predicted front: SQLite would read all candidates to find them."""
    return query.with_hint(candidates, "INDEXED BY ix_candidates_on_front", "sqlite")


def _check_objectives(objectives: Sequence[str]) -> None:
    for name in objectives:
        check_metric(name)
    if not objectives or len(set(objectives)) < len(objectives):
        raise ValueError(f"objectives are {list(objectives)}: name at least one, and each once")


def _fronts(numbers: Sequence[int]) -> Select[Any]:
    """Members of the predicted fronts with what was measured of them."""
    measured = [front_members.c[name].label(f"measured_{name}") for name in ("top1_validation", "latency_ms")]
    measured.append(front_members.c.by_device.label("measured_by_device"))
    same = (front_members.c.experiment_number == candidates.c.experiment_number) & (
        front_members.c.candidate_number == candidates.c.number
    )
    query = by_front(select(candidates, *measured)).outerjoin(front_members, same)
    return query.where(candidates.c.experiment_number.in_(numbers), candidates.c.on_front)


def _views(row: Row[Any], objectives: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Each device that has all objectives of a member, with their values; "" where the metrics name none."""
    predicted = candidate_of(row).predicted
    missing = [name for name in objectives if name not in predicted]
    devices = [{one.partition("@")[2] for one in predicted if base_metric(one) == name} for name in missing]
    for device in sorted(set.intersection(*devices)) if devices else [""]:
        if all(_named(name, device, predicted) in predicted for name in objectives):
            yield device, {name: predicted[_named(name, device, predicted)] for name in objectives}


def _named(name: str, device: str, predicted: Mapping[str, float]) -> str:
    return name if name in predicted or not device else f"{name}@{device}"


def _measured(row: Row[Any], objectives: Sequence[str], device: str) -> dict[str, float]:
    found: dict[str, float | None] = {name: getattr(row, f"measured_{its}") for name, its in _MEASURED.items()}
    found |= row.measured_by_device or {}
    values = {name: found.get(f"{name}@{device}", found.get(name)) for name in objectives}
    return {name: value for name, value in values.items() if value is not None}


def _dominated(predicted: Sequence[Mapping[str, float]], objectives: Sequence[str]) -> list[bool]:
    from bitfront.search.archive import non_dominated  # loads pymoo, which few who open a store need

    if not predicted:
        return []
    signs = [-1.0 if METRICS[base_metric(name)] == "max" else 1.0 for name in objectives]
    F = np.array([[values[name] for name in objectives] for values in predicted]) * np.array(signs)
    dominated: list[bool] = (~non_dominated(F)).tolist()
    return dominated
