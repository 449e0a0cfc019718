"""The measured front as people and programs read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.spec_space import space_settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import FrontMember
from bitfront.search.constraints import base_metric, is_of_device
from bitfront.search.front import Front
from bitfront.supernet.genes import Choice
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
    found = [_measured(member, list(names)) for member in members]
    measured = {name: _column([one[name] for one in found]) for name in (found[0] if found else ())}
    genomes = np.array([m.candidate.array for m in members], dtype=np.uint8).reshape(-1, space.n_genes)
    ids = np.array([m.candidate.id for m in members], dtype=np.intp)
    return Front.of(spec["objectives"], genomes, predicted, measured, ids)


def front_rows(store: Store, experiment_id: str) -> list[dict[str, Any]]:
    """JSON-able objects, one per measured member, best predicted accuracy first.

    Keys: ``candidate``, ``genome``, ``architecture`` and ``bits`` (short texts), ``policy`` (one entry per
    layer), ``predicted``, ``measured`` (None where nothing was measured), ``dominated``, ``error``.
    """
    spec = store.get(experiment_id).spec  # not validated: a front outlives changes of the spec's form
    space = load_space(space_settings(spec["space"]))
    rows = [_row(space, member) for member in store.front(experiment_id)]
    return sorted(rows, key=lambda row: -row["predicted"].get("top1", 0.0))


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


def _row(space: SearchSpace, member: FrontMember) -> dict[str, Any]:
    genome = member.candidate.array
    blocks = space.blocks(genome)
    return {
        "candidate": member.candidate.id,
        "genome": genome.tolist(),
        "architecture": short_architecture(space.decode(genome)["resolution"], blocks),
        "bits": short_bits(blocks),
        "policy": policy(blocks),
        "predicted": member.candidate.predicted,
        "measured": {
            **dict.fromkeys(member.candidate.predicted),
            **_measured(member, list(member.candidate.predicted)),
        },
        "dominated": member.dominated,
        "error": member.error,
    }


def rows_of_device(rows: Sequence[Mapping[str, Any]], device: str) -> list[dict[str, Any]]:
    """`front_rows` of several devices as if there were but one: its metrics alone, by plain names."""
    return [{**row, **{kind: _of_device(row[kind], device) for kind in ("predicted", "measured")}} for row in rows]


def _of_device(values: Mapping[str, Any], device: str) -> dict[str, Any]:
    parts = {name: name.partition("@") for name in values}
    return {base: values[name] for name, (base, _, of) in parts.items() if of in ("", device)}


def _measured(member: FrontMember, predicted: Sequence[str]) -> dict[str, float | None]:
    """What was measured, None where nothing was, under the names that the predicted metrics have."""
    found = {"top1": member.top1_validation, "top1_test": member.top1_test}
    of_devices = [name for name in predicted if is_of_device(name)]
    if not of_devices:
        return {**found, "latency_ms": member.latency_ms}
    latencies = [name for name in of_devices if base_metric(name) == "latency_ms"]
    return {**found, **{name: member.by_device.get(name) for name in latencies}}


def policy(blocks: tuple[Block, ...]) -> list[dict[str, Any]]:
    """One entry per layer: what it is and in which formats it runs."""
    return [
        {
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
