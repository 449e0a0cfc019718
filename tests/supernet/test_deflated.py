"""Texts in tensors: they come back, and nothing that is none is unpacked without bound."""

from __future__ import annotations

import json
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.supernet.export.deflated import deflated, inflated

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)


@given(st.dictionaries(st.text(), VALUES))
def test_a_document_comes_back_and_is_the_same_every_time(document: dict[str, object]) -> None:
    tensor = deflated(document)
    assert (tensor.dtype.name, tensor.ndim) == ("uint8", 1)
    assert json.loads(inflated(tensor)) == document
    np.testing.assert_array_equal(deflated(document), tensor)


def test_no_number_that_json_lacks() -> None:
    with pytest.raises(ValueError, match="JSON"):
        deflated({"a": float("nan")})


@given(st.binary(max_size=200))
def test_anything_else_is_told(data: bytes) -> None:
    try:
        text = inflated(np.frombuffer(data, np.uint8))
    except ValueError:
        return
    assert text == zlib.decompress(data)


@pytest.mark.parametrize("length", [0, 1, 10, -1])
def test_what_is_cut_off_or_has_more_behind_it_is_told(length: int) -> None:
    tensor = deflated({"a": list(range(100))})
    with pytest.raises(ValueError, match="its text is cut off, has something behind it"):
        inflated(tensor[:length])
    with pytest.raises(ValueError, match="its text is cut off, has something behind it"):
        inflated(np.append(tensor, np.zeros(abs(length) + 1, np.uint8)))


def test_no_more_is_unpacked_than_allowed() -> None:
    assert inflated(deflated({"a": "x" * 100}), 200) == b'{"a":"' + b"x" * 100 + b'"}'
    exact = deflated({"a": "x" * 92})
    assert len(inflated(exact, 100)) == 100
    with pytest.raises(ValueError, match="longer than 99 bytes"):
        inflated(exact, 99)
    bomb = np.frombuffer(zlib.compress(bytes(1 << 28), 9), np.uint8)
    tracemalloc.start()
    with pytest.raises(ValueError, match="longer than 4,194,304 bytes"):
        inflated(bomb)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()
