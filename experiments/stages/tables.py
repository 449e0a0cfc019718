"""Stage 4b: the cost table of each device, profiled or computed once per device, options and space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from bitfront.experiments.device_places import table_path
from bitfront.experiments.run import Run
from bitfront.experiments.stages.devices_at_hand import profiled
from bitfront.experiments.store.errors import ConflictError
from bitfront.experiments.store.records import TableRecord
from bitfront.latency_lut.cost_model import CostModel, compile_costs
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.table import Table
from bitfront.search.devices import restrict_to_all
from bitfront.search.shared_architecture import SharedArchitecture
from bitfront.supernet.space import SearchSpace


def searched_space(run: Run, space: SearchSpace, devices: Mapping[str, Device]) -> SearchSpace:
    """``space`` as far as it is searched: what all devices execute, or what each executes with its own policy.

    Raises:
        UnsupportedError: the devices leave nothing of it.
        SpecError: a fixed gene does not exist, or nothing is left of it.
    """
    if run.spec.has_policies_per_device:
        own = {name: run.restrict(device.restrict(space)) for name, device in devices.items()}
        return SharedArchitecture(own)
    return run.restrict(restrict_to_all(space, devices))


def compiled_costs(run: Run, devices: Mapping[str, Device], space: SearchSpace) -> dict[str, CostModel]:
    """By its name in the spec, the costs on each device of every network of ``space`` that it may have to run.

    A device's table is that of all it executes itself, so that it does not depend on who else takes part, and
    experiments with other devices find it.

    Raises:
        InvalidTableError, CorruptFileError: an earlier table can not be used.
        ConflictError: the search has begun with other costs.
    """
    own = {name: one.restrict(space) for name, one in devices.items()}
    tables = {name: _table(run, name, device, own[name]) for name, device in devices.items()}
    _link(run, {name: _digest(table) for name, table in tables.items()})
    shared = len(devices) > 1 and not run.spec.has_policies_per_device
    compiled = dict.fromkeys(devices, restrict_to_all(space, devices)) if shared else own
    return {name: compile_costs(compiled[name], devices[name], table) for name, table in tables.items()}


def _table(run: Run, name: str, device: Device, space: SearchSpace) -> Table:
    """The table of a device for a space that is restricted to it, recorded."""
    path = table_path(run.home, device.name, run.own_device_options(name), space.hash())
    existed = path.exists()
    # Of several devices each has a generator of its own, so that its profile does not depend on the others.
    rng = run.rng("table" if run.spec.device else f"table of {name}")
    table = profiled(run, name, device, space, path, rng)
    digest = _digest(table)
    _refuse_other_costs(run, name, digest)
    run.store.put_table(TableRecord(digest, device.name, space.hash(), str(path), dict(table.provenance)))
    run.reporter.say(
        f"{'found' if existed else 'made'} the table of {name}: {len(table.entries)} different blocks"
    )
    return table


def _link(run: Run, digests: Mapping[str, str]) -> None:
    if run.spec.device:
        run.store.link(run.experiment_id, table_id=digests[run.spec.device.name], owner=run.owner)
    else:
        run.store.link(run.experiment_id, table_ids=digests, owner=run.owner)


def _refuse_other_costs(run: Run, name: str, digest: str) -> None:
    """A search that has begun with one table can not go on with another: its candidates would not compare."""
    experiment = run.store.get(run.experiment_id)
    before = experiment.table_id or experiment.table_ids.get(name)
    if before not in (None, digest) and run.store.last_generation(run.experiment_id) is not None:
        raise ConflictError(
            f"the search of {run.experiment_id} began with table {before}, but {name} now has {digest}: "
            "put the old file back, or launch the experiment anew"
        )


def _digest(table: Table) -> str:
    entries = {key: dict(row) for key, row in table.entries.items()}
    correction = {cost: [c.offset, c.scale] for cost, c in table.correction.items()}
    described: list[object] = [table.device, table.space_hash, entries, correction]
    if table.borders:  # tables without any keep the name that experiments know them by
        described.append({key: dict(row) for key, row in table.borders.items()})
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
