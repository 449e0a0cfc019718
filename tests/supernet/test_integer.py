"""Integer-only networks: what they compute, that it is exact, and what is refused."""

from __future__ import annotations

import contextlib
import json
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.export.deflated import deflated
from bitfront.supernet.export.integer import numpy_run
from bitfront.supernet.export.integer.accumulators import check_sums, sum_bounds
from bitfront.supernet.export.integer.codes import image_codes, real_logits
from bitfront.supernet.export.integer.dyadic import common_shift, rescale
from bitfront.supernet.export.integer.lower import lower
from bitfront.supernet.export.integer.numpy_run import run_numpy
from bitfront.supernet.export.integer.packing import pack, packed_bytes, unpack
from bitfront.supernet.export.integer.program import Conv, IntegerTensor, Program, Table
from bitfront.supernet.export.integer.program_file import digest, program_bytes, read_program
from bitfront.supernet.export.integer.torch_run import run_torch
from bitfront.supernet.export.onnx_graph import onnx_model
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES

Seeds = st.integers(0, 2**32 - 1)
TENSORS = {"program", "weight", "multiplier", "shift", "bias", "table"}


def integer_space(name: str, *formats: str) -> SearchSpace:
    formats = formats or tuple(each for each in FORMATS.names() if is_integer(each))
    return SPACES.get(name)().restrict_formats(lambda op: {(w, a) for w in formats for a in formats})


def drawn(name: str, seed: int, *formats: str) -> Folded:
    rng = np.random.default_rng(seed)
    space = integer_space(name, *formats)
    return random_folded(space.blocks(space.sample(1, rng)[0]), rng)


def in_real_numbers(folded: Folded, images: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Logits of the fake-quantized network: quantization and its inverse as ONNX has them, nothing fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(onnx_model(folded).SerializeToString(), options)
    logits: np.ndarray[Any, np.dtype[np.float32]] = session.run(None, {session.get_inputs()[0].name: images})[0]
    return logits


def without_ties(folded: Folded, rng: np.random.Generator) -> Folded:
    """Scales of random networks are alike, so that codes fall between two others; real ones are not.

    ONNX holds the biases of 8-bit layers in whole numbers of input scale times weight scale; these are some.
    """

    def own(quant: TensorQuant | None) -> TensorQuant | None:
        return (
            None if quant is None else replace(quant, scale=float(np.float32(quant.scale * rng.uniform(0.9, 1.1))))
        )

    def changed(part: FoldedLayer) -> FoldedLayer:
        entry = own(part.input)
        assert entry is not None
        assert part.weight_scale is not None
        step = np.float64(entry.scale) * part.weight_scale
        bias = (np.rint(part.bias / step) * step).astype(np.float32)
        return replace(part, bias=bias, input=entry, output=own(part.output))

    return replace(folded, layers=tuple(map(changed, folded.layers)))


def images_of(folded: Folded, n: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    shape = (n, folded.in_channels, folded.resolution, folded.resolution)
    return np.random.default_rng(seed).normal(0.0, 1.5, shape).astype(np.float32)


@pytest.fixture(scope="module")
def digits_program() -> Program:
    return lower(drawn("digits", 1))


# -- arithmetic --------------------------------------------------------------------------------------------


class TestDyadic:
    @settings(deadline=None)
    @given(
        st.floats(1e-12, 2.0**20),
        st.floats(-1e6, 1e6),
        st.integers(-(2**20), 2**20),
    )
    def test_is_the_real_product_rounded_half_up(self, ratio: float, bias: float, x: int) -> None:
        how = rescale(np.array([ratio]), np.array([bias]))
        found = (x * int(how.multiplier[0]) + int(how.offset[0])) >> int(how.shift[0])
        exact = x * Fraction(ratio) + Fraction(bias)
        # A ratio of 31 bits, and a bias of 31 bits of the widest that the shift leaves.
        slack = abs(exact) / 2**29 + abs(x) / 2**61 + 2.0**-20 + abs(bias) / 2**29
        assert exact - Fraction(1, 2) - Fraction(slack) <= found <= exact + Fraction(1, 2) + Fraction(slack)

    @given(st.lists(st.floats(0, 2.0**20), min_size=1, max_size=5), st.data())
    def test_stays_within_its_ranges(self, ratios: list[float], data: st.DataObject) -> None:
        biases = data.draw(st.lists(st.floats(-(2.0**29), 2.0**29), min_size=len(ratios), max_size=len(ratios)))
        how = rescale(np.array(ratios), np.array(biases))
        assert (how.multiplier >= 0).all()
        assert ((how.shift >= 1) & (how.shift <= 62)).all()
        assert 0 <= how.fraction <= int(how.shift.min())
        assert all(abs(int(offset)) < 2**62 for offset in how.offset)

    @given(st.floats(1e-9, 1e6), st.floats(1e-9, 1e6))
    @example(1 - 2**-40, 0.5)
    def test_two_ratios_share_a_shift(self, a: float, b: float) -> None:
        left, right, shift = common_shift(a, b)
        assert max(left, right) < 2**31
        assert math.isclose(left / 2**shift, a, abs_tol=max(a, b) / 2**29)
        assert math.isclose(right / 2**shift, b, abs_tol=max(a, b) / 2**29)


@given(st.integers(2, 8), st.integers(0, 200), Seeds)
def test_codes_are_packed_without_gaps_and_come_back(bits: int, count: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), count).astype(np.int8)
    packed = pack(codes, bits)
    assert len(packed) == packed_bytes(count, bits)
    np.testing.assert_array_equal(unpack(packed, count, bits), codes)


# -- what is computed --------------------------------------------------------------------------------------


class TestForms:
    @pytest.mark.parametrize("seed", range(2))
    @pytest.mark.parametrize("name", SPACES.names())
    def test_torch_equals_numpy_to_the_bit(self, name: str, seed: int) -> None:
        folded = drawn(name, seed)
        program = lower(folded)
        codes = image_codes(program, images_of(folded, 3 if folded.resolution <= 64 else 1))
        np.testing.assert_array_equal(run_torch(program, codes), run_numpy(program, codes))

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("name", ["digits", "fashion", "resnet50_cifar", "mobilenet_v3_cifar"])
    def test_differs_from_the_fake_quantized_network_by_rounding_alone(self, name: str, seed: int) -> None:
        folded = drawn(name, seed, "int8")
        images = images_of(folded, 16)
        program = lower(folded)
        found = real_logits(program, run_torch(program, image_codes(program, images)))
        expected = in_real_numbers(folded, images)
        # Networks of random weights blow up the rounding of a tie: real ones are measured in `bench export`.
        assert np.abs(found - expected).mean() / expected.std() < 0.06

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("name", ["digits", "fashion"])
    def test_is_the_fake_quantized_network_where_no_tie_falls_apart(self, name: str, seed: int) -> None:
        folded = without_ties(drawn(name, seed), np.random.default_rng(seed))
        images = images_of(folded, 64)
        program = lower(folded)
        found = real_logits(program, run_numpy(program, image_codes(program, images)))
        expected = in_real_numbers(folded, images)
        same = np.isclose(found, expected, rtol=1e-5, atol=1e-5 * expected.std()).all(axis=1)
        # One in some 100,000 codes falls to the other side, as sums in real numbers are rounded; of digits'
        # networks an image has a few hundred, of the others some 20,000.
        assert same.mean() > (0.95 if name == "digits" else 0.75)

    def test_no_image_at_all(self, digits_program: Program) -> None:
        codes = np.zeros((0, 1, 8, 8), dtype=digits_program.tensor("image").dtype)
        assert run_numpy(digits_program, codes).shape == run_torch(digits_program, codes).shape == (0, 10)

    def test_an_image_does_not_depend_on_its_batch(self, digits_program: Program) -> None:
        codes = image_codes(digits_program, images_of(drawn("digits", 1), 70))
        alone = np.concatenate([run_numpy(digits_program, codes[i : i + 1]) for i in range(70)])
        np.testing.assert_array_equal(run_numpy(digits_program, codes), alone)

    def test_images_of_another_shape_are_refused(self, digits_program: Program) -> None:
        with pytest.raises(UnsupportedError, match=r"takes images of shape \('n', 1, 8, 8\), got \(2, 3, 8, 8\)"):
            image_codes(digits_program, np.zeros((2, 3, 8, 8), np.float32))


class TestIntegersAlone:
    @pytest.mark.parametrize("name", SPACES.names())
    def test_every_tensor_that_numpy_computes_holds_integers_of_its_range(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folded = drawn(name, 5)
        program = lower(folded)
        seen = []
        run = numpy_run._run

        def watched(instruction: Any, read: list[Any], of: Program) -> Any:
            made = run(instruction, read, of)
            seen.append((of.tensor(instruction.output), made))
            return made

        monkeypatch.setattr(numpy_run, "_run", watched)
        run_numpy(program, image_codes(program, images_of(folded, 1)))
        assert len(seen) == len(program.instructions)
        for tensor, made in seen:
            assert made.dtype == tensor.dtype
            assert made.dtype.kind in "iu"
            assert made.shape == (1, tensor.channels, tensor.size, tensor.size)
            assert tensor.low <= made.min() <= made.max() <= tensor.high

    @pytest.mark.parametrize("name", ["digits", "mobilenet_v3_cifar", "resnet50"])
    def test_no_array_inside_is_real(self, name: str) -> None:
        folded = drawn(name, 1)
        program = lower(folded)
        codes = image_codes(program, images_of(folded, 1))

        class Watched(np.ndarray[Any, Any]):
            def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
                plain = [np.asarray(each) for each in inputs]
                if "out" in kwargs:
                    kwargs["out"] = tuple(np.asarray(each) for each in kwargs["out"])
                made = getattr(ufunc, method)(*plain, **kwargs)
                assert np.asarray(made).dtype.kind in "iu"
                return np.asarray(made).view(Watched)

        expected = run_numpy(program, codes)
        np.testing.assert_array_equal(np.asarray(run_numpy(program, codes.view(Watched))), expected)


# -- sums of 32 bits ---------------------------------------------------------------------------------------


def one_conv(weight: np.ndarray[Any, Any], size: int, low: int, high: int) -> Program:
    """A program of one convolution."""
    out, inputs = weight.shape[:2]
    tensors = (
        IntegerTensor("image", inputs, size, low, high, 1.0),
        IntegerTensor("logits", out, size, -(2**30), 2**30, 1.0),
    )
    how = rescale(np.ones(out))
    conv = Conv("layer", "image", "logits", weight, 8, 1, 1, how)
    return Program(tensors, (conv,), "image", "logits")


class TestSums:
    @pytest.mark.parametrize(("low", "high"), [(-128, 127), (0, 255), (-8, 7)])
    def test_bound_is_reached_by_the_worst_image_and_never_exceeded(self, low: int, high: int) -> None:
        weight = np.random.default_rng(0).integers(-127, 128, (5, 7, 3, 3)).astype(np.int8)
        program = one_conv(weight, 3, low, high)
        bound = sum_bounds(program)["layer"]
        worst = max(abs(low), abs(high)) * np.abs(weight.astype(int)).sum((1, 2, 3)).max()
        assert bound == worst
        images = np.random.default_rng(1).choice([low, high], (50, 7, 3, 3)).astype(np.int32)
        sums = numpy_run.weighted_sums(program.instructions[0], images, 3)  # type: ignore[arg-type]
        assert np.abs(sums).max() <= bound
        of_one_sign = one_conv(-np.abs(weight), 3, low, high)
        farthest = np.full((1, 7, 3, 3), low if -low > high else high, np.int32)
        sums = numpy_run.weighted_sums(of_one_sign.instructions[0], farthest, 3)  # type: ignore[arg-type]
        assert np.abs(sums).max() == sum_bounds(of_one_sign)["layer"] == bound

    def test_layer_that_could_overflow_is_named(self) -> None:
        channels = 2**31 // (127 * 255) + 1
        fits = one_conv(np.full((1, channels - 1, 1, 1), 127, np.int8), 1, 0, 255)
        check_sums(fits)
        over = one_conv(np.full((1, channels, 1, 1), 127, np.int8), 1, 0, 255)
        assert sum_bounds(over)["layer"] > 2**31 - 1
        with pytest.raises(
            UnsupportedError, match=r"32-bit sums could overflow in 1 layers: layer \(sums of up to"
        ):
            check_sums(over)

    def test_wide_network_is_refused_and_its_layer_named(self) -> None:
        folded = drawn("digits", 1)
        last = folded.layers[-1]
        channels = 2**31 // (127 * 255) + 10
        weight = np.full((10, channels), 127, np.int8)
        assert last.weight_scale is not None
        wide = replace(
            last,
            layer=replace(last.layer, in_channels=channels, weight_format="int8", activation_format="int8"),
            weight_codes=weight,
            weight=weight * last.weight_scale[:, None],
            input=replace(last.input, bits=8, zero_point=0) if last.input else None,
        )
        with pytest.raises(UnsupportedError, match=last.layer.name.replace(".", "[.]")):
            lower(replace(folded, layers=(*folded.layers[:-1], wide)))


class TestRefused:
    def test_all_real_layers_are_named(self) -> None:
        space = SPACES.get("digits")()
        rng = np.random.default_rng(0)
        folded = random_folded(space.blocks(space.assign(space.sample(1, rng), {"weight_format": "fp32"})[0]), rng)
        with pytest.raises(UnsupportedError) as refusal:
            lower(folded)
        for one in folded.layers:
            assert f"{one.layer.name} (fp32 weights" in str(refusal.value)
        assert "the format onnx or torch" in str(refusal.value)

    def test_bias_beyond_all_bounds_is_named(self) -> None:
        folded = drawn("digits", 1)
        first = folded.layers[0]
        huge = replace(first, bias=np.full_like(first.bias, 1e30))
        with pytest.raises(UnsupportedError, match=first.layer.name):
            lower(replace(folded, layers=(huge, *folded.layers[1:])))


# -- files -------------------------------------------------------------------------------------------------


class TestFile:
    @pytest.mark.parametrize("name", SPACES.names())
    def test_comes_back_as_it_was_and_is_the_same_every_time(self, name: str) -> None:
        program = lower(drawn(name, 2))
        data = program_bytes(program)
        read = read_program(data)
        assert program_bytes(read) == data == program_bytes(program)
        assert read.tensors == program.tensors
        assert [repr(one) for one in read.instructions] == [repr(one) for one in program.instructions]

    def test_any_cut_off_file_is_refused(self, digits_program: Program) -> None:
        data = program_bytes(digits_program)
        for length in [0, 1, 7, 8, 9, len(data) // 2, len(data) - 1]:
            with pytest.raises(CorruptFileError, match=r"x\.safetensors is no integer program"):
                read_program(data[:length], "x.safetensors")

    @settings(deadline=None, max_examples=200)
    @given(st.data())
    def test_a_changed_document_is_refused_or_still_sound(self, data: st.DataObject) -> None:
        """Whatever the text says, a reader gets a program that runs within its ranges, or a clear error."""
        original = program_bytes(lower(drawn("digits", 1)))
        document = json.loads(_text(original))
        place = data.draw(st.sampled_from(_places(document)))
        value = data.draw(
            st.one_of(
                st.integers(-(2**70), 2**70),
                st.none(),
                st.booleans(),
                st.floats(allow_nan=False, allow_infinity=False),
                st.sampled_from(["", "image", "logits", "Conv", "Add"]),
                st.just([]),
                st.just({}),
            )
        )
        _put(document, place, value)
        changed = save(load(original) | {"program": deflated(document)})
        try:
            program = read_program(changed)
        except CorruptFileError:
            return
        entry = program.tensor(program.input)
        if entry.values < 10_000:
            codes = np.full((1, entry.channels, entry.size, entry.size), entry.high, entry.dtype)
            logits = run_numpy(program, codes)
            np.testing.assert_array_equal(logits, run_torch(program, codes))

    @pytest.mark.parametrize(
        "change",
        [
            lambda arrays: arrays | {"multiplier": -arrays["multiplier"]},
            lambda arrays: arrays | {"shift": arrays["shift"] * 0},
            lambda arrays: arrays | {"shift": arrays["shift"] + 200},
            lambda arrays: arrays | {"bias": arrays["bias"][:-1]},
            lambda arrays: arrays | {"bias": np.append(arrays["bias"], np.int32(1))},
            lambda arrays: arrays | {"bias": arrays["bias"].astype(np.int64)},
            lambda arrays: arrays | {"weight": arrays["weight"][:-1]},
            lambda arrays: arrays | {"more": arrays["weight"]},
            lambda arrays: {name: array for name, array in arrays.items() if name != "table"},
            lambda arrays: {name: array for name, array in arrays.items() if name != "program"},
            lambda arrays: arrays | {"program": arrays["program"][:-9]},
            lambda arrays: arrays | {"program": arrays["program"][2:]},
            lambda arrays: arrays | {"program": np.frombuffer(zlib.compress(b"[" * 100_000), np.uint8)},
        ],
    )
    def test_changed_numbers_are_refused(
        self, digits_program: Program, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        arrays = change(load(program_bytes(digits_program)))
        if set(arrays) >= TENSORS:
            with contextlib.suppress(zlib.error, RecursionError):  # the text is what was changed
                document = json.loads(zlib.decompress(arrays["program"].tobytes()))
                arrays["program"] = deflated(document | {"sha256": digest(arrays)})
        changed = save(arrays)
        with pytest.raises(CorruptFileError, match="is no integer program"):
            read_program(changed)

    def test_table_with_an_entry_out_of_range_is_refused(self) -> None:
        program = lower(drawn("mobilenet_v3_cifar", 0))
        table = next(one for one in program.instructions if isinstance(one, Table))
        high = program.tensor(table.output).high
        worse = replace(table, table=np.append(table.table[:-1], np.int32(high + 1)))
        changed = replace(
            program, instructions=tuple(worse if one is table else one for one in program.instructions)
        )
        with pytest.raises(CorruptFileError, match="does not fit the shapes and ranges"):
            read_program(program_bytes(changed))


def _text(data: bytes) -> str:
    return zlib.decompress(load(data)["program"].tobytes()).decode()


def _places(value: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return ([so_far] if so_far else []) + [place for key in keys for place in _places(value[key], (*so_far, key))]


def _put(document: Any, place: tuple[Any, ...], value: Any) -> None:
    for key in place[:-1]:
        document = document[key]
    document[place[-1]] = value
