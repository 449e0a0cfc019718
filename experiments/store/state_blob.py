"""A strategy's state as bytes: JSON for what is plain, safetensors for arrays. Never a pickle."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bitfront.supernet.errors import CorruptFileError

_ARRAY = "$array"
_HEADER = "<Q"  # the byte length of the JSON that comes first
_Arrays = dict[str, NDArray[Any]]


def encode_state(state: Mapping[str, Any]) -> bytes:
    """Bytes of nested dicts with string keys, lists, strings, numbers, booleans, None and numeric arrays.

    Tuples come back as lists, NumPy scalars as Python numbers; whole numbers may have any size.

    Raises:
        TypeError: a value is of another type; the message names its place.
    """
    arrays: _Arrays = {}
    text = json.dumps(_plain(dict(state), "state", arrays)).encode()
    packed: bytes = save(arrays)
    return struct.pack(_HEADER, len(text)) + text + packed


def decode_state(data: bytes) -> dict[str, Any]:
    """What `encode_state` was given.

    Raises:
        CorruptFileError: these bytes were not made by `encode_state`.
    """
    try:
        start = struct.calcsize(_HEADER)
        (length,) = struct.unpack_from(_HEADER, data)
        plain = json.loads(data[start : start + length])
        state = _restored(plain, load(data[start + length :]))
    except (struct.error, ValueError, KeyError, SafetensorError) as error:
        raise CorruptFileError(
            f"a stored strategy state can not be read ({error}): restore the store from a backup, "
            "or launch the experiment anew"
        ) from error
    if not isinstance(state, dict):
        raise CorruptFileError("a stored strategy state is no mapping: launch the experiment anew")
    return state


def _plain(value: Any, place: str, arrays: _Arrays) -> Any:
    if isinstance(value, np.ndarray):
        return {_ARRAY: _keep(value, place, arrays)}
    if isinstance(value, np.generic):
        return _plain(value.item(), place, arrays)
    if isinstance(value, Mapping):
        return {_key(key, place): _plain(item, f"{place}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{i}]", arrays) for i, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{place} is a {type(value).__name__}: a state holds plain values and numeric arrays only")


def _key(key: Any, place: str) -> str:
    if not isinstance(key, str) or key == _ARRAY:
        raise TypeError(f"{place} has the key {key!r}: keys are strings other than {_ARRAY!r}")
    return key


def _keep(array: NDArray[Any], place: str, arrays: _Arrays) -> str:
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise TypeError(f"{place} is an array of {array.dtype}: a state holds booleans, integers and floats only")
    # ascontiguousarray would make a zero-dimensional array one-dimensional.
    arrays[str(len(arrays))] = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True)
    return str(len(arrays) - 1)


def _restored(value: Any, arrays: _Arrays) -> Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _restored(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item, arrays) for item in value]
    return value
