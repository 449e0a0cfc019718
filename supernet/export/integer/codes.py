"""The two ends of an integer program: images become codes, and codes of logits become real numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.integer.program import Program


def image_codes(program: Program, images: NDArray[np.float32]) -> NDArray[np.generic]:
    """Codes (n, channels, size, size), in the input's type, of images that are resized and normalised.

    Rounded half to even and cut off, as the fake-quantized network rounds them.

    Raises:
        UnsupportedError: the images have another shape.
    """
    entry = program.tensor(program.input)
    wanted = (entry.channels, entry.size, entry.size)
    if images.shape[1:] != wanted:
        raise UnsupportedError(
            f"the integer network takes images of shape {('n', *wanted)}, got {images.shape}: "
            "resize them as its manifest says"
        )
    real = np.rint(images.astype(np.float32) / np.float32(entry.scale))
    codes: NDArray[np.generic] = real.clip(entry.low, entry.high).astype(entry.dtype)
    return codes


def real_logits(program: Program, logits: NDArray[np.integer]) -> NDArray[np.float32]:
    """Logits (n, classes) as real numbers of those that a program computes."""
    return (logits.astype(np.float64) * program.tensor(program.output).scale).astype(np.float32)
