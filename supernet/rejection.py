"""When a part of a split is enough to say that a candidate's accuracy is not what is asked for."""

from __future__ import annotations

import math

_BISECTIONS = 40


def upper_bound(right: int, seen: int, confidence: float = 0.99) -> float:
    """What an accuracy is not above, with at least this confidence, after ``right`` of ``seen`` random images.

    The Chernoff-Hoeffding bound in its divergence form (Hoeffding 1963, theorem 1; by theorem 4 it also holds for
    images drawn without replacement): the largest p with ``seen * KL(right / seen, p) <= -log(1 - confidence)``.

    Args:
        right: images that were classified rightly, 0 to ``seen``.
        seen: at least 1.
        confidence: in 0..1, ends excluded.
    """
    share, most = right / seen, -math.log1p(-confidence) / seen
    low, high = share, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(share, middle) <= most else (low, middle)
    return high


def _divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli distributions."""
    if q >= 1:
        return 0.0 if p >= 1 else math.inf
    if p >= 1:
        return -math.log(q)
    return (p * math.log(p / q) if p > 0 else 0.0) + (1 - p) * math.log((1 - p) / (1 - q))
