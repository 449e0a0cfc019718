"""The constants of a program, as arrays of C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.export.integer.program import Rescale

_NUMBERS_IN_A_LINE = 24


@dataclass(slots=True)
class Constants:
    """Arrays that instructions share, each with what was added to it in turn, and tables by name."""

    weights: list[NDArray[np.uint8]] = field(default_factory=list)
    multipliers: list[NDArray[np.int32]] = field(default_factory=list)
    shifts: list[NDArray[np.uint8]] = field(default_factory=list)
    biases: list[NDArray[np.int32]] = field(default_factory=list)
    tables: list[NDArray[Any]] = field(default_factory=list)

    def add_weights(self, stored: NDArray[np.uint8]) -> int:
        """The first of their bytes in the array."""
        first = sum(map(len, self.weights))
        self.weights.append(stored)
        return first

    def add_rescale(self, how: Rescale) -> int:
        """The first of its entries in the three arrays."""
        first = sum(map(len, self.shifts))
        self.multipliers.append(how.multiplier)
        self.shifts.append(how.shift)
        self.biases.append(how.bias)
        return first

    def add_table(self, entries: NDArray[Any]) -> str:
        """Its name."""
        self.tables.append(entries)
        return f"entries_{len(self.tables) - 1}"

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that have something in them, by name."""
        shared: dict[str, Sequence[NDArray[Any]]] = {
            "weights": self.weights,
            "multipliers": self.multipliers,
            "shifts": self.shifts,
            "biases": self.biases,
        }
        joined = {name: np.concatenate(parts) for name, parts in shared.items() if parts}
        return joined | {f"entries_{i}": entries for i, entries in enumerate(self.tables)}

    @property
    def bytes(self) -> int:
        """Of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def text(self) -> str:
        """Definitions of the arrays, and a check of how many bytes they are."""
        arrays = self.arrays
        total = " + ".join(f"sizeof {name}" for name in arrays) or "0"
        check = f"typedef char bytes_of_constants[{total} == NETWORK_WEIGHTS_BYTES ? 1 : -1];\n"
        return "".join(f"{_definition(name, array)}\n" for name, array in arrays.items()) + check


def literal(value: int) -> str:
    """An integer as C writes it: the least of 32 bits has no constant of its own."""
    return "(-2147483647 - 1)" if value == -(2**31) else str(value)


def _definition(name: str, array: NDArray[Any]) -> str:
    numbers = list(map(literal, array.tolist()))
    lines = [
        f"    {', '.join(numbers[i : i + _NUMBERS_IN_A_LINE])},\n"
        for i in range(0, len(numbers), _NUMBERS_IN_A_LINE)
    ]
    return f"static const {array.dtype.name}_t {name}[{len(numbers)}] = {{\n{''.join(lines)}}};\n"
