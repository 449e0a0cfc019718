"""BitFusion as the simulator models it that its authors released (Sharma et al., ISCA 2018)."""

from __future__ import annotations

import numpy as np

from bitfront.latency_lut.bitfusion_profile import Energies, Profile, dram_cycles
from bitfront.latency_lut.bitfusion_tiles import OUTPUTS, PARTIAL_SUM_BITS, Ints, Rows, padded


class Released(Profile):
    """Weights and outputs travel and are stored padded to the array; 6 bits are stored as 6."""

    name = "released"
    source = "Sharma et al., Bit Fusion, ISCA 2018"
    energies = Energies(
        core=0.2351,
        leakage=0.0,  # only dynamic energy is counted
        read={"weights": 0.0214e-3, "activations": 0.0595e-3, "outputs": 0.0332e-3},
        write={"weights": 0.0289e-3, "activations": 0.1137e-3, "outputs": 0.0731e-3},
        dram=15e-3,
    )

    def moved_bits(self, rows: Rows) -> dict[str, Ints]:
        """Padded to whole lanes of inputs and whole columns of outputs."""
        return {
            "weights": padded(rows.depth, rows.lanes) * rows.oc * rows.weight_bits,
            "activations": rows.taken * rows.ic * rows.b * rows.activation_bits,
            "outputs": rows.images_and_places * padded(rows.oc, OUTPUTS) * PARTIAL_SUM_BITS,
        }

    def occupied_bits(self, rows: Rows) -> dict[str, Ints]:
        """As moved."""
        return self.moved_bits(rows)

    def overlapped_cycles(self, reads: Ints, writes: Ints, load: Ints, store: Ints) -> Ints:
        """One transfer of all that is moved in the meantime."""
        return dram_cycles(reads + writes - load - store)

    def array_bits(self, rows: Rows) -> dict[str, Ints]:
        """In the stationary order that moves the fewest padded bits."""
        places = rows.images_and_places
        w, a, s = rows.weight_bits, rows.activation_bits, PARTIAL_SUM_BITS
        outputs = padded(rows.oc, OUTPUTS)
        inputs = np.where(
            rows.from_image, padded(rows.depth, rows.lanes), padded(rows.ic, rows.lanes) * rows.kernel**2
        )
        padded_bits = [
            inputs * places * (a + outputs * (w + s)),  # input stationary
            outputs * places * (s + inputs * (a + w)),  # output stationary
            inputs * outputs * (w + places * (a + s)),  # weight stationary
        ]
        order = np.argmin(padded_bits, axis=0)
        every, tiles = rows.depth * places * rows.oc, rows.tiles
        return {
            "weights": tiles * w * np.choose(order, [every, every, rows.depth * rows.oc]),
            "activations": tiles * a * np.choose(order, [rows.depth * places, every, every]),
            "outputs": tiles * s * np.choose(order, [every, places * rows.oc, every]),
        }


RELEASED = Released()
