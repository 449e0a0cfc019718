"""Fixtures of the tests of networks: integer programs as C."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.supernet.export.integer.c.build import built, run_c
from bitfront.supernet.export.integer.c.source import sources
from bitfront.supernet.export.integer.numpy_run import run_numpy
from bitfront.supernet.export.integer.program import Program


class InC:
    """Builds programs, and holds what they compute against the interpreter."""

    STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic")
    PORTABLE = "-DNETWORK_PORTABLE"
    NO_VNNI = "-DNETWORK_NO_VNNI"
    SANITIZED = (*STRICT, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

    def codes(self, program: Program, n: int) -> NDArray[np.generic]:
        """Random images, and two more: of the least and of the greatest codes."""
        entry = program.tensor(program.input)
        rng = np.random.default_rng(n)
        shape = (entry.channels, entry.size, entry.size)
        drawn = rng.integers(entry.low, entry.high, (n, *shape), endpoint=True)
        ends = [np.full((1, *shape), end) for end in (entry.low, entry.high)]
        return np.concatenate([drawn, *ends]).astype(entry.dtype)

    def build(self, program: Program, folder: Path, flags: Sequence[str]) -> Path:
        """The command."""
        return built(sources(program).files, folder, flags)

    def assert_equal(self, program: Program, folder: Path, flags: Sequence[str], n: int = 4) -> None:
        """C gives what the interpreter gives."""
        codes = self.codes(program, n)
        found = run_c(self.build(program, folder, flags), codes, program.tensor(program.output).channels)
        np.testing.assert_array_equal(found, run_numpy(program, codes))


@pytest.fixture(scope="session")
def in_c() -> InC:
    """See there."""
    return InC()
