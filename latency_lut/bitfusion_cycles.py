"""Cycles, traffic and energy of convolutions on BitFusion.

This follows the cycle model of the simulator that the authors of BitFusion released: for every tiling and every
order of the five loops over tiles, count compute cycles and DRAM traffic, and take the schedule with the fewest
cycles, then the least energy. Arrays over schedules have shape (orders, rows), see `bitfusion_tiles.Rows`. What
published models of it differ in is a `bitfusion_profile.Profile`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.bitfusion_profile import Profile, dram_cycles, energy_nj
from bitfront.latency_lut.bitfusion_released import RELEASED
from bitfront.latency_lut.bitfusion_tiles import BUFFER_BITS, OUTPUTS, TENSORS, Convolution, Ints, Rows, tilings
from bitfront.supernet.errors import UnsupportedError

CLOCK_HZ = 500e6

_CHUNK = 128  # convolutions whose schedules are held in memory at one time

# Which loops over tiles change which part of a tensor is needed. The two loops over the output map have equal
# tile counts and index the same tensors, so both are called "o".
_INDEXED_BY = {"weights": {"ic", "oc"}, "activations": {"b", "o", "ic"}, "outputs": {"b", "o", "oc"}}


@dataclass(frozen=True, slots=True)
class Cost:
    """What convolutions cost, each of shape (n,), for the whole batch.

    ``cycles`` include ``stall_cycles``, in which the array waits for DRAM; ``energy_nj`` is all that the profile
    counts.
    """

    cycles: Ints
    stall_cycles: Ints
    dram_read_bits: Ints
    dram_write_bits: Ints
    energy_nj: NDArray[np.float64]

    def at(self, positions: NDArray[np.int64]) -> Cost:
        """The costs of some of the convolutions, in that order."""
        return Cost(*(getattr(self, field.name)[positions] for field in fields(self)))

    @property
    def stall_share(self) -> NDArray[np.float64]:
        """Share of the cycles in which the array waits for DRAM, in [0, 1)."""
        return self.stall_cycles / self.cycles

    @property
    def dram_bound(self) -> NDArray[np.bool_]:
        """Whether moving the data takes longer than computing; else the convolution is compute-bound."""
        return dram_cycles(self.dram_read_bits + self.dram_write_bits) > self.cycles - self.stall_cycles


@dataclass(frozen=True, slots=True)
class _Traffic:
    """DRAM traffic of one tensor in bits and the part of it that is held at once, each (orders, rows)."""

    bits: Ints
    held: Ints


def simulate(convolutions: Sequence[Convolution], batch: int = 1, profile: Profile = RELEASED) -> Cost:
    """Each convolution under its best schedule for a batch of images.

    Raises:
        UnsupportedError: not even the smallest tile of a convolution fits the buffers.
    """
    starts = range(0, len(convolutions), _CHUNK)
    parts = [_simulate(convolutions[start : start + _CHUNK], batch, profile) for start in starts]
    return Cost(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Cost)))


def _simulate(convolutions: Sequence[Convolution], batch: int, profile: Profile) -> Cost:
    rows, traffic = _schedules(convolutions, batch, profile)
    compute = rows.tiles * rows.images_and_places * -(-rows.oc // OUTPUTS) * rows.steps
    moved = {name: traffic[name].bits for name in TENSORS}
    reads, writes = _total(moved), moved["outputs"]
    stalls = _stall_cycles(traffic, reads, writes, compute, profile)
    energy = energy_nj(profile.energies, compute, stalls, profile.array_bits(rows), moved)
    best = _best(rows.owner, compute + stalls, energy)
    counted = np.array([part.ravel()[best] for part in (compute + stalls, stalls, reads, writes)])
    return Cost(counted[0], counted[1], counted[2], counted[3], energy.ravel()[best])


def fitting(convolutions: Sequence[Convolution], batch: int = 1, profile: Profile = RELEASED) -> NDArray[np.bool_]:
    """Whether some tile of each convolution fits the buffers, shape (n,)."""
    rows = tilings(convolutions, batch)
    fitting = np.zeros(len(convolutions), dtype=bool)
    fitting[rows.owner[_fits(profile.occupied_bits(rows))]] = True
    return fitting


def _schedules(
    convolutions: Sequence[Convolution], batch: int, profile: Profile
) -> tuple[Rows, dict[str, _Traffic]]:
    rows = tilings(convolutions, batch)
    fits = _fits(profile.occupied_bits(rows))
    without = np.setdiff1d(np.arange(len(convolutions)), rows.owner[fits])
    if len(without):
        raise UnsupportedError(
            f"no tile of {convolutions[without[0]]} fits half the buffers of BitFusion: use a smaller kernel"
        )
    rows = rows.where(fits)
    moved, occupied = profile.moved_bits(rows), profile.occupied_bits(rows)
    orders = _orders(batch)
    return rows, {name: _walk(name, moved[name], occupied[name], rows, orders) for name in TENSORS}


def _fits(occupied: dict[str, Ints]) -> NDArray[np.bool_]:
    """Whether a tile fits half of each buffer; the other half is filled meanwhile."""
    fits: NDArray[np.bool_] = np.all([occupied[name] <= BUFFER_BITS[name] // 2 for name in TENSORS], axis=0)
    return fits


def _orders(batch: int) -> list[tuple[str, ...]]:
    """Orders of the loops from the outermost to the innermost, without those that come to the same."""
    loops = ["o", "o", "ic", "oc"] if batch == 1 else ["b", "o", "o", "ic", "oc"]
    return sorted(set(itertools.permutations(loops)))


def _walk(name: str, moved: Ints, occupied: Ints, rows: Rows, orders: Sequence[tuple[str, ...]]) -> _Traffic:
    """From the inside out, a tensor is held over the loops that do not index it.

    Once its part outgrows half the buffer it is held no more, and every further loop fetches it again.
    """
    counts = {"b": rows.n_b, "o": rows.n_o, "ic": rows.n_ic, "oc": rows.n_oc}
    traffic = _Traffic(*np.empty((2, len(orders), len(moved)), dtype=np.int64))
    for i, order in enumerate(orders):
        times, held = np.ones((2, len(moved)), dtype=np.int64)
        is_held = np.ones(len(moved), dtype=bool)
        for loop in reversed(order):
            again = loop in _INDEXED_BY[name] or ~is_held
            times = np.where(again, times * counts[loop], times)
            is_held &= times * occupied <= BUFFER_BITS[name] // 2
            np.copyto(held, times, where=is_held)
        traffic.bits[i], traffic.held[i] = times * moved, held * moved
    return traffic


def _stall_cycles(
    traffic: dict[str, _Traffic], reads: Ints, writes: Ints, compute: Ints, profile: Profile
) -> Ints:
    """Cycles without computing: DRAM traffic beyond what computing hides, and the first load and last store."""
    load, store = _total({name: traffic[name].held for name in TENSORS}), traffic["outputs"].held
    overlapped = profile.overlapped_cycles(reads, writes, load, store)
    stalls: Ints = np.maximum(0, overlapped - compute) + dram_cycles(load) + dram_cycles(store)
    return stalls


def _total(tensors: dict[str, Ints]) -> Ints:
    total: Ints = np.sum([tensors[name] for name in TENSORS], axis=0)
    return total


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
