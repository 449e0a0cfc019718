"""Integer-only networks: what they compute, that it is exact, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.export.integer import accumulators, numpy_run, torch_run
from bitfront.supernet.export.integer.accumulators import check_sums, sum_bounds
from bitfront.supernet.export.integer.codes import image_codes, real_logits
from bitfront.supernet.export.integer.dyadic import common_shift, rescale
from bitfront.supernet.export.integer.lower import lower
from bitfront.supernet.export.integer.numpy_run import run_numpy
from bitfront.supernet.export.integer.packing import pack, packed_bytes, unpack
from bitfront.supernet.export.integer.program import Conv, IntegerTensor, Program, Rescale, Table, inputs_of
from bitfront.supernet.export.integer.program_file import program_bytes, read_program
from bitfront.supernet.export.integer.torch_run import run_torch
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.folded import Folded
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES
from tests.supernet.test_export_operators import reference

SMALL = {"digits", "fashion", "mobilenet_v3_cifar", "resnet50_cifar"}
Seeds = st.integers(0, 2**32 - 1)


def integer_space(name: str) -> SearchSpace:
    formats = [each for each in FORMATS.names() if is_integer(each)]
    return SPACES.get(name)().restrict_formats(lambda op: {(w, a) for w in formats for a in formats})


def drawn(name: str, seed: int) -> Folded:
    rng = np.random.default_rng(seed)
    space = integer_space(name)
    return random_folded(space.blocks(space.sample(1, rng)[0]), rng)


def images_of(folded: Folded, n: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    shape = (n, folded.in_channels, folded.resolution, folded.resolution)
    return np.random.default_rng(seed).normal(0.0, 1.5, shape).astype(np.float32)


@pytest.fixture(scope="module")
def digits_program() -> Program:
    return lower(drawn("digits", 1))
