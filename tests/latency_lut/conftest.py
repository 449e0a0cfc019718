"""Published tables, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DATA = Path(os.environ.get("BITFRONT_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="session")
def published_apq_table() -> Path:
    """APQ's table of BitFusion (Wang et al., CVPR 2020)."""
    path = _DATA / "apq" / "BitFusion_new.b1.dict"
    if not path.is_file():
        pytest.skip(f"the published table is not at {path}")
    return path
