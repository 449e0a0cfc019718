"""Integer programs of files that were tampered with, what torch may not do to them, and how exact they are."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.export.integer import numpy_run
from bitfront.supernet.export.integer.checks import check_program
from bitfront.supernet.export.integer.dyadic import rescale
from bitfront.supernet.export.integer.lower import lower
from bitfront.supernet.export.integer.numpy_run import run_numpy
from bitfront.supernet.export.integer.program import (
    Add,
    Average,
    Conv,
    Instruction,
    IntegerTensor,
    Mean,
    Product,
    Program,
    Requantize,
    Table,
    inputs_of,
)
from bitfront.supernet.export.integer.program_file import program_bytes, read_program
from bitfront.supernet.export.integer.rounding import error_bounds
from bitfront.supernet.export.integer.torch_run import run_torch
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.folded import Folded
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer
from bitfront.supernet.spaces import SPACES


def drawn(name: str, seed: int) -> Folded:
    formats = [each for each in FORMATS.names() if is_integer(each)]
    space = SPACES.get(name)().restrict_formats(lambda op: {(w, a) for w in formats for a in formats})
    rng = np.random.default_rng(seed)
    return random_folded(space.blocks(space.sample(1, rng)[0]), rng)


def requantized(side: int = 2, output: str = "logits") -> Program:
    """A program of one instruction."""
    tensors = (
        IntegerTensor("image", 1, side, -128, 127, 1.0),
        IntegerTensor("logits", 1, side, -128, 127, 1.0),
    )
    one = Requantize("layer", "image", "logits", rescale(np.array([0.5])))
    return Program(tensors, (one,), "image", output)


def convolved(kernel: int, channels: int = 1, side: int = 1) -> Program:
    tensors = (
        IntegerTensor("image", channels, side, -128, 127, 1.0),
        IntegerTensor("logits", 1, side, -(2**30), 2**30, 1.0),
    )
    weight = np.ones((1, channels, kernel, kernel), np.int8)
    return Program(
        tensors, (Conv("layer", "image", "logits", weight, 8, 1, 1, rescale(np.ones(1))),), "image", "logits"
    )


class TestForged:
    def test_what_they_are_made_from_is_sound(self) -> None:
        for program in (requantized(), convolved(31)):
            check_program(program, "x")

    @pytest.mark.parametrize(
        ("program", "told"),
        [
            (replace(requantized(), input="nowhere"), "no tensor of its input"),
            (convolved(33), "does not fit"),
            (requantized(side=9000), "sizes, a range or a scale"),
            (
                replace(requantized(), instructions=requantized().instructions * 2),
                "two instructions have one name",
            ),
        ],
    )
    def test_is_refused(self, program: Program, told: str) -> None:
        with pytest.raises(CorruptFileError, match=told):
            read_program(program_bytes(program))

    def test_names_that_would_stand_for_memory_of_something_else_are_refused(self) -> None:
        tensors = (*requantized().tensors, IntegerTensor("logits\x000", 1, 2, -128, 127, 1.0))
        more = Requantize("more", "image", "logits\x000", rescale(np.array([0.5])))
        program = replace(requantized(), tensors=tensors, instructions=(*requantized().instructions, more))
        with pytest.raises(CorruptFileError, match="can not be printed"):
            read_program(program_bytes(program))

    def test_more_instructions_than_a_network_has_are_refused(self) -> None:
        names = ["image", *(f"t{i}" for i in range(10_001))]
        how = rescale(np.array([0.5]))
        program = Program(
            tuple(IntegerTensor(name, 1, 1, -128, 127, 1.0) for name in names),
            tuple(Requantize(to, read, to, how) for read, to in itertools.pairwise(names)),
            "image",
            names[-1],
        )
        with pytest.raises(CorruptFileError, match="10001 instructions"):
            check_program(program, "x")

    @pytest.mark.parametrize("name", ["multiplier", "shift", "bias", "weight"])
    def test_one_number_changed_is_noticed(self, name: str) -> None:
        arrays = load(program_bytes(lower(drawn("digits", 1))))
        changed = arrays[name].copy()
        changed[len(changed) // 2] ^= 1
        with pytest.raises(CorruptFileError, match="do not match its digest"):
            read_program(save(arrays | {name: changed}))

    def test_text_without_its_checksum_or_with_more_behind_it_is_refused(self) -> None:
        arrays = load(program_bytes(requantized()))
        text = arrays["program"]
        for changed in (
            text[:-4],
            np.append(text, np.uint8(0)),
            np.frombuffer(zlib.compress(b" " * (5 << 20)), np.uint8),
        ):
            with pytest.raises(CorruptFileError, match="cut off, has something behind it, or is longer than"):
                read_program(save(arrays | {"program": changed}))


def test_an_output_that_is_also_read_stays() -> None:
    program = requantized(side=1, output="image")
    codes = np.array([[[[7]]], [[[-3]]]], np.int8)
    np.testing.assert_array_equal(run_numpy(program, codes), [[7], [-3]])
    np.testing.assert_array_equal(run_torch(program, codes), [[7], [-3]])


def wide_program() -> tuple[Program, NDArray[np.generic]]:
    """A 3x3 convolution of a batch for which torch has faster ones that do not add products alone."""
    rng = np.random.default_rng(0)
    tensors = (
        IntegerTensor("image", 64, 28, -128, 127, 1.0),
        IntegerTensor("map", 32, 28, -(2**30), 2**30, 1.0),
        IntegerTensor("logits", 32, 1, -(2**30), 2**30, 1.0),
    )
    weight = rng.integers(-8, 8, (32, 64, 3, 3)).astype(np.int8)
    conv = Conv("conv", "image", "map", weight, 4, 1, 1, rescale(np.ones(32)))
    mean = Mean("mean", "map", "logits", rescale(np.array([1.0])))
    codes = rng.integers(-128, 128, (32, 64, 28, 28)).astype(np.int8)
    return Program(tensors, (conv, mean), "image", "logits"), codes


class TestTorch:
    @pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")
    def test_is_exact_without_onednn(self) -> None:
        with torch.backends.mkldnn.flags(enabled=False):
            np.testing.assert_array_equal(run_torch(*wide_program()), run_numpy(*wide_program()))

    def test_is_exact_under_lower_precision(self) -> None:
        with torch.autocast("cpu"):
            np.testing.assert_array_equal(run_torch(*wide_program()), run_numpy(*wide_program()))


def test_all_layers_that_do_not_fit_are_named() -> None:
    folded = drawn("digits", 1)
    huge = {0: "stem", 2: folded.layers[2].layer.name}
    layers = tuple(
        replace(one, bias=np.full_like(one.bias, 1e30)) if place in huge else one
        for place, one in enumerate(folded.layers)
    )
    with pytest.raises(UnsupportedError, match="what 2 layers add") as refusal:
        lower(replace(folded, layers=layers))
    assert all(name in str(refusal.value) for name in huge.values())


def exact(one: Instruction, read: list[NDArray[Any]], tensors: dict[str, IntegerTensor]) -> list[Fraction] | None:
    """Results in units of the output, channel after channel; None where weights' scales would have to be known."""
    unit = Fraction(tensors[one.output].scale)
    scales = [Fraction(tensors[name].scale) for name in inputs_of(one)]
    first = [int(x) for x in read[0].reshape(-1)]
    match one:
        case Requantize():
            return [x * scales[0] / unit for x in first]
        case Add():
            others = [int(x) for x in read[1].reshape(-1)]
            return [(x * scales[0] + y * scales[1]) / unit for x, y in zip(first, others, strict=True)]
        case Mean():
            sums = read[0].astype(object).sum((2, 3)).reshape(-1)
            return [int(x) * scales[0] / unit / read[0].shape[2] ** 2 for x in sums]
        case Product():
            products = (read[0].astype(object) * read[1].astype(object)).reshape(-1)
            return [int(x) * scales[0] * scales[1] / unit for x in products]
        case _:
            return None


class TestRounding:
    @pytest.mark.parametrize("name", ["digits", "mobilenet_v3_cifar", "mobilenet_v2_cifar"])
    def test_no_result_is_farther_from_the_exact_one_than_is_told(self, name: str) -> None:
        program = lower(drawn(name, 0))
        tensors, rng = {tensor.name: tensor for tensor in program.tensors}, np.random.default_rng(0)
        bounds, kinds = error_bounds(program), set()
        for one in program.instructions:
            out = tensors[one.output]
            read = [self._drawn(tensors[name], rng) for name in inputs_of(one)]
            expected = exact(one, read, tensors)
            if expected is None:
                continue
            kinds.add(type(one))
            found = numpy_run._run(one, read, program).reshape(-1)
            for code, value in zip(found.tolist(), expected, strict=True):
                if out.low < code < out.high:
                    assert abs(code - value) <= Fraction(bounds[one.name])
        assert {Add, Mean} <= kinds
        assert (Product in kinds) == (name == "mobilenet_v3_cifar")

    @staticmethod
    def _drawn(tensor: IntegerTensor, rng: np.random.Generator) -> NDArray[Any]:
        shape = (1, tensor.channels, tensor.size, tensor.size)
        codes = rng.integers(tensor.low, tensor.high + 1, shape)
        return np.where(rng.random(shape) < 0.1, rng.choice([tensor.low, tensor.high], shape), codes).astype(
            tensor.dtype
        )

    def test_tables_are_within_half_of_a_unit_of_the_function(self) -> None:
        folded = drawn("mobilenet_v3_cifar", 0)
        program = lower(folded)
        tensors, bounds = {tensor.name: tensor for tensor in program.tensors}, error_bounds(program)
        acts = {one.layer.name: one.layer.act for one in folded.layers}
        seen = set()
        for one in program.instructions:
            before = next(
                (each for each in program.instructions if each.output == getattr(one, "input", "")), None
            )
            if not isinstance(one, Table) or not isinstance(before, Conv):
                continue
            entry, out = tensors[one.input], tensors[one.output]
            act = acts[before.name]
            x = np.arange(entry.low, entry.high + 1) * entry.scale
            gate = np.clip(x + 3.0, 0.0, 6.0) / 6.0
            value = {"hswish": x * gate, "hsigmoid": gate}.get(act, x) / out.scale
            inside = (one.table > out.low) & (one.table < out.high)
            assert (np.abs(one.table - value)[inside] <= bounds[one.name]).all()
            seen.add(act)
        assert {"hswish", "hsigmoid"} <= seen

    def test_a_maximum_and_a_mean_over_squares_are_told_too(self) -> None:
        program = lower(drawn("resnet50", 0))
        bounds = error_bounds(program)
        assert set(bounds) == {one.name for one in program.instructions}
        squares = [bounds[one.name] for one in program.instructions if isinstance(one, Average)]
        assert squares
        assert all(0.5 <= bound < 0.51 for bound in squares)
