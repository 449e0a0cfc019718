"""Integer programs that no network gives, as C99: all instructions, types and ends of ranges, equal to the bit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.export.integer.c.layout import Layout
from bitfront.supernet.export.integer.checks import check_program
from bitfront.supernet.export.integer.numpy_run import run_numpy
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
from bitfront.supernet.export.integer.torch_run import run_torch

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


class InC(Protocol):
    """The fixture ``in_c``."""

    STRICT: tuple[str, ...]
    PORTABLE: str
    NO_VNNI: str
    SANITIZED: tuple[str, ...]

    def assert_equal(self, program: Program, folder: Path, flags: Sequence[str], n: int = 4) -> None: ...


class Drawing:
    """A program of random instructions, with extreme ranges, multipliers, shifts and weights among them."""

    RANGES = (
        (0, 255),
        (-128, 127),
        (0, 15),
        (-32767, 32767),
        (-70000, 9),
        (-(2**15), 2**15 - 1),
        (-(2**31), 2**31 - 1),
        (0, 0),
    )

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        channels = int(self.rng.choice([1, 3, 8, 16, 20, 33]))
        self.tensors = [self._new("image", channels, int(self.rng.integers(1, 10)))]
        self.instructions: list[Instruction] = []

    def program(self, kinds: Sequence[type[Instruction]]) -> Program:
        for kind in kinds:
            self._grow(kind)
        classes = self.tensors[-1]
        return Program(tuple(self.tensors), tuple(self.instructions), "image", classes.name)

    def _grow(self, kind: type[Instruction]) -> None:
        for _ in range(20):
            entry = self.tensors[self._below(len(self.tensors))]
            one, out = self._instruction(kind, entry)
            instructions, tensors = [*self.instructions, one], [*self.tensors, out]
            try:
                check_program(Program(tuple(tensors), tuple(instructions), "image", out.name), "drawn")
            except CorruptFileError:
                continue
            self.instructions, self.tensors = instructions, tensors
            return

    def _below(self, n: int) -> int:
        return int(self.rng.integers(n))

    def _new(self, name: str, channels: int, size: int) -> IntegerTensor:
        low, high = self.RANGES[self._below(len(self.RANGES) - (name == "image") * 4)]
        return IntegerTensor(name, channels, size, low, high, 1.0)

    def _rescale(self, places: int, entry: IntegerTensor) -> Rescale:
        """Usual ones, and the ends of what 31 bits and shifts of 1 to 62 hold."""
        usual = bool(self._below(3))
        ends = (2**31 - 2, 2**31 - 1) if not usual and self._below(2) else (0, 2**31 - 1)
        shift = self.rng.integers(*((24, 40) if usual else (1, 63)), places)
        fraction = self._below(int(shift.min()) + 1)
        bias = self.rng.integers(-(2**31), 2**31, places) >> self._below(31)
        return Rescale(
            self.rng.integers(*ends, places, dtype=np.int32, endpoint=True) >> self._below(20) * usual,
            shift.astype(np.uint8),
            bias.astype(np.int32),
            fraction,
        )

    def _instruction(self, kind: type[Instruction], entry: IntegerTensor) -> tuple[Instruction, IntegerTensor]:
        name = f"step {len(self.instructions)} */ \N{SNOWMAN}"
        same = self._new(name, entry.channels, entry.size)
        one_or_all = self._rescale(entry.channels if self._below(2) else 1, entry)
        if kind is Conv:
            return self._conv(name, entry)
        if kind is Table:
            values = self.rng.integers(same.low, same.high, min(entry.high - entry.low + 1, 2**16), endpoint=True)
            return Table(name, entry.name, name, values.astype(np.int32)), same
        if kind is Add:
            other = self._alike(entry)
            return self._add(name, entry, other), same
        if kind is Mean:
            return Mean(name, entry.name, name, one_or_all), self._new(name, entry.channels, 1)
        if kind is Average:
            stride = 2 + self._below(3)
            out = self._new(name, entry.channels, -(-entry.size // stride))
            return Average(name, entry.name, name, stride, self._rescale(stride**2, entry)), out
        if kind is MaxPool:
            out = replace(entry, name=name, size=(entry.size - 1) // 2 + 1)
            return MaxPool(name, entry.name, name), out
        if kind is Product:
            gates = [one for one in self.tensors if (one.channels, one.size) == (entry.channels, 1)]
            gate = gates[self._below(len(gates))] if gates else entry
            return Product(name, entry.name, gate.name, name, one_or_all), same
        return Requantize(name, entry.name, name, one_or_all), same

    def _alike(self, entry: IntegerTensor) -> IntegerTensor:
        alike = [one for one in self.tensors if (one.channels, one.size) == (entry.channels, entry.size)]
        return alike[self._below(len(alike))]

    def _add(self, name: str, a: IntegerTensor, b: IntegerTensor) -> Add:
        multiplier_a, multiplier_b = (int(each) for each in self.rng.integers(0, 2**31, 2) >> self._below(31))
        offset = int(self.rng.integers(-(2**62) + 1, 2**62)) >> self._below(62)
        return Add(name, a.name, b.name, name, multiplier_a, multiplier_b, offset, 1 + self._below(62))

    def _conv(self, name: str, entry: IntegerTensor) -> tuple[Instruction, IntegerTensor]:
        bits, kernel = 2 + self._below(7), 1 + 2 * self._below(3)
        stride = 1 + self._below(3)
        depthwise = entry.channels > 1 and bool(self._below(2))
        channels = entry.channels if depthwise else int(self.rng.choice([1, 7, 8, 10, 16, 24, 37]))
        limit = 2 ** (bits - 1)
        shape = (channels, 1 if depthwise else entry.channels, kernel, kernel)
        weight = self.rng.integers(-limit, limit, shape).astype(np.int8)
        if not self._below(3):
            weight[...] = -limit
        how = self._rescale(channels if self._below(2) else 1, entry)
        groups = entry.channels if depthwise else 1
        conv = Conv(name, entry.name, name, weight, bits, stride, groups, how)
        return conv, self._new(name, channels, (entry.size - 1) // stride + 1)


KINDS: tuple[type[Instruction], ...] = (Conv, Table, Requantize, Add, Mean, Average, MaxPool, Product)
# Convolutions have the most cases.
Kinds = st.lists(st.sampled_from((*KINDS, Conv, Conv, Conv)), min_size=20, max_size=60)
Seeds = st.integers(0, 2**32 - 1)


class TestDrawnPrograms:
    @settings(max_examples=5)
    @given(Seeds, Kinds)
    def test_equal_to_the_bit(
        self, in_c: InC, tmp_path_factory: pytest.TempPathFactory, seed: int, kinds: list[type[Instruction]]
    ) -> None:
        program = Drawing(seed).program([*KINDS, *kinds])
        folder = tmp_path_factory.mktemp("drawn")
        in_c.assert_equal(program, folder, in_c.SANITIZED)
        in_c.assert_equal(program, folder, (*in_c.SANITIZED, in_c.NO_VNNI))
        in_c.assert_equal(program, folder, (*in_c.STRICT, "-O0", in_c.PORTABLE))

    @pytest.mark.slow
    @settings(max_examples=10)
    @given(Seeds, Kinds)
    def test_many_of_them_optimised(
        self, in_c: InC, tmp_path_factory: pytest.TempPathFactory, seed: int, kinds: list[type[Instruction]]
    ) -> None:
        program = Drawing(seed).program([*kinds, *KINDS])
        folder = tmp_path_factory.mktemp("drawn")
        in_c.assert_equal(program, folder, (*in_c.STRICT, "-O3"), 12)
        in_c.assert_equal(program, folder, (*in_c.STRICT, "-O3", in_c.NO_VNNI), 12)
        in_c.assert_equal(program, folder, (*in_c.STRICT, "-O3", "-march=native", in_c.PORTABLE), 12)
        in_c.assert_equal(program, folder, (*in_c.SANITIZED, in_c.PORTABLE))

    def test_torch_and_numpy_are_equal_to_the_bit(self) -> None:
        for seed in range(60):
            program = Drawing(seed).program(KINDS * 3)
            entry = program.tensor(program.input)
            shape = (seed % 4, entry.channels, entry.size, entry.size)
            codes = np.random.default_rng(seed).integers(entry.low, entry.high + 1, shape).astype(entry.dtype)
            np.testing.assert_array_equal(run_torch(program, codes), run_numpy(program, codes))

    def test_all_kinds_and_types_are_drawn(self) -> None:
        """What the tests above rest on."""
        programs = [Drawing(seed).program(KINDS * 4) for seed in range(20)]
        instructions = [(one, program) for program in programs for one in program.instructions]
        assert {type(one) for one, _ in instructions} == set(KINDS)
        convs = [(one, program) for one, program in instructions if isinstance(one, Conv)]
        read = {(one.groups > 1, program.tensor(one.input).dtype.name) for one, program in convs}
        assert read == {
            (grouped, name) for grouped in (True, False) for name in ("uint8", "int8", "int16", "int32")
        }
        assert {one.weight_bits for one, _ in convs} == set(range(2, 9))
        fast = {(one.groups > 1, Layout(program).fast(one)) for one, program in convs}
        assert fast >= {(False, 0), (False, 1), (False, 2), (True, 0), (True, 2)}

    def test_a_program_of_no_instruction(self, in_c: InC, tmp_path: Path) -> None:
        entry = IntegerTensor("image", 5, 1, -128, 127, 1.0)
        in_c.assert_equal(Program((entry,), (), "image", "image"), tmp_path, in_c.SANITIZED)
