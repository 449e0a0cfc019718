"""Cycles, traffic and energy of convolutions on BitFusion.

This follows the cycle model of the simulator that the authors of BitFusion released: for every tiling and every
order of the five loops over tiles, count compute cycles and DRAM traffic, and take the schedule with the fewest
cycles, then the least energy. Arrays over schedules have shape (orders, rows), see `bitfusion_tiles.Rows`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.bitfusion_tiles import (
    BUFFER_BITS,
    OUTPUTS,
    PARTIAL_SUM_BITS,
    TENSORS,
    Convolution,
    Ints,
    Rows,
    padded,
    tilings,
)

CLOCK_HZ = 500e6
DRAM_BITS_PER_CYCLE = 192

# Which loops over tiles change which part of a tensor is needed. The two loops over the output map have equal
# tile counts and index the same tensors, so both are called "o".
_INDEXED_BY = {"weights": {"ic", "oc"}, "activations": {"b", "o", "ic"}, "outputs": {"b", "o", "oc"}}

_CORE_NJ_PER_CYCLE = 0.2351
_READ_NJ = {"weights": 0.0214e-3, "activations": 0.0595e-3, "outputs": 0.0332e-3}
_WRITE_NJ = {"weights": 0.0289e-3, "activations": 0.1137e-3, "outputs": 0.0731e-3}
_DRAM_NJ = 15e-3


@dataclass(frozen=True, slots=True)
class Cost:
    """What convolutions cost, each of shape (n,), for the whole batch.

    Cycles include stalls; the energy is dynamic, in nJ.
    """

    cycles: Ints
    stall_cycles: Ints
    dram_read_bits: Ints
    dram_write_bits: Ints
    energy_nj: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Traffic:
    """DRAM traffic of one tensor in bits and the part of it that is held at once, each (orders, rows)."""

    bits: Ints
    held: Ints


def simulate(convolutions: Sequence[Convolution], batch: int = 1) -> Cost:
    """Each convolution under its best schedule for a batch of images.

    Raises:
        UnsupportedError: not even the smallest tile of a convolution fits the buffers.
    """
    rows, tile_bits = tilings(convolutions, batch)
    orders = _orders(batch)
    traffic = {name: _walk(name, tile_bits[name], rows, orders) for name in TENSORS}
    compute = _compute_cycles(rows)
    stalls = _stall_cycles(traffic, compute)
    loads = sum((traffic[name].bits for name in TENSORS), np.zeros_like(stalls))
    stores = traffic["outputs"].bits
    energy = _energy_nj(rows, compute, traffic, loads + stores)
    best = _best(rows.owner, compute + stalls, energy)
    return Cost(
        (compute + stalls).ravel()[best],
        stalls.ravel()[best],
        loads.ravel()[best],
        stores.ravel()[best],
        energy.ravel()[best],
    )


def _orders(batch: int) -> list[tuple[str, ...]]:
    """Orders of the loops from the outermost to the innermost, without those that come to the same."""
    loops = ["o", "o", "ic", "oc"] if batch == 1 else ["b", "o", "o", "ic", "oc"]
    return sorted(set(itertools.permutations(loops)))


def _walk(name: str, tile_bits: Ints, rows: Rows, orders: Sequence[tuple[str, ...]]) -> _Traffic:
    """From the inside out, a tensor is held over the loops that do not index it.

    Once its part outgrows half the buffer it is held no more, and every further loop fetches it again.
    """
    counts = {"b": rows.n_b, "o": rows.n_o, "ic": rows.n_ic, "oc": rows.n_oc}
    traffic = _Traffic(*np.empty((2, len(orders), len(tile_bits)), dtype=np.int64))
    for i, order in enumerate(orders):
        bits, held, is_held = tile_bits, tile_bits.copy(), np.ones(len(tile_bits), dtype=bool)
        for loop in reversed(order):
            again = loop in _INDEXED_BY[name] or ~is_held
            bits = np.where(again, bits * counts[loop], bits)
            is_held &= bits <= BUFFER_BITS[name] // 2
            np.copyto(held, bits, where=is_held)
        traffic.bits[i], traffic.held[i] = bits, held
    return traffic


def _compute_cycles(rows: Rows) -> Ints:
    unrolled = -(-(rows.kernel**2 * rows.ic) // rows.lanes)
    by_channel = rows.kernel**2 * -(-rows.ic // rows.lanes)
    steps = np.where(rows.from_image, unrolled, by_channel)
    cycles: Ints = rows.tiles * rows.images_and_places * -(-rows.oc // OUTPUTS) * steps
    return cycles


def _stall_cycles(traffic: dict[str, _Traffic], compute: Ints) -> Ints:
    """Cycles without computing: DRAM traffic beyond what computing hides, and the first load and last store."""
    load = sum(traffic[name].held for name in TENSORS)
    store = traffic["outputs"].held
    moved = sum(traffic[name].bits for name in TENSORS) + traffic["outputs"].bits
    hidden = -(-(moved - load - store) // DRAM_BITS_PER_CYCLE)
    ends = -(-load // DRAM_BITS_PER_CYCLE) + -(-store // DRAM_BITS_PER_CYCLE)
    stalls: Ints = np.maximum(0, hidden - compute) + ends
    return stalls


def _energy_nj(rows: Rows, compute: Ints, traffic: dict[str, _Traffic], dram: Ints) -> NDArray[np.float64]:
    reads = _buffer_reads(rows)
    energy = compute * _CORE_NJ_PER_CYCLE + dram * _DRAM_NJ
    for name in TENSORS:
        energy += reads[name] * _READ_NJ[name] + traffic[name].bits * _WRITE_NJ[name]
    # Partial sums go back into the output buffer as often as they are read, and results leave it for DRAM.
    energy += reads["outputs"] * _WRITE_NJ["outputs"] + traffic["outputs"].bits * _READ_NJ["outputs"]
    return np.asarray(energy)


def _buffer_reads(rows: Rows) -> dict[str, Ints]:
    """Bits that the array reads from each buffer, in the stationary order that moves the fewest padded bits."""
    depth, places = rows.kernel**2 * rows.ic, rows.images_and_places
    w, a, s = rows.weight_bits, rows.activation_bits, PARTIAL_SUM_BITS
    outputs = padded(rows.oc, OUTPUTS)
    inputs = np.where(rows.from_image, padded(depth, rows.lanes), padded(rows.ic, rows.lanes) * rows.kernel**2)
    moved = [
        inputs * places * (a + outputs * (w + s)),  # input stationary
        outputs * places * (s + inputs * (a + w)),  # output stationary
        inputs * outputs * (w + places * (a + s)),  # weight stationary
    ]
    order = np.argmin(moved, axis=0)
    every, tiles = depth * places * rows.oc, rows.tiles
    return {
        "weights": tiles * w * np.choose(order, [every, every, depth * rows.oc]),
        "activations": tiles * a * np.choose(order, [depth * places, every, every]),
        "outputs": tiles * s * np.choose(order, [every, places * rows.oc, every]),
    }


def _best(owner: Ints, cycles: Ints, energy: NDArray[np.float64]) -> NDArray[np.intp]:
    """Flat position of each owner's best schedule: fewest cycles, then least energy. ``owner`` ascends."""
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    fewest = np.minimum.reduceat(cycles.min(0), first)
    candidates = np.flatnonzero(cycles == fewest[owner])
    owners = np.broadcast_to(owner, cycles.shape).ravel()[candidates]
    ranked = np.lexsort((energy.ravel()[candidates], owners))
    _, best = np.unique(owners[ranked], return_index=True)
    result: NDArray[np.intp] = candidates[ranked[best]]
    return result
