"""What the published models of BitFusion differ in: layout in the buffers, traffic, stalls and energy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.bitfusion_tiles import Ints, Rows

DRAM_BITS_PER_CYCLE = 192


@dataclass(frozen=True, slots=True)
class Energies:
    """Energy in nJ: of a computing cycle, of any cycle (leakage), and per bit of each buffer and of DRAM."""

    core: float
    leakage: float
    read: Mapping[str, float]
    write: Mapping[str, float]
    dram: float


class Profile(ABC):
    """One published model of BitFusion. ``source`` says who published it.

    Dictionaries hold one array per tensor ("weights", "activations", "outputs"), of shape (rows,).
    """

    name: str
    source: str
    energies: Energies

    @abstractmethod
    def moved_bits(self, rows: Rows) -> dict[str, Ints]:
        """Bits of each tensor that DRAM moves for one tile, one way."""

    @abstractmethod
    def occupied_bits(self, rows: Rows) -> dict[str, Ints]:
        """Bits of each buffer that one tile takes."""

    @abstractmethod
    def overlapped_cycles(self, reads: Ints, writes: Ints, load: Ints, store: Ints) -> Ints:
        """Cycles of DRAM traffic while the array computes.

        ``reads`` and ``writes`` are all traffic in bits, ``load`` the part read before the first tile is
        computed, ``store`` the part written after the last one; any shape.
        """

    @abstractmethod
    def array_bits(self, rows: Rows) -> dict[str, Ints]:
        """Bits that the array reads from each buffer over all tiles; outputs are written back as often."""


def dram_cycles(bits: Ints) -> Ints:
    """Cycles that the interface to DRAM takes for a transfer."""
    result: Ints = -(-bits // DRAM_BITS_PER_CYCLE)
    return result


def energy_nj(
    energies: Energies, compute: Ints, stalls: Ints, array: Mapping[str, Ints], moved: Mapping[str, Ints]
) -> NDArray[np.float64]:
    """Energy in nJ of whole schedules, from cycles, `Profile.array_bits` and DRAM traffic in bits."""
    dram = sum(moved.values()) + moved["outputs"]
    energy = compute * energies.core + (compute + stalls) * energies.leakage + dram * energies.dram
    for name, bits in moved.items():
        energy = energy + array[name] * energies.read[name] + bits * energies.write[name]
    # Partial sums go back into the output buffer as often as they are read, and results leave it for DRAM.
    energy += array["outputs"] * energies.write["outputs"] + moved["outputs"] * energies.read["outputs"]
    return np.asarray(energy)
