"""Which image goes into which split: published splits stay, what lacks is cut from the training split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import DataError

SPLITS = ("train", "validation", "test")
Rows = NDArray[np.intp]


def split_rows(
    labels: NDArray[np.int64], published: Mapping[str, Rows], shares: Mapping[str, float], seed: int
) -> dict[str, Rows]:
    """Rows of each split, shuffled.

    Args:
        labels: (n,) of all images.
        published: rows of the splits that are there; ``train`` is among them.
        shares: for ``validation`` and ``test``, what is cut from ``train`` where it lacks: below 1 a share of the
            training images, else a number of them. Each class gives in proportion to its size.
        seed: decides what is cut, and the order.

    Raises:
        DataError: the training split is too small for what is to be cut from it.
    """
    rng = np.random.default_rng(seed)
    rows = dict(published)
    images = len(rows["train"])
    for name in ("test", "validation"):
        if name not in rows:
            share = shares[name]
            count = round(share * images if share < 1 else share)
            rows["train"], rows[name] = _cut(labels, rows["train"], count, name, rng)
    return {name: rng.permutation(rows[name]) for name in SPLITS}


def _cut(
    labels: NDArray[np.int64], rows: Rows, count: int, name: str, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """(what stays, what is cut): ``count`` rows, of each class within one of its share."""
    if not 0 < count < len(rows):
        raise DataError(
            f"{count} {name} images can not be cut from {len(rows)} training images: both must get some. "
            f"Give data.{name} as a share such as 0.1, as a number of images, or a {name} split of its own"
        )
    order = rng.permutation(rows)
    order = order[np.argsort(labels[order], kind="stable")]
    # Evenly spaced places in an order by class take from every class in proportion, and exactly so many.
    places = np.floor((np.arange(count) + 0.5) * len(rows) / count).astype(np.intp)
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[places] = True
    return order[~chosen], order[chosen]
