"""The tilings of convolutions on BitFusion.

BitFusion (Sharma et al., ISCA 2018) is a systolic array of 16 inputs x 32 outputs whose multipliers are fused
from 2-bit ones, so that fewer bits mean more products a cycle. A *row* is one tiling of one convolution: arrays
run over the rows of all convolutions at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

INPUTS, OUTPUTS = 16, 32
PARTIAL_SUM_BITS = 32
TENSORS = ("weights", "activations", "outputs")
BUFFER_BITS = {"weights": 64 * 8192, "activations": 32 * 8192, "outputs": 16 * 8192}

_MOST_BITS, _LEAST_BITS = 8, 2


@dataclass(frozen=True, slots=True)
class Convolution:
    """A dense convolution; a fully connected layer is one of kernel 1 and output size 1.

    ``out_size`` is the side of the output map. ``from_image``: the host unrolls the input (im2col), as for a
    network's first layer.
    """

    kernel: int
    out_size: int
    stride: int
    in_channels: int
    out_channels: int
    weight_bits: int
    activation_bits: int
    from_image: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """Tilings, every array of shape (rows,).

    ``owner`` is the convolution's number and ``lanes`` its inputs per cycle. A tile takes ``b`` images, ``o`` x
    ``o`` outputs, ``ic`` input and ``oc`` output channels; ``n_b`` and so on count the tiles along each.
    """

    owner: Ints
    kernel: Ints
    stride: Ints
    weight_bits: Ints
    activation_bits: Ints
    lanes: Ints
    from_image: Ints
    b: Ints
    o: Ints
    ic: Ints
    oc: Ints
    n_b: Ints
    n_o: Ints
    n_ic: Ints
    n_oc: Ints

    @property
    def tiles(self) -> Ints:
        """Number of tiles."""
        return self.n_b * self.n_o**2 * self.n_ic * self.n_oc

    @property
    def images_and_places(self) -> Ints:
        """Outputs of one tile per output channel."""
        return self.b * self.o**2

    @property
    def depth(self) -> Ints:
        """Products that an output sums up in one tile."""
        return self.kernel**2 * self.ic

    @property
    def steps(self) -> Ints:
        """Cycles that an output takes in one tile; im2col fills the lanes across the kernel's places."""
        by_place = self.kernel**2 * -(-self.ic // self.lanes)
        steps: Ints = np.where(self.from_image, -(-self.depth // self.lanes), by_place)
        return steps

    @property
    def taken(self) -> Ints:
        """Places of the input that one tile needs, per image and channel."""
        side = self.kernel + (self.o - 1) * self.stride
        taken: Ints = np.where(self.from_image, self.o**2 * self.kernel**2, side**2)
        return taken

    def where(self, keep: NDArray[np.bool_]) -> Rows:
        """The rows that are kept."""
        return Rows(*(getattr(self, field.name)[keep] for field in fields(self)))


def fusion(weight_bits: int, activation_bits: int) -> int:
    """Products that one fusion unit makes per cycle; 5 to 7 bits run as 8, and 3 as 4."""
    return (_MOST_BITS // max(activation_bits, _LEAST_BITS)) * (_MOST_BITS // max(weight_bits, _LEAST_BITS))


def fused_bits(bits: Ints) -> Ints:
    """Bits that an operand of so many bits takes in the array: 8 for 5 to 7, 4 for 3."""
    result: Ints = _MOST_BITS // (_MOST_BITS // np.maximum(bits, _LEAST_BITS))
    return result


def padded(values: Ints, multiple: Ints | int) -> Ints:
    """The values, rounded up to a multiple."""
    result: Ints = -(-values // multiple) * multiple
    return result


def tilings(convolutions: Sequence[Convolution], batch: int) -> Rows:
    """Every tiling of every convolution for a batch of images, whether its parts fit the buffers or not."""
    grids = [_grid(convolution, batch) for convolution in convolutions]
    owner = np.repeat(np.arange(len(grids)), [grid.shape[1] for grid in grids])
    tile = np.concatenate(grids, axis=1)
    full = np.array([(batch, c.out_size, c.in_channels, c.out_channels) for c in convolutions])[owner].T
    fixed = [
        (c.kernel, c.stride, c.weight_bits, c.activation_bits, lanes(c), int(c.from_image)) for c in convolutions
    ]
    return Rows(owner, *np.array(fixed)[owner].T, *tile, *(-(-full // tile)))


def lanes(convolution: Convolution) -> int:
    """Input channels that the array takes in per cycle."""
    return INPUTS * fusion(convolution.weight_bits, convolution.activation_bits)


def _grid(convolution: Convolution, batch: int) -> Ints:
    """Tile sizes b, o, ic, oc, shape (4, tilings)."""
    # The released simulator tiles the outputs of an unrolled first layer by ones, not by array widths.
    step = 1 if convolution.from_image else OUTPUTS
    sizes = (_powers(batch), _powers(convolution.out_size), _powers(convolution.in_channels))
    axes = np.meshgrid(*sizes, _powers(convolution.out_channels, step), indexing="ij")
    return np.stack([axis.ravel() for axis in axes])


def _powers(full: int, step: int = 1) -> Ints:
    """step, 2 step, 4 step, ... and at last ``full`` itself."""
    doublings = (-(-full // step) - 1).bit_length()
    result: Ints = np.minimum(step << np.arange(doublings + 1, dtype=np.int64), full)
    return result
