"""Mean and variance per channel, fast and without loss over many values."""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS_AT_ONCE = 8192


class PooledMoments:
    """Moments of all batches of one tensor, pooled in double precision (Chan et al. 1979)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Take in a batch (n, channels, height, width).

        Returns:
            (mean, biased variance) of this batch alone, float32 (channels,).
        """
        count, mean, squares = _sums(x)
        moments = mean.float(), (squares / count).float()
        if self._mean is None or self._squares is None:
            self._count, self._mean, self._squares = count, mean, squares
        else:
            total, apart = self._count + count, mean - self._mean
            self._mean = self._mean + apart * (count / total)
            self._squares = self._squares + squares + apart**2 * (self._count * count / total)
            self._count = total
        return moments

    def moments(self) -> tuple[Tensor, Tensor]:
        """(Mean, biased variance) of all batches, float32 (channels,).

        Raises:
            ValueError: there was none.
        """
        if self._mean is None or self._squares is None:
            raise ValueError("no batch was added: there is nothing to take moments of")
        return self._mean.float(), (self._squares / self._count).float()


def _sums(x: Tensor) -> tuple[int, Tensor, Tensor]:
    """(Values per channel, their mean, sum of squared distances from it), in doubles (channels,)."""
    count = x.numel() // x.shape[1]
    if x.device.type != "cpu" or x.dtype != torch.float32:
        variance, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
        return count, mean.double(), variance.double() * count
    # Torch's var_mean takes ten times as long in channels-last. The kernel of batch norm is fast, but it adds up
    # in single precision, so that it gets few values at a time.
    parts = torch.split(x, max(1, _ROWS_AT_ONCE // (x.shape[2] * x.shape[3])))
    found = [torch.batch_norm_update_stats(part, None, None, 0.0) for part in parts]
    means, variances = (torch.stack(values).double() for values in zip(*found, strict=True))
    counts = torch.tensor([part.numel() // x.shape[1] for part in parts], dtype=torch.float64)[:, None]
    mean = (means * counts).sum(0) / count
    return count, mean, ((variances + (means - mean) ** 2) * counts).sum(0)
