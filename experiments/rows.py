"""The measured front as people and programs read it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.spec_space import space_settings
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import FrontMember
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
    measured = {
        "top1": _column([m.top1_validation for m in members]),
        "top1_test": _column([m.top1_test for m in members]),
        "latency_ms": _column([m.latency_ms for m in members]),
    }
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
            "top1": member.top1_validation,
            "top1_test": member.top1_test,
            "latency_ms": member.latency_ms,
        },
        "dominated": member.dominated,
        "error": member.error,
    }


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
