"""docs/integer-format.md is enough to run integer programs: its own reader gives what the interpreter gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.supernet.export.integer import program as of
from bitfront.supernet.export.integer.codes import image_codes
from bitfront.supernet.export.integer.lower import lower
from bitfront.supernet.export.integer.numpy_run import run_numpy
from bitfront.supernet.export.integer.program_file import _KINDS, program_bytes
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.space import SearchSpace

Reader = Callable[[bytes, NDArray[Any]], NDArray[Any]]
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "integer-format.md").read_text()


@pytest.fixture(scope="module")
def logit_codes() -> Reader:
    """The page's reader."""
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    known: dict[str, Any] = {}
    exec(code, known)
    reader: Reader = known["logit_codes"]
    return reader


def test_the_reader_computes_what_the_interpreter_computes(
    tiny_space: SearchSpace,
    gated_space: SearchSpace,
    bottleneck_space: SearchSpace,
    rng: np.random.Generator,
    logit_codes: Reader,
) -> None:
    used: set[str] = set()
    pairs = frozenset((w, a) for w in ("int8", "int6", "int4") for a in ("int8", "int6"))
    for space in (tiny_space, gated_space, bottleneck_space):
        whole = space.restrict_formats(lambda op: pairs)
        for genome in np.concatenate([whole.extremes(), whole.sample(4, rng)]):
            folded = random_folded(whole.blocks(genome), rng)
            program = lower(folded)
            used |= {type(one).__name__ for one in program.instructions}
            shape = (2, folded.in_channels, folded.resolution, folded.resolution)
            codes = image_codes(program, rng.normal(size=shape).astype(np.float32))
            made = [logit_codes(program_bytes(program), image) for image in codes]
            assert np.array_equal(np.stack(made), run_numpy(program, codes))
    assert used >= _KINDS.keys() - {"Requantize"}


def test_the_reader_rescales_alone(logit_codes: Reader) -> None:
    how = of.Rescale(np.array([3, 5], np.int32), np.array([1, 2], np.uint8), np.array([1, -3], np.int32), 1)
    ends = (of.IntegerTensor("image", 2, 1, -8, 7, 0.5), of.IntegerTensor("logits", 2, 1, -9, 9, 0.25))
    program = of.Program(ends, (of.Requantize("alone", "image", "logits", how),), "image", "logits")
    codes = np.arange(-8, 8, dtype=np.int8).reshape(8, 2, 1, 1)
    made = [logit_codes(program_bytes(program), image) for image in codes]
    assert np.array_equal(np.stack(made), run_numpy(program, codes))


def test_every_kind_and_field_is_told() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", TEXT.partition("## Instructions")[2], re.MULTILINE))
    assert told.keys() == _KINDS.keys()
    for name, kind in _KINDS.items():
        own = {field.name for field in fields(kind)} - {"name", "output"}
        assert set(re.findall(r"`(\w+)`", told[name])) == own
    tensor = ", ".join(field.name for field in fields(of.IntegerTensor))
    assert f"[{tensor}]" in TEXT
