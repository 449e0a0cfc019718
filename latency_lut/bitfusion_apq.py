"""BitFusion as APQ's published table has it (Wang et al., CVPR 2020, batch 1): every entry, to the cycle.

The table gives results only. The rules below were found by fitting them to it: they reproduce all cycles exactly
and all energies to rounding, and refuse just the layers that the table leaves out (7x7 depthwise convolutions with
4-bit activations, whose smallest tile outgrows the weight buffer).
"""

from __future__ import annotations

import numpy as np

from bitfront.latency_lut.bitfusion_profile import Energies, Profile, dram_cycles
from bitfront.latency_lut.bitfusion_tiles import OUTPUTS, PARTIAL_SUM_BITS, Ints, Rows, fused_bits, padded

_OUTPUT_NJ = 0.09250146875e-3


class APQ(Profile):
    """DRAM moves bare tensors; the buffers hold them padded to the array, at the width that it computes with.

    The energies per bit are those of 32-bit accesses, divided by 32.
    """

    name = "apq"
    source = "Wang et al., APQ, CVPR 2020: fitted to its published table"
    energies = Energies(
        core=0.4766518,
        leakage=0.433014704,
        # The table shows the sum of a read and a write of outputs, as they only come in pairs.
        read={"weights": 0.02136565625e-3, "activations": 0.059474375e-3, "outputs": _OUTPUT_NJ / 2},
        write={"weights": 0.02891615625e-3, "activations": 0.1137040625e-3, "outputs": _OUTPUT_NJ / 2},
        dram=15e-3,
    )

    def moved_bits(self, rows: Rows) -> dict[str, Ints]:
        """Nothing is padded."""
        return {
            "weights": rows.depth * rows.oc * rows.weight_bits,
            "activations": rows.taken * rows.ic * rows.b * rows.activation_bits,
            "outputs": rows.images_and_places * rows.oc * PARTIAL_SUM_BITS,
        }

    def occupied_bits(self, rows: Rows) -> dict[str, Ints]:
        """Padded to whole lanes of inputs and whole columns of outputs; 6 bits take 8."""
        outputs = padded(rows.oc, OUTPUTS)
        places = np.where(rows.from_image, rows.o**2, rows.taken)
        inputs = np.where(rows.from_image, rows.steps * rows.lanes, padded(rows.ic, rows.lanes))
        return {
            "weights": rows.steps * rows.lanes * outputs * fused_bits(rows.weight_bits),
            "activations": places * inputs * rows.b * fused_bits(rows.activation_bits),
            "outputs": rows.images_and_places * outputs * PARTIAL_SUM_BITS,
        }

    def overlapped_cycles(self, reads: Ints, writes: Ints, load: Ints, store: Ints) -> Ints:
        """Reading and writing take whole cycles each, the ends included."""
        return dram_cycles(reads) + dram_cycles(writes) - dram_cycles(load) - dram_cycles(store)

    def array_bits(self, rows: Rows) -> dict[str, Ints]:
        """Outputs or weights stay in the array, whichever takes less energy.

        Columns share an activation. Either each output is read and written once and each product reads its weight,
        or each weight is read once a tile and partial sums are read and written in every cycle.
        """
        tiles, places, outputs = rows.tiles, rows.images_and_places, rows.images_and_places * rows.oc
        shared = rows.depth * places * -(-rows.oc // OUTPUTS)
        weights = tiles * rows.weight_bits * rows.depth * rows.oc
        sums = tiles * PARTIAL_SUM_BITS * outputs
        read = self.energies.read["weights"]
        weights_stay = weights * (places - 1) * read > sums * (rows.steps - 1) * _OUTPUT_NJ
        return {
            "weights": np.where(weights_stay, weights, weights * places),
            "activations": tiles * rows.activation_bits * shared,
            "outputs": np.where(weights_stay, sums * rows.steps, sums),
        }


AS_IN_APQ = APQ()
