"""scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels (Alpaydin and Kaynak 1998)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.data.augment import DRAWN
from bitfront.supernet.data.dataset import Dataset, Split
from bitfront.supernet.progress import Progress, silent

_SPLIT_SEED = 2718
_TRAIN, _VALIDATION = 0.5, 0.3


def digits(progress: Progress = silent) -> Dataset:
    """Split class by class into 50 % training, 30 % validation and 20 % test, always alike."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = np.round(raw.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = raw.target.astype(np.int64)
    parts = _stratified(labels)
    train, validation, test = (Split(images[rows], labels[rows]) for rows in parts)
    pixels = train.images / 255.0
    return Dataset(
        "digits",
        tuple(str(i) for i in range(10)),
        train,
        validation,
        test,
        (float(pixels.mean()),),
        (float(pixels.std()),),
        DRAWN,
    )


def _stratified(labels: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    rng = np.random.default_rng(_SPLIT_SEED)
    parts: list[list[NDArray[np.intp]]] = [[], [], []]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cuts = (round(_TRAIN * len(rows)), round((_TRAIN + _VALIDATION) * len(rows)))
        for part, chosen in zip(parts, np.split(rows, cuts), strict=True):
            part.append(chosen)
    return [rng.permutation(np.concatenate(part)) for part in parts]
