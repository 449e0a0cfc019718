"""The measured front as people and programs read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.networks import ONE, networks_of, policy_owners
from bitfront.experiments.spec_space import space_settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import FrontMember
from bitfront.search.constraints import base_metric, is_of_device
from bitfront.search.front import Front
from bitfront.supernet.genes import Choice, Genomes
from bitfront.supernet.layers import Block
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.settings import load_space


def read_front(store: Store, experiment_id: str) -> Front:
    """The members of the measured front with what was predicted and measured.

    ``top1`` is measured on the validation split, as it was predicted; ``top1_test`` is for the reader alone
    and takes no part in choosing.
    """
    members = store.front(experiment_id)
    spec = store.get(experiment_id).spec  # not validated: a front outlives changes of the spec's form
    space = load_space(space_settings(spec["space"]))
    names = members[0].candidate.predicted if members else dict.fromkeys(spec["objectives"], 0.0)
    predicted = {name: np.array([m.candidate.predicted[name] for m in members], np.float64) for name in names}
    found = [measured_values(member, list(names)) for member in members]
    kinds = dict.fromkeys(name for one in found for name in one)
    measured = {name: _column([one.get(name) for one in found]) for name in kinds}
    genomes = _genomes(members, space)
    ids = np.array([m.candidate.id for m in members], dtype=np.intp)
    return Front.of(spec["objectives"], genomes, predicted, measured, ids)


def front_rows(store: Store, experiment_id: str) -> list[dict[str, Any]]:
    """JSON-able objects, one per measured member, best predicted accuracy first.

    Keys: ``candidate``, ``genome``, ``architecture`` and ``bits`` (short texts), ``policy`` (one entry per
    layer), ``predicted``, ``measured`` (None where nothing was measured), ``dominated``, ``error``. Where each
    device has a policy of its own, ``policy`` has all of them, each entry with its ``device``.
    """
    spec = store.get(experiment_id).spec  # not validated: a front outlives changes of the spec's form
    space = load_space(space_settings(spec["space"]))
    members, owners = store.front(experiment_id), policy_owners(spec)
    networks = networks_of(space, owners, _genomes(members, space))
    rows = [
        _row(space, member, {owner: genomes[i] for owner, genomes in networks.items()})
        for i, member in enumerate(members)
    ]
    return sorted(rows, key=_accuracy, reverse=True)


def _genomes(members: Sequence[FrontMember], space: SearchSpace) -> Genomes:
    if not members:
        return np.empty((0, space.n_genes), dtype=np.uint8)
    return np.stack([member.candidate.array for member in members])


def _accuracy(row: Mapping[str, Any]) -> float:
    """Predicted accuracy, summed over the devices where they differ in it."""
    return float(sum(value for name, value in row["predicted"].items() if base_metric(name) == "top1"))


def short_architecture(resolution: Choice, blocks: tuple[Block, ...]) -> str:
    """Resolution, then per stage the kernels and hidden channels of its blocks: ``r16 5w24.3w16|7w40``.

    Stages of bottlenecks, whose output channels are a choice, too, begin with these: ``r128 256:3w64.3w88``.
    """
    stages: dict[str, list[str]] = {}
    for block in blocks:
        stage, dot, _ = block.name.partition(".block")
        if dot:
            spatial, names = block.layers[1], stages.setdefault(stage, [])
            chosen = f"{block.tail.out_channels}:" if block.kind == "bottleneck" and not names else ""
            names.append(f"{chosen}{spatial.kernel}w{spatial.out_channels}")
    return f"r{resolution} " + "|".join(".".join(names) for names in stages.values())


def short_bits(blocks: tuple[Block, ...]) -> str:
    """Mean weight and activation bits over layers, weighted by weights: ``w5.3 a6.8``."""
    from bitfront.supernet.quantization.formats import FORMATS

    layers = [layer for block in blocks for layer in block.layers]
    total = sum(layer.weights for layer in layers)
    weight = sum(FORMATS.get(layer.weight_format).storage_bits * layer.weights for layer in layers) / total
    activation = sum(FORMATS.get(layer.activation_format).storage_bits * layer.weights for layer in layers) / total
    return f"w{weight:.1f} a{activation:.1f}"


def _row(space: SearchSpace, member: FrontMember, networks: Mapping[str, NDArray[np.uint8]]) -> dict[str, Any]:
    """``networks``: by device, or under `ONE`, the genomes (n_genes,) of the member's networks."""
    blocks = {owner: space.blocks(genome) for owner, genome in networks.items()}
    first = next(iter(networks))
    return {
        "candidate": member.candidate.id,
        "genome": member.candidate.array.tolist(),
        "architecture": short_architecture(space.decode(networks[first])["resolution"], blocks[first]),
        "bits": "; ".join(f"{owner} {short_bits(own)}".strip() for owner, own in blocks.items()),
        "policy": [layer for owner, own in blocks.items() for layer in policy(own, owner)],
        "predicted": member.candidate.predicted,
        "measured": {
            **dict.fromkeys(member.candidate.predicted),
            **measured_values(member, list(member.candidate.predicted)),
        },
        "dominated": member.dominated,
        "error": member.error,
    }


def rows_of_device(rows: Sequence[Mapping[str, Any]], device: str) -> list[dict[str, Any]]:
    """`front_rows` of several devices as if there were but one: its metrics alone, by plain names."""
    return [
        {
            **row,
            **{kind: _of_device(row[kind], device) for kind in ("predicted", "measured")},
            "bits": _bits_of(row["bits"], device),
            "policy": [layer for layer in row["policy"] if layer.get("device", device) == device],
        }
        for row in rows
    ]


def _bits_of(bits: str, device: str) -> str:
    """Of ``phone w5.3 a6.8; cpu w8.0 a8.0`` those of one device."""
    own = [one for one in bits.split("; ") if one.startswith(f"{device} ")]
    return own[0].removeprefix(f"{device} ") if own else bits


def _of_device(values: Mapping[str, Any], device: str) -> dict[str, Any]:
    parts = {name: name.partition("@") for name in values}
    return {base: values[name] for name, (base, _, of) in parts.items() if of in ("", device)}


def measured_values(member: FrontMember, predicted: Sequence[str]) -> dict[str, float | None]:
    """What was measured, None where nothing was, under the names that the predicted metrics have."""
    of_devices = [name for name in predicted if is_of_device(name)]
    latencies = [name for name in of_devices if base_metric(name) == "latency_ms"]
    # Also where accuracy was not searched for: it is measured of each device's policy all the same.
    own = [name for name in (*of_devices, *member.by_device) if base_metric(name) == "top1"]
    accuracies = list(dict.fromkeys(own))
    accuracies += [name.replace("top1", "top1_test", 1) for name in accuracies]
    found = {name: member.by_device.get(name) for name in (*accuracies, *latencies)}
    if not accuracies:
        found = {"top1": member.top1_validation, "top1_test": member.top1_test, **found}
    return found if of_devices else {**found, "latency_ms": member.latency_ms}


def policy(blocks: tuple[Block, ...], owner: str = ONE) -> list[dict[str, Any]]:
    """One entry per layer: what it is, in which formats it runs, and on which device where policies differ."""
    return [
        {
            **({"device": owner} if owner else {}),
            "name": layer.name,
            "op": layer.op,
            "kernel": layer.kernel,
            "width": layer.out_channels,
            "weight_format": layer.weight_format,
            "activation_format": layer.activation_format,
        }
        for block in blocks
        for layer in block.layers
    ]


def _column(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
