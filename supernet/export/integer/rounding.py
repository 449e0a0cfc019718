"""How far each instruction's results can be from what it stands for in real numbers, proven from the program.

An instruction stands for real arithmetic on the numbers that its inputs' codes stand for: sums, means, products
and functions. Its codes differ from the exact result, in units of its own output and where nothing is cut off, by

* half of a unit, as results are rounded;
* half of a unit of the multiplier's last place times the greatest sum, as multipliers are rounded (a whole one
  where a multiplier is the largest there is);
* half of a unit of the bias's last place.

Tables hold rounded values, so that h-swish and hard sigmoid are within half of a unit (and what single precision
loses as they are made). Weighted sums, products of a map with its gate, and maxima are exact before they are
rescaled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.export.integer.accumulators import channel_bounds
from bitfront.supernet.export.integer.program import (
    Add,
    Instruction,
    IntegerTensor,
    MaxPool,
    Program,
    Rescale,
    Table,
)

_LARGEST_MULTIPLIER = 2**31 - 1
# What single precision, in which the values of tables are computed, may lose of the largest one.
_OF_A_TABLE = 2.0**-20


def error_bounds(program: Program) -> dict[str, float]:
    """Of each instruction by name, the greatest error in units of its output's scale."""
    tensors = {tensor.name: tensor for tensor in program.tensors}
    return {one.name: _bound(one, tensors) for one in program.instructions}


def _bound(one: Instruction, tensors: dict[str, IntegerTensor]) -> float:
    match one:
        case MaxPool():
            return 0.0
        case Table():
            return 0.5 + _OF_A_TABLE * tensors[one.output].largest
        case Add():
            most = tensors[one.a].largest + tensors[one.b].largest
            return 0.5 + 0.5 * most / 2.0**one.shift
        case _:
            sums = channel_bounds(one, tensors)
            assert sums is not None
            return float(rescale_errors(one.rescale, sums).max())


def rescale_errors(how: Rescale, sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each entry, for sums of absolute values up to ``sums`` (one for all, or one an entry)."""
    last_place = np.where(how.multiplier == _LARGEST_MULTIPLIER, 1.0, 0.5)
    of_bias = np.where(how.bias == 0, 0.0, 0.5) * 2.0**-how.fraction
    result: NDArray[np.float64] = 0.5 + last_place * sums / 2.0 ** how.shift.astype(np.float64) + of_bias
    return result
