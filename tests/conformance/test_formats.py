"""What every number format must do: runs over everything registered."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bitfront.supernet.quantization.fake_quant import fake_quantize, fake_quantize_weight
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat, IntegerFormat, NumberFormat, QParams

SIGNED = pytest.mark.parametrize("signed", [False, True])


def _values(spread: float, signed: bool = True) -> Tensor:
    values = spread * (2 * torch.rand(2000, generator=torch.Generator().manual_seed(5)) - 1)
    return values if signed else values.abs()


@pytest.fixture(params=FORMATS.names())
def number_format(request: pytest.FixtureRequest) -> NumberFormat:
    return FORMATS.get(request.param)


@pytest.fixture(params=[name for name in FORMATS.names() if FORMATS.get(name).is_integer])
def integer_format(request: pytest.FixtureRequest) -> IntegerFormat:
    found = FORMATS.get(request.param)
    assert isinstance(found, IntegerFormat)
    return found


@pytest.fixture(params=[name for name in FORMATS.names() if not FORMATS.get(name).is_integer])
def float_format(request: pytest.FixtureRequest) -> NumberFormat:
    return FORMATS.get(request.param)


class TestEveryFormat:
    def test_goes_by_its_registry_name(self, number_format: NumberFormat, request: pytest.FixtureRequest) -> None:
        asked: Any = request.node.callspec.params["number_format"]
        assert number_format.name == asked
        assert FORMATS.get(asked) is number_format

    def test_is_of_one_of_the_two_kinds(self, number_format: NumberFormat) -> None:
        assert isinstance(number_format, IntegerFormat | FloatFormat)
        assert number_format.is_integer == isinstance(number_format, IntegerFormat)
        assert 2 <= number_format.storage_bits <= 32

    def test_zero_is_exact(self, number_format: NumberFormat) -> None:
        for zero_point in (0, 2 ** (number_format.storage_bits - 1)):
            qparams = QParams(torch.tensor(0.37), zero_point if number_format.is_integer else 0)
            zero = torch.zeros(3)
            assert torch.equal(number_format.decode(number_format.encode(zero, qparams), qparams), zero)

    def test_encoding_what_was_decoded_changes_nothing(self, number_format: NumberFormat) -> None:
        qparams = QParams(torch.tensor(0.125))
        codes = number_format.encode(_values(10.0, signed=False), qparams)
        assert torch.equal(number_format.encode(number_format.decode(codes, qparams), qparams), codes)


class TestIntegerFormat:
    def test_name_and_storage_are_the_bits(self, integer_format: IntegerFormat) -> None:
        assert integer_format.name == f"int{integer_format.storage_bits}"
        assert 2 <= integer_format.storage_bits <= 8

    @SIGNED
    def test_codes_are_whole_numbers_in_range(self, integer_format: IntegerFormat, signed: bool) -> None:
        bits = integer_format.storage_bits
        qparams = QParams(torch.tensor(0.01), integer_format.zero_point(signed))
        codes = integer_format.encode(_values(1e4), qparams)
        assert torch.equal(codes, codes.round())
        assert (float(codes.min()), float(codes.max())) == (0, 2**bits - 1)
        assert integer_format.activation_limit == 2**bits - 1

    @SIGNED
    def test_inside_the_range_the_error_is_half_a_step(self, integer_format: IntegerFormat, signed: bool) -> None:
        zero_point = integer_format.zero_point(signed)
        scale = 0.37
        spread = (integer_format.activation_limit - zero_point) * scale
        values, qparams = _values(spread, signed), QParams(torch.tensor(scale), zero_point)
        error = integer_format.decode(integer_format.encode(values, qparams), qparams) - values
        assert float(error.abs().max()) <= scale / 2 * (1 + 1e-5)
        assert float(error.abs().max()) > scale / 2 * 0.9

    @SIGNED
    def test_saturation(self, integer_format: IntegerFormat, signed: bool) -> None:
        zero_point = integer_format.zero_point(signed)
        qparams = QParams(torch.tensor(0.5), zero_point)
        ends = integer_format.decode(integer_format.encode(torch.tensor([-1e9, 1e9]), qparams), qparams)
        assert ends.tolist() == [-zero_point * 0.5, (2**integer_format.storage_bits - 1 - zero_point) * 0.5]

    def test_zero_point_halves_the_range_where_values_are_signed(self, integer_format: IntegerFormat) -> None:
        assert integer_format.zero_point(False) == 0
        assert integer_format.zero_point(True) == 2 ** (integer_format.storage_bits - 1)

    def test_weight_codes_are_symmetric(self, integer_format: IntegerFormat) -> None:
        limit = 2 ** (integer_format.storage_bits - 1) - 1
        assert integer_format.weight_limit == limit
        values = _values(3.0)
        codes = integer_format.encode_weight(values, torch.tensor(0.01))
        assert torch.equal(codes, codes.round())
        assert (float(codes.min()), float(codes.max())) == (-limit, limit)
        assert torch.equal(integer_format.encode_weight(-values, torch.tensor(0.01)), -codes)

    def test_a_scale_per_channel_broadcasts(self, integer_format: IntegerFormat) -> None:
        values = _values(1.0).reshape(20, 100)
        scale = torch.linspace(0.01, 0.5, 20)[:, None]
        codes = integer_format.encode_weight(values, scale)
        for row, step, code in zip(values, scale, codes, strict=True):
            assert torch.equal(integer_format.encode_weight(row, step), code)

    @SIGNED
    def test_fake_quantization_is_encode_and_decode(self, integer_format: IntegerFormat, signed: bool) -> None:
        values, scale = _values(3.0), torch.tensor(0.03)
        zero_point = integer_format.zero_point(signed)
        qparams = QParams(scale, zero_point)
        expected = integer_format.decode(integer_format.encode(values, qparams), qparams)
        assert torch.equal(fake_quantize(values, scale, zero_point, integer_format.activation_limit), expected)
        weights = integer_format.encode_weight(values, scale) * scale
        assert torch.equal(fake_quantize_weight(values, scale, integer_format.weight_limit), weights)


class TestFloatFormat:
    def test_values_are_kept_within_the_precision_of_the_format(self, float_format: NumberFormat) -> None:
        values, qparams = _values(100.0), QParams(torch.tensor(1.0))
        kept = float_format.decode(float_format.encode(values, qparams), qparams)
        tolerance = 0.0 if float_format.storage_bits == 32 else 2.0**-3
        torch.testing.assert_close(kept, values, rtol=tolerance, atol=0.0)
