"""From what calls took on a device to what blocks and borders cost there.

A block that is timed alone pays for taking its input and for giving its output; between neighbours it does not. A
chain of two blocks P and Q shows how much less they take together: the junction's saving
``T(P) + T(Q) - T(PQ)``, which depends on the tensor's shape and on the formats on both sides. A junction's four
savings (with two formats) are split into what the block before is relieved of, what the block after is relieved
of, and what a change of formats costs. Sums are then corrected by whole networks, which were timed alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from bitfront.latency_lut.bundle.profile import Times
from bitfront.latency_lut.correction import fit_correction, mean_relative_error
from bitfront.latency_lut.op_key import asked_for, border_key, handed_over, op_key
from bitfront.latency_lut.profile_plan import Chain, Shape, call_key, input_shape, is_network, output_shape
from bitfront.latency_lut.table import Correction, InvalidTableError
from bitfront.supernet.layers import Block

LATENCY = "latency_ms"

# Weak against measurements: it decides only what they leave open, in favour of no border and of equal shares.
_PREFERENCE = 1e-4
_MOST_OFFENDERS = 5
_LEAST_NETWORKS = 3


@dataclass(frozen=True)
class Derived:
    """Costs in ms: ``entries`` by op key, ``borders`` by border key, and how well they sum to whole networks.

    ``facts`` (JSON-able): ``correction_networks``, ``correction_error`` (mean relative error on the networks that
    the correction was fitted to) and ``networks_tau_with_themselves`` (Kendall's tau between the networks' even
    and odd rounds; None where there is no order to speak of).
    """

    entries: dict[str, float]
    borders: dict[str, float]
    correction: Correction
    facts: dict[str, float | int | None]


@dataclass
class _Junction:
    """Savings in ms at one shape by (format before, format after), and how they are split."""

    savings: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    borders: dict[tuple[str, str], float] = field(default_factory=dict)


def derive(times: Mapping[str, Times], calls: Mapping[str, Chain]) -> Derived:
    """Costs of all single blocks among ``calls`` (call key to blocks) out of the calls' ``times``.

    Raises:
        InvalidTableError: a call has no time or is none of block, pair and network; a block of a pair or network
            was not timed alone; a network took no time; or there are too few networks. The first are listed.
    """
    _refuse(times, calls)
    alone = {key: times[key].latency_ms for key, chain in calls.items() if len(chain) == 1}
    junctions = _junctions(times, calls, alone)
    entries = {key: _between(calls[key][0], alone[key], junctions) for key in alone}
    borders = {
        border_key(*shape, *formats): cost
        for shape, junction in junctions.items()
        for formats, cost in junction.borders.items()
        if cost > 0
    }
    networks = [key for key, chain in calls.items() if is_network(chain)]
    sums = np.array([network_sum(calls[key], entries, borders) for key in networks])
    measured = np.array([times[key].latency_ms for key in networks])
    correction = fit_correction(sums, measured)
    facts = {
        "correction_networks": len(networks),
        "correction_error": mean_relative_error(correction.offset + correction.scale * sums, measured),
        "networks_tau_with_themselves": repeatability([times[key] for key in networks]),
    }
    return Derived(entries, borders, correction, facts)


def network_sum(blocks: Sequence[Block], entries: Mapping[str, float], borders: Mapping[str, float]) -> float:
    """Cost of a chain of blocks, before any correction."""
    total = sum(entries[op_key(block)] for block in blocks)
    for before, after in itertools.pairwise(blocks):
        key = border_key(*output_shape(before), handed_over(before), asked_for(after))
        total += borders.get(key, 0.0)
    return total


def repeatability(times: Sequence[Times]) -> float | None:
    """Kendall's tau between even and odd rounds: no prediction can be asked to do better.

    None where there is no order to speak of: fewer than two different calls.
    """
    from scipy.stats import kendalltau  # takes half a second to load, and few who make costs of times ask this

    even, odd = np.array([one.even_ms for one in times]), np.array([one.odd_ms for one in times])
    if len(times) < 2 or np.ptp(even) == 0 or np.ptp(odd) == 0:
        return None
    return float(kendalltau(even, odd).statistic)


def _refuse(times: Mapping[str, Times], calls: Mapping[str, Chain]) -> None:
    offenders = list(_offenders(times, calls))
    if offenders:
        listed = "; ".join(offenders[:_MOST_OFFENDERS])
        raise InvalidTableError(
            f"no costs can be derived from {len(calls)} calls, for {len(offenders)} reasons, the first: {listed}. "
            "Profile the device to the end"
        )
    networks = sum(is_network(chain) for chain in calls.values())
    if networks < _LEAST_NETWORKS:
        raise InvalidTableError(
            f"{networks} whole networks were timed, but sums of blocks are corrected by {_LEAST_NETWORKS} at "
            "least: time more"
        )


def _offenders(times: Mapping[str, Times], calls: Mapping[str, Chain]) -> Iterator[str]:
    alone = {key for key, chain in calls.items() if len(chain) == 1}
    for key, chain in calls.items():
        if key not in times:
            yield f"no time of {key}"
        elif is_network(chain) and times[key].latency_ms <= 0:
            yield f"a network takes {times[key].latency_ms} ms: {key}"
        elif len(chain) > 2 and not is_network(chain):
            yield f"{len(chain)} blocks that are no whole network: {key}"
    for key in dict.fromkeys(op_key(block) for chain in calls.values() for block in chain):
        if key not in alone:
            yield f"no time of this block alone: {key}"


def _junctions(
    times: Mapping[str, Times], calls: Mapping[str, Chain], alone: Mapping[str, float]
) -> dict[Shape, _Junction]:
    junctions: dict[Shape, _Junction] = {}
    for key, chain in calls.items():
        if len(chain) == 2 and not is_network(chain):
            before, after = chain
            saving = alone[call_key([before])] + alone[call_key([after])] - times[key].latency_ms
            junction = junctions.setdefault(output_shape(before), _Junction())
            junction.savings.setdefault((handed_over(before), asked_for(after)), []).append(saving)
    for junction in junctions.values():
        _split(junction)
    return junctions


def _split(junction: _Junction) -> None:
    """saving(f, t) = before(f) + after(t) - border(f, t), with border(f, f) = 0 and no border below 0."""
    pairs = list(junction.savings)
    befores, afters = (sorted({pair[i] for pair in pairs}) for i in (0, 1))
    borders = [pair for pair in pairs if pair[0] != pair[1]]
    names = [*(("before", f) for f in befores), *(("after", t) for t in afters), *borders]
    column = {name: i for i, name in enumerate(names)}
    rows, right = [], []
    for f, t in pairs:
        row = np.zeros(len(names))
        row[[column["before", f], column["after", t]]] = 1
        if f != t:
            row[column[f, t]] = -1
        rows.append(row)
        right.append(float(np.median(junction.savings[f, t])))
    rows += _preferences(column, sorted(set(befores) & set(afters)), borders)
    right += [0.0] * (len(rows) - len(right))
    lowest = [-np.inf] * (len(befores) + len(afters)) + [0.0] * len(borders)
    solution = lsq_linear(np.array(rows), np.array(right), (lowest, np.inf), method="bvls").x
    junction.before.update({f: float(solution[column["before", f]]) for f in befores})
    junction.after.update({t: float(solution[column["after", t]]) for t in afters})
    junction.borders.update({pair: float(solution[column[pair]]) for pair in borders})


def _preferences(
    column: Mapping[tuple[str, str], int], both: Sequence[str], borders: Sequence[tuple[str, str]]
) -> list[NDArray[np.float64]]:
    rows = []
    for name in both:
        row = np.zeros(len(column))
        row[column["before", name]], row[column["after", name]] = _PREFERENCE, -_PREFERENCE
        rows.append(row)
    for pair in borders:
        row = np.zeros(len(column))
        row[column[pair]] = _PREFERENCE
        rows.append(row)
    return rows


def _between(block: Block, alone_ms: float, junctions: Mapping[Shape, _Junction]) -> float:
    """What a block costs between neighbours of its own formats; noise may leave less than nothing of it."""
    relief = 0.0
    if block.kind != "stem" and (here := junctions.get(input_shape(block))):
        relief += here.after.get(asked_for(block), 0.0)
    if block.kind != "head" and (here := junctions.get(output_shape(block))):
        relief += here.before.get(handed_over(block), 0.0)
    return max(0.0, alone_ms - relief)
