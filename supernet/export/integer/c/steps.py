"""Each instruction as what C calls: a constant that describes it, and the call."""

from __future__ import annotations

import re

import numpy as np

from bitfront.supernet.export.integer.c.constants import Constants, literal
from bitfront.supernet.export.integer.c.layout import Layout, row_type
from bitfront.supernet.export.integer.c.weights import is_depthwise, stored
from bitfront.supernet.export.integer.program import (
    Add,
    Average,
    Conv,
    Instruction,
    IntegerTensor,
    MaxPool,
    Mean,
    Product,
    Program,
    Requantize,
    Rescale,
    Table,
)

_TYPES = {"uint8": "U8", "int8": "I8", "int16": "I16", "int32": "I32"}
_CHANNELWISE: dict[type[Instruction], str] = {
    Requantize: "run_requantize",
    Mean: "run_mean",
    Average: "run_average",
    MaxPool: "run_max_pool",
    Product: "run_product",
}


class Steps:
    """Descriptions and calls, in order; constants are added to ``constants``."""

    def __init__(self, program: Program, layout: Layout, constants: Constants) -> None:
        self._tensors = {tensor.name: tensor for tensor in program.tensors}
        self._layout, self._constants = layout, constants
        made = [self._step(number, one) for number, one in enumerate(program.instructions)]
        self.descriptions = "".join(description for description, _ in made)
        self.calls = "".join(call for _, call in made)

    def map_of(self, name: str) -> str:
        """A tensor as a `struct map`."""
        tensor = self._tensors[name]
        place = self._layout.place(name)
        return f"{{{place}, {tensor.channels}, {tensor.size}, {type_of(tensor)}}}"

    def _step(self, number: int, one: Instruction) -> tuple[str, str]:
        kind, function, fields = self._described(one)
        name = f"{kind}_{number}"
        comment = re.sub(r"[^\w.\- ]", "_", one.name, flags=re.ASCII)
        description = f"/* {comment} */\nstatic const struct {kind} {name} = {{{', '.join(fields)}}};\n"
        return description, f"    {function}(&{name}, buffer->bytes);\n    NEXT;\n"

    def _described(self, one: Instruction) -> tuple[str, str, list[str]]:
        match one:
            case Conv():
                kind = "depthwise" if is_depthwise(one) else "dense"
                return "convolution", f"{kind}_{row_type(self._tensors[one.input])}", self._convolution(one)
            case Table():
                return "table", "run_table", self._table(one)
            case Add():
                return "add", "run_add", self._add(one)
            case _:
                return "channelwise", _CHANNELWISE[type(one)], self._channelwise(one)

    def _convolution(self, conv: Conv) -> list[str]:
        scratch = ", ".join(map(str, self._layout.scratch(conv)))
        return [
            self.map_of(conv.input),
            self.map_of(conv.output),
            self._rescale(conv.rescale, conv.output),
            f"{conv.kernel}, {conv.stride}",
            f"{self._constants.add_weights(stored(conv))}, {conv.weight_bits}",
            f"{{{scratch}}}, {self._layout.chunk(conv)}, {self._layout.fast(conv)}",
        ]

    def _table(self, table: Table) -> list[str]:
        low, dtype = self._tensors[table.input].low, self._tensors[table.output].dtype
        name = self._constants.add_table(table.table.astype(dtype))
        return [self.map_of(table.input), self.map_of(table.output), literal(low), name]

    def _add(self, add: Add) -> list[str]:
        out = self._tensors[add.output]
        maps = [self.map_of(name) for name in (add.a, add.b, add.output)]
        numbers = (add.multiplier_a, add.multiplier_b, add.offset, add.shift, out.low, out.high)
        return maps + list(map(literal, numbers))

    def _channelwise(self, one: Requantize | Mean | Average | MaxPool | Product) -> list[str]:
        read, gate = (one.map, one.gate) if isinstance(one, Product) else (one.input, one.input)
        how = "{0, 0, 0, 0, 0}" if isinstance(one, MaxPool) else self._rescale(one.rescale, one.output)
        stride = str(one.stride if isinstance(one, Average) else 1)
        return [self.map_of(read), self.map_of(gate), self.map_of(one.output), how, stride]

    def _rescale(self, how: Rescale, output: str) -> str:
        out = self._tensors[output]
        first = self._constants.add_rescale(how)
        return f"{{{first}, {len(how.shift)}, {how.fraction}, {literal(out.low)}, {literal(out.high)}}}"


def type_of(tensor: IntegerTensor) -> str:
    """The type of a tensor's values, as C calls it here."""
    return _TYPES[np.dtype(tensor.dtype).name]
