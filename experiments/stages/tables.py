"""Stage 4b: the device's cost table, profiled or computed once per device, options and space."""

from __future__ import annotations

import hashlib
import json

from bitfront.experiments.device_places import table_path
from bitfront.experiments.foreign_tables import told_warnings
from bitfront.experiments.run import Run
from bitfront.experiments.store.errors import ConflictError
from bitfront.experiments.store.records import TableRecord
from bitfront.latency_lut.cost_model import CostModel, compile_costs
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.table import Table
from bitfront.supernet.space import SearchSpace


def compiled_costs(run: Run, device: Device, space: SearchSpace) -> CostModel:
    """The costs of every candidate of ``space``, which is restricted to what ``device`` executes.

    Raises:
        InvalidTableError, CorruptFileError: an earlier table can not be used.
    """
    path = table_path(run.home, device.name, run.own_device_options(), space.hash())
    existed = path.exists()
    with told_warnings(run.reporter.say):
        table = device.table(space, path, run.rng("table"), run.progress(f"{device.name} table"))
    digest = _digest(table)
    _refuse_other_costs(run, digest)
    run.store.put_table(TableRecord(digest, device.name, space.hash(), str(path), dict(table.provenance)))
    run.store.link(run.experiment_id, table_id=digest)
    run.reporter.say(
        f"{'found' if existed else 'made'} the table of {device.name}: {len(table.entries)} different blocks"
    )
    return compile_costs(space, device, table)


def _refuse_other_costs(run: Run, digest: str) -> None:
    """A search that has begun with one table can not go on with another: its candidates would not compare."""
    before = run.store.get(run.experiment_id).table_id
    if before not in (None, digest) and run.store.last_generation(run.experiment_id) is not None:
        raise ConflictError(
            f"the search of {run.experiment_id} began with table {before}, but the device now has {digest}: "
            "put the old file back, or launch the experiment anew"
        )


def _digest(table: Table) -> str:
    entries = {key: dict(row) for key, row in table.entries.items()}
    correction = {cost: [c.offset, c.scale] for cost, c in table.correction.items()}
    described: list[object] = [table.device, table.space_hash, entries, correction]
    if table.borders:  # tables without any keep the name that experiments know them by
        described.append({key: dict(row) for key, row in table.borders.items()})
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
