"""What a manifest promises of an exported network: what was predicted, what was measured, and on which device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.details import tables_of
from bitfront.experiments.run import Run
from bitfront.experiments.store.records import Candidate, FrontMember
from bitfront.search.constraints import qualified

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Network:
    """One of a candidate's networks: whose policy it has (`networks.ONE`: all devices'), and its genome."""

    candidate: Candidate
    owner: str
    genome: NDArray[np.uint8]

    @property
    def label(self) -> str:
        """For people."""
        return f"candidate {self.candidate.id}{f' for {self.owner}' if self.owner else ''}"


def promises(
    run: Run, network: Network, tuned_top1: float | None, tested: Mapping[str, float | None]
) -> dict[str, Any]:
    """All that is known of the network in a file, for its manifest.

    ``tuned_top1``: its validation accuracy where it was fine-tuned after the search measured it; ``tested``: what
    the test of the file gave.
    """
    members = {member.candidate.id: member for member in run.store.front(run.experiment_id)}
    member = members.get(network.candidate.id)
    searched = member.top1_validation if member else None
    if member and network.owner:
        searched = member.by_device.get(f"top1@{network.owner}")
    return {
        "predicted": _of_owner(network.candidate.predicted, network.owner),
        "measured": {
            "top1_validation": searched if tuned_top1 is None else tuned_top1,
            "top1_validation_searched": searched,
            **_of_owner(_latencies(run, member), network.owner),
            **tested,
        },
        **_provenance(run, network.owner),
    }


def _latencies(run: Run, member: FrontMember | None) -> dict[str, float | None]:
    """What was measured of a member, by the name of the metric; None where nothing was."""
    if run.spec.device:
        return {"latency_ms": member.latency_ms if member else None}
    metrics = [qualified("latency_ms", name) for name in run.spec.devices]
    return {name: member.by_device.get(name) if member else None for name in metrics}


def _of_owner(values: Mapping[str, T], owner: str) -> dict[str, T]:
    """Of one device's network its own metrics, by their plain names; all, where it serves every device."""
    parts = {name: name.partition("@") for name in values}
    return {
        base if owner else name: values[name]
        for name, (base, _, of) in parts.items()
        if of == owner or not owner or not of
    }


def _provenance(run: Run, owner: str) -> dict[str, Any]:
    """Where the costs of the network come from: of its device, or by name of all that it serves.

    What a table was measured on, and when, is the table's to say; what the device is now only where there is none.
    """
    tables = tables_of(run.store, run.store.get(run.experiment_id))
    found = {}
    for name, device in run.devices().items():
        table = tables.get(device.name if run.spec.device else name)
        found[name] = {"name": device.name, **(table.provenance if table else device.provenance())}
    if run.spec.devices and not owner:
        return {"devices": found}
    return {"device": found[owner] if owner else next(iter(found.values()))}
