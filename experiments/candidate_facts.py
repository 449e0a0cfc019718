"""What is known of one candidate: its network layer by layer, and what each block of it costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.details import tables_of
from bitfront.experiments.device_names import device_factory
from bitfront.experiments.networks import networks_of, policy_owners
from bitfront.experiments.rows import measured_values, policy, short_architecture, short_bits
from bitfront.experiments.spec_space import space_settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Candidate, Experiment
from bitfront.latency_lut.cost_model import compile_costs
from bitfront.latency_lut.device import Device
from bitfront.latency_lut.table import Table
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.layers import Block
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.settings import load_space

_MOST_TABLES = 16
_MOST_SPACES = 16

Networks = Mapping[str, NDArray[np.uint8]]
"""By device, or under ``""`` where one network serves all, a genome (n_genes,) of the space."""


def candidate_facts(store: Store, home: Path, experiment_id: str, candidate_id: int) -> dict[str, Any]:
    """A candidate as one JSON-able object.

    Keys: those of `candidate_row`; ``architecture``, ``bits``, ``genes`` (name to choice, of the first device
    where policies differ); ``layers``; ``costs`` (an entry for each block and device, as the device's table
    has it) and ``costs_missing`` (why they are not there); ``measured`` and ``dominated``, None where it is no
    measured member
    of the front.

    Raises:
        UnknownNameError: there is no such experiment or candidate.
    """
    experiment, candidate = store.get(experiment_id), store.candidate(experiment_id, candidate_id)
    space = _space(json.dumps(experiment.spec["space"], sort_keys=True))
    found = networks_of(space, policy_owners(experiment.spec), candidate.array[None])
    networks = {owner: genomes[0] for owner, genomes in found.items()}
    blocks = {owner: space.blocks(genome) for owner, genome in networks.items()}
    first = next(iter(networks))
    genes = space.decode(networks[first])
    costs, missing = _costs(store, home, experiment, space, networks)
    return {
        **candidate_row(candidate),
        "architecture": short_architecture(genes["resolution"], blocks[first]),
        "bits": "; ".join(f"{owner} {short_bits(own)}".strip() for owner, own in blocks.items()),
        "genes": genes,
        "layers": [layer for owner, own in blocks.items() for layer in layers(own, owner)],
        "costs": costs,
        "costs_missing": missing,
        **_measured(store, experiment_id, candidate),
    }


def candidate_row(candidate: Candidate) -> dict[str, Any]:
    """A candidate as one JSON-able object of a listing."""
    return {
        "candidate": candidate.id,
        "generation": candidate.generation,
        "genome": candidate.array.tolist(),
        "predicted": candidate.predicted,
        "on_front": candidate.on_front,
        "error": candidate.error,
    }


def layers(blocks: tuple[Block, ...], owner: str) -> list[dict[str, Any]]:
    """The entries of `rows.policy` with each layer's block, bits, weights and multiply-accumulate operations."""
    flat = [(block, layer) for block in blocks for layer in block.layers]
    return [
        {
            **row,
            "device": owner,
            "block": block.name,
            "weight_bits": FORMATS.get(layer.weight_format).storage_bits,
            "activation_bits": FORMATS.get(layer.activation_format).storage_bits,
            "weights": layer.weights,
            "macs": layer.macs,
        }
        for row, (block, layer) in zip(policy(blocks, owner), flat, strict=True)
    ]


def _measured(store: Store, experiment_id: str, candidate: Candidate) -> dict[str, Any]:
    names = list(candidate.predicted)
    for member in store.front(experiment_id):
        if member.candidate.id == candidate.id:
            measured = {**dict.fromkeys(names), **measured_values(member, names)}
            return {"measured": measured, "dominated": member.dominated}
    return {"measured": None, "dominated": None}


def _costs(
    store: Store, home: Path, experiment: Experiment, space: SearchSpace, networks: Networks
) -> tuple[list[dict[str, Any]], str]:
    """What blocks cost on each device, and why that is not known of some."""
    costs, missing = [], []
    tables = tables_of(store, experiment)
    for name, section in _devices(experiment.spec).items():
        if name not in tables:
            missing.append(f"{name} has no table yet")
            continue
        genome = networks.get(name, next(iter(networks.values())))
        try:
            device = device_factory(home, section["name"])(**section.get("options", {}))
            table = _table(Path(tables[name].path))
            table.require(device.name, space.hash(), tables[name].path)
            costs += _of_blocks(name, device, table, space, genome)
        except (BitfrontError, TypeError) as error:
            missing.append(f"of {name} they can not be read here ({type(error).__name__})")
    return costs, "; ".join(missing)


@lru_cache(maxsize=_MOST_SPACES)
def _space(section: str) -> SearchSpace:
    """The space of a stored spec's section, as JSON: a page of one candidate after another asks for the same."""
    return load_space(space_settings(json.loads(section)))


def _table(path: Path) -> Table:
    """The table in a file, read and checked again only where the file changed: it takes longer than the rest."""
    try:
        found = path.stat()
    except OSError:
        return Table.read(path)  # which says what is wrong
    return _table_of(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=_MOST_TABLES)
def _table_of(path: Path, changed_ns: int, size: int) -> Table:
    return Table.read(path)


def _of_blocks(
    name: str, device: Device, table: Table, space: SearchSpace, genome: NDArray[np.uint8]
) -> list[dict[str, Any]]:
    """An entry for each block that is there, in the network's order."""
    # Of one network alone, since the whole space would be tabulated for it.
    one = space.restrict({gene: (choice,) for gene, choice in space.decode(genome).items()})
    model = compile_costs(one, device, table)
    found = [(slot, int(rows[0])) for slot, rows in model.rows(genome[None])]
    return [
        {
            "device": name,
            "block": slot.name,
            "costs": dict(zip(model.names, costed.costs[row].tolist(), strict=True)),
            "estimated": bool(costed.estimated[row]),
        }
        for slot, (costed, row) in zip(space.slots, reversed(found), strict=True)
        if slot.active_if is None or genome[space.position[slot.active_if[0]]] >= slot.active_if[1]
    ]


def _devices(spec: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The device sections of a stored spec by name."""
    if spec.get("device"):
        section = spec["device"]
        section = {"name": section} if isinstance(section, str) else section
        return {section["name"]: section}
    return {name: {"name": one} if isinstance(one, str) else one for name, one in spec["devices"].items()}
