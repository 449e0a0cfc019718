"""Devices in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bitfront.experiments.pace import duration

if TYPE_CHECKING:
    from bitfront.experiments.device_import import Imported
    from bitfront.experiments.device_profile import Profiled

Pairs = Sequence[Sequence[str]]
"""[weight format, activation format] pairs."""

TRUST = ("correction_networks", "correction_error", "networks_tau_with_themselves")
"""What a measured table's provenance says of how far it can be trusted."""

_HOW = {"measured": "measured on this machine", "modelled": "modelled", "imported": "imported"}


def kind_in_words(kind: str) -> str:
    """How a device comes to its numbers."""
    return _HOW[kind]


def formats_in_words(formats: Mapping[str, Pairs]) -> str:
    """What a device executes; operators that execute the same are told of together."""
    by_words: dict[str, list[str]] = {}
    for op, pairs in formats.items():
        if pairs:
            by_words.setdefault(_pairs(pairs), []).append(op)
    parts = [
        f"{'all layers' if len(ops) == len(formats) else ', '.join(ops)}: {text}" for text, ops in by_words.items()
    ]
    return "; ".join(parts) or "nothing"


def gains_in_words(gains: Mapping[str, Mapping[tuple[str, str], float]]) -> str:
    """How much faster than fp32 one layer of each operator runs in other formats: `RuntimeDevice.layer_gains`."""
    from bitfront.latency_lut.one_layer import REPRESENTATIVES

    parts = []
    for op, layer in REPRESENTATIVES.items():
        told = [_gain(pair, gain) for pair, gain in gains.get(op, {}).items() if pair != ("fp32", "fp32")]
        if told:
            shape = f"{op}({layer.in_channels}>{layer.out_channels},k{layer.kernel},{layer.in_size}px)"
            parts.append(f"{shape} {', '.join(told)}")
    return "; ".join(parts)


def _gain(pair: tuple[str, str], gain: float) -> str:
    weight, activation = pair
    name = weight if weight == activation else f"{weight} with {activation}"
    return f"{name} {gain:.1f}x faster" if gain >= 1 else f"{name} {1 / gain:.1f}x slower"


def _pairs(pairs: Pairs) -> str:
    weights, activations = (sorted({pair[i] for pair in pairs}) for i in (0, 1))
    if all(weight == activation for weight, activation in pairs):
        return f"{' or '.join(weights)} for weights and activations alike"
    if len(pairs) == len(weights) * len(activations):
        return f"weights {', '.join(weights)} with activations {', '.join(activations)}, in any pair"
    return ", ".join(f"{weight} with {activation}" for weight, activation in sorted(map(tuple, pairs)))


def profile_in_words(done: Profiled) -> Iterator[str]:
    """What was made or found, and how far it can be trusted."""
    table = done.table
    blocks = f"{len(table.entries):,} different blocks"
    if table.borders:
        blocks += f" and {len(table.borders):,} borders between formats"
    yield f"{done.how} the table of {table.device}: {blocks}, in {duration(done.seconds)}"
    yield from trust_in_words(table.provenance)


def import_in_words(done: Imported) -> Iterator[str]:
    """What was taken from a file."""
    table, read = done.table, done.read
    words = f"imported {table.device} from {done.format_name}: {len(table.entries):,} entries"
    if table.borders:
        words += f", {len(table.borders):,} borders between formats"
    yield f"{words}; costs: {', '.join(table.costs)}"
    if read.calls:
        yield f"they were derived from {len(read.calls):,} raw times of calls"
        yield from trust_in_words(table.provenance)
    if read.ignored:
        yield f"{read.ignored:,} rows are of no use to the space, and were left out"
    full = [name for name, (covered, every) in done.slots.items() if covered == every]
    if len(full) < len(done.slots):
        yield "what it does not cover is left out of searches, or estimated with the option 'interpolate: true':"


def trust_in_words(provenance: Mapping[str, Any]) -> Iterator[str]:
    """How well networks are predicted, beside how well they repeat themselves; nothing where nobody measured."""
    if (error := provenance.get("correction_error")) is not None:
        tau = provenance.get("networks_tau_with_themselves")
        own = "" if tau is None else f"; measured twice, they agree with themselves to a Kendall tau of {tau:.3f}"
        networks = provenance.get("correction_networks")
        yield f"{networks} whole networks correct the sums of blocks, which miss by {error:.1%} in the mean{own}"
