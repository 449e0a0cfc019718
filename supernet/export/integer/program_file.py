"""Integer programs as files: one safetensors file of six tensors.

``program`` (uint8) is a text, deflated (zlib, RFC 1950), as it would take a tenth of a small network's file. It is
JSON: ``format`` and ``version``; ``sha256`` of the other tensors (`digest`); ``input`` and ``output``, names of
tensors; ``tensors``, a list of [name, channels, size, low, high, scale]; ``instructions``, in order, a list of
[kind, name, {fields}]: a kind is one of `program`'s classes, and fields are those of the class. What is an array
there stands in the other five tensors, one instruction's after the other's, without gaps:

* ``weight`` (uint8): codes of ``weight_bits`` bits each (`packing`); each instruction starts at a new byte. The
  field ``weight`` is the shape;
* ``multiplier`` (int32), ``shift`` (uint8), ``bias`` (int32): of all rescales. The field ``rescale`` is [entries,
  fraction];
* ``table`` (int32): of all tables. The field ``table`` is the number of entries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.export.deflated import deflated, inflated
from bitfront.supernet.export.integer import program as of
from bitfront.supernet.export.integer.checks import check_program
from bitfront.supernet.export.integer.packing import pack, packed_bytes, unpack
from bitfront.supernet.export.integer.program import Instruction, IntegerTensor, Program, Rescale

_FORMAT, _VERSION = "bitfront integer program", 1
_TYPES: dict[str, np.dtype[Any]] = {
    "weight": np.dtype(np.uint8),
    "multiplier": np.dtype(np.int32),
    "shift": np.dtype(np.uint8),
    "bias": np.dtype(np.int32),
    "table": np.dtype(np.int32),
}
_KINDS: dict[str, type[Instruction]] = {
    kind.__name__: kind
    for kind in (of.Conv, of.Table, of.Requantize, of.Add, of.Mean, of.Average, of.MaxPool, of.Product)
}
_TEXT = "program"
_BROKEN = (
    SafetensorError, KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip

Arrays = dict[str, list[NDArray[Any]]]


def program_bytes(program: Program) -> bytes:
    """The file; the same program gives the same bytes."""
    arrays: Arrays = {name: [] for name in _TYPES}
    instructions = [_written(one, arrays) for one in program.instructions]
    joined = {
        name: np.concatenate([np.zeros(0, np.uint8), *arrays[name]]).astype(dtype)
        for name, dtype in _TYPES.items()
    }
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "sha256": digest(joined),
        "input": program.input,
        "output": program.output,
        "tensors": [astuple(tensor) for tensor in program.tensors],
        "instructions": instructions,
    }
    return bytes(save({_TEXT: deflated(document), **joined}))


def _written(one: Instruction, arrays: Arrays) -> list[Any]:
    values: dict[str, Any] = {}
    for field in fields(one):
        value = getattr(one, field.name)
        if isinstance(value, Rescale):
            arrays["multiplier"].append(value.multiplier)
            arrays["shift"].append(value.shift)
            arrays["bias"].append(value.bias)
            value = [len(value.multiplier), value.fraction]
        elif field.name == "weight":
            arrays["weight"].append(pack(value, one.weight_bits))  # type: ignore[union-attr]
            value = list(value.shape)
        elif field.name == "table":
            arrays["table"].append(value)
            value = len(value)
        values[field.name] = value
    name = values.pop("name")
    return [type(one).__name__, name, values]


def read_program(data: bytes, source: str = "the given file") -> Program:
    """The program in a file.

    Raises:
        CorruptFileError: it is no such file, or the program in it is not sound; ``source`` names it.
    """
    try:
        arrays = load(data)
        document = json.loads(inflated(arrays.pop(_TEXT)))
        if (document["format"], document["version"]) != (_FORMAT, _VERSION):
            raise ValueError(f"it says {document['format']!r}, version {document['version']!r}")
        reader = _Reader(arrays)
        if document["sha256"] != digest(arrays):
            raise ValueError("its tensors do not match its digest")
        program = reader.program(document)
    except _BROKEN as error:
        raise CorruptFileError(f"{source} is no integer program ({error}): export it again") from error
    check_program(program, source)
    return program


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256, in hex, of the bytes of ``weight``, ``multiplier``, ``shift``, ``bias`` and ``table`` in turn."""
    return hashlib.sha256(b"".join(arrays[name].tobytes() for name in _TYPES)).hexdigest()


class _Reader:
    """Takes from the five arrays in turn what instructions say that they have."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        if {name: (array.dtype, array.ndim) for name, array in arrays.items()} != {
            name: (dtype, 1) for name, dtype in _TYPES.items()
        }:
            raise ValueError(f"its tensors are not {', '.join(_TYPES)}")
        self._arrays = arrays
        self._at = dict.fromkeys(_TYPES, 0)

    def program(self, document: dict[str, Any]) -> Program:
        tensors = tuple(_tensor(*values) for values in document["tensors"])
        instructions = tuple(self._instruction(*values) for values in document["instructions"])
        if any(self._at[name] != len(array) for name, array in self._arrays.items()):
            raise ValueError("its tensors hold more than its instructions")
        return Program(tensors, instructions, _text(document["input"]), _text(document["output"]))

    def _take(self, name: str, count: int) -> NDArray[Any]:
        first = self._at[name]
        if count < 0 or first + count > len(self._arrays[name]):
            raise ValueError(f"tensor {name} holds less than its instructions")
        self._at[name] = first + count
        return self._arrays[name][first : first + count]

    def _instruction(self, kind: str, name: str, values: dict[str, Any]) -> Instruction:
        made = dict(values)
        for field, value in values.items():
            if field == "rescale":
                count, fraction = (_whole(each) for each in value)
                multiplier, shift, bias = (self._take(each, count) for each in ("multiplier", "shift", "bias"))
                made[field] = Rescale(multiplier, shift, bias, fraction)
            elif field == "weight":
                made[field] = self._weight([_whole(size) for size in value], _whole(values["weight_bits"]))
            elif field == "table":
                made[field] = self._take("table", _whole(value))
            elif field in ("input", "output", "a", "b", "map", "gate"):
                made[field] = _text(value)
            else:
                made[field] = _whole(value)
        return _KINDS[kind](name=_text(name), **made)

    def _weight(self, shape: list[int], bits: int) -> NDArray[np.int8]:
        if len(shape) != 4 or min(shape) < 1 or not 1 < bits <= 8:
            raise ValueError(f"weights of shape {shape} and {bits} bits can not be")
        count = int(np.prod(shape, dtype=object))
        return unpack(self._take("weight", packed_bytes(count, bits)), count, bits).reshape(shape)


def _tensor(
    name: object, channels: object, size: object, low: object, high: object, scale: object
) -> IntegerTensor:
    if not isinstance(scale, float):
        raise ValueError(f"a scale of {scale!r} is no number")
    return IntegerTensor(_text(name), _whole(channels), _whole(size), _whole(low), _whole(high), scale)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no name")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no whole number")
    return value
