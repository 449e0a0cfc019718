"""Means over seeds, with how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

_COVERAGE = 0.95


def half_interval(values: NDArray[np.float64]) -> float:
    """Half of Student's 95 % interval of the mean of values (n,); 0 for a single value, which has none."""
    n = len(values)
    if n < 2:
        return 0.0
    return float(student.ppf((1 + _COVERAGE) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))


def summarised(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """``name``, the mean of one value per seed, and ``name_half_interval``, which a single seed has not."""
    known = {f"{name}_half_interval": half_interval(values)} if len(values) > 1 else {}
    return {name: float(values.mean()), **known}


def over_seeds(rows: Sequence[Mapping[str, float]], prefix: str = "") -> dict[str, float]:
    """`summarised` of the figures of each seed, over the seeds that have them; names get the prefix.

    Where nothing is as accurate, say, a seed has no ratio.
    """
    figures: dict[str, float] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        figures |= summarised(f"{prefix}{name}", np.array([row[name] for row in rows if name in row]))
    return figures
