"""The networks that a candidate stands for: one or, where each device has its own policy, one a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bitfront.search.shared_architecture import SharedArchitecture
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

ONE = ""
"""The name of the network that serves all devices."""


def policy_owners(spec: Mapping[str, Any]) -> list[str]:
    """The devices of a stored spec that have policies of their own; none where there is one for all."""
    per_device = spec.get("search", {}).get("policies") == "per_device"
    return list(spec["devices"]) if per_device else []


def networks_of(space: SearchSpace, owners: Sequence[str], genomes: Genomes) -> dict[str, Genomes]:
    """By device, or under `ONE`, the genomes (n, genes of ``space``) of the networks of candidates."""
    if not owners or not len(genomes):
        return dict.fromkeys(owners or [ONE], genomes)
    return SharedArchitecture(dict.fromkeys(owners, space)).split(genomes)
