"""Reading candidates in SQL: pages in an order, filters, one, and fronts side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, and_, func, select, tuple_

from bitfront.experiments.store.base import MOST_PER_PAGE
from bitfront.experiments.store.cursors import LARGEST_NUMBER, decode_cursor, encode_cursor
from bitfront.experiments.store.engine import reading
from bitfront.experiments.store.filters import COMPARE, Filter
from bitfront.experiments.store.records import Candidate, Page
from bitfront.experiments.store.retry import repeatable
from bitfront.experiments.store.schema import candidates, front_members
from bitfront.experiments.store.service_records import ComparedMember, Thinned
from bitfront.experiments.store.sql_experiments import check_limit, number_of
from bitfront.experiments.store.sqlite_plans import SORTED, by_any, by_fewest, by_front
from bitfront.experiments.store.thinning import first_of_cells
from bitfront.search.constraints import METRICS, base_metric, check_metric, is_of_device
from bitfront.supernet.errors import UnknownNameError

_NEAR = 1000
_NO_NUMBER = 2**31
_MEASURED = {"top1": "top1_validation", "latency_ms": "latency_ms"}


class CandidatesSql:
    """The part of a store that answers what a search found."""

    _engine: Engine
    _patience: float

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
        listing = _listing(experiment_id, order, on_front, where)
        keys = _keys(order)
        met = [keys[0].is_not(None), *map(_meets, where)]
        if on_front:
            met.append(candidates.c.on_front)
        if cursor is not None:
            met.append(_behind(keys, order, decode_cursor(listing, cursor, len(keys), LARGEST_NUMBER)))
        with reading(self._engine) as connection:
            mine = candidates.c.experiment_number == number_of(connection, experiment_id)
            chosen = _chosen(keys, order, [mine, *met], limit + 1)
            chosen = by_front(chosen) if on_front else _planned(connection, chosen, mine, order, where)
            rows = connection.execute(_page(chosen, order)).all()
        last = rows[limit - 1] if len(rows) > limit else None
        following = None if last is None else encode_cursor(listing, [last.sorted_by, last.number][-len(keys) :])
        return Page(tuple(candidate_of(row) for row in rows[:limit]), following)

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
            number = number_of(connection, experiment_id)
            query = select(func.count()).select_from(candidates).where(candidates.c.experiment_number == number)
            query = query.where(*map(_meets, where))
            # With a range of a sorted metric SQLite finds the index by itself.
            others = where and all(one.metric in METRICS and one.metric not in SORTED for one in where)
            return int(connection.execute(by_any(query) if others else query).scalar_one())

    @repeatable
    def thinned(
        self, experiment_id: str, x: str, y: str, most: int = 5000, where: Sequence[Filter] = ()
    ) -> Thinned:
        """See `Store.thinned`."""
        if not 1 <= most <= MOST_PER_PAGE:
            raise ValueError(f"most is {most}, but must be from 1 to {MOST_PER_PAGE}")
        across, up = metric_column(x), metric_column(y)
        with reading(self._engine) as connection:
            number = number_of(connection, experiment_id)
            mine = [candidates.c.experiment_number == number, across.is_not(None), up.is_not(None)]
            mine += map(_meets, where)
            front = connection.execute(by_front(select(candidates).where(*mine, candidates.c.on_front))).all()
            total, cells = first_of_cells(connection, across, up, mine, most - len(front))
        stands_for = {row.number: 0 for row in front} | {row.number: row.stands_for for row in cells}
        found = {row.number: candidate_of(row) for row in (*front, *cells)}
        ids = sorted(found)
        return Thinned(tuple(found[one] for one in ids), tuple(stands_for[one] for one in ids), total)

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


def metric_column(name: str) -> ColumnElement[Any]:
    """Where the database has a metric or METRIC@DEVICE.

    Raises:
        UnknownNameError, InvalidConstraintError: it is neither.
    """
    check_metric(name)
    # A device's metric is as the database reads the number: a cursor is compared with that.
    return candidates.c[name] if name in METRICS else candidates.c.by_device[name].as_float()


def candidate_of(row: Row[Any]) -> Candidate:
    """The candidate in a row that has all columns of the table."""
    values = row._mapping
    predicted = {metric: values[metric] for metric in METRICS if values[metric] is not None}
    predicted |= row.by_device or {}
    return Candidate(row.number, row.generation_index, row.genome, predicted, row.on_front, row.error)


def _meets(one: Filter) -> ColumnElement[bool]:
    meets: ColumnElement[bool] = COMPARE[one.op](metric_column(one.metric), float(one.value))
    return meets


def _listing(experiment_id: str, order: str, on_front: bool, where: Sequence[Filter]) -> str:
    # The same filters in another order are the same listing.
    filters = sorted({f"{one.metric}{one.op}{float(one.value)!r}" for one in where})
    return " ".join(["candidates", experiment_id, order, "front" if on_front else "all", *filters])


def _keys(order: str) -> list[ColumnElement[Any]]:
    """The columns that decide the order: a metric where there is one, the number."""
    name = order.removeprefix("-")
    if name == "id":
        return [candidates.c.number]
    if name not in METRICS and not is_of_device(name):
        raise UnknownNameError("order", order, ["id", *METRICS, "-id", *(f"-{metric}" for metric in METRICS)])
    return [metric_column(name), candidates.c.number]


def _chosen(
    keys: Sequence[ColumnElement[Any]], order: str, met: Sequence[ColumnElement[bool]], limit: int
) -> Select[Any]:
    """Which are the first rows that meet all, with the metric that they are ordered by as ``sorted_by``."""
    chosen = select(candidates.c.experiment_number, candidates.c.number, keys[0].label("sorted_by"))
    return chosen.where(*met).order_by(*_directed(keys, order)).limit(limit)


def _page(chosen: Select[Any], order: str) -> Select[Any]:
    """The chosen rows whole: which they are was found in an index alone, and only these are looked up."""
    found, mine = chosen.subquery(), candidates.c.experiment_number
    same = and_(mine == found.c.experiment_number, candidates.c.number == found.c.number)
    query = select(candidates, found.c.sorted_by).join(found, same)
    return query.order_by(*_directed([found.c.sorted_by, found.c.number], order))


def _planned(
    connection: Connection, chosen: Select[Any], mine: ColumnElement[bool], order: str, where: Sequence[Filter]
) -> Select[Any]:
    name = order.removeprefix("-")
    ranges = {
        metric: [_meets(one) for one in where if one.metric == metric]
        for metric in dict.fromkeys(one.metric for one in where if one.metric in SORTED)
    }
    if is_of_device(name) or not all(one.metric in METRICS for one in where):
        return chosen
    return by_fewest(connection, chosen, mine, name, ranges)


def _directed(keys: Sequence[ColumnElement[Any]], order: str) -> list[ColumnElement[Any]]:
    return [key.desc() if order.startswith("-") else key for key in keys]


def _behind(keys: Sequence[ColumnElement[Any]], order: str, values: Sequence[int | float]) -> ColumnElement[bool]:
    row, last = tuple_(*keys), tuple_(*values)
    return row < last if order.startswith("-") else row > last


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
