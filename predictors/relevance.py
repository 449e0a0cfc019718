"""Which kinds of choice matter: weights of columns that make measured values likelier (automatic relevance
determination, MacKay 1994; Rasmussen and Williams 2006, section 5.1).

One weight for all columns of a kind, and a prior that keeps weights near 1, since pairs are few.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitfront.predictors.features import Floats32
from bitfront.predictors.kernels import Floats, scale_of

MOST_PAIRS = 300
_PRIOR = 2.0
_LENGTH, _NOISE = 2.0, 0.1
_LEAST_NOISE = 1e-6
_STEPS = 25


def relevance(points: Floats | Floats32, values: Floats, kinds: NDArray[np.intp]) -> Floats:
    """Weights (k,), about 1, of the k kinds of columns.

    The marginal likelihood (their equation 5.8, with the variance at its maximum) times the prior is maximised
    together with length and noise.

    Args:
        points: where pairs are, (n, d); the cost grows with the cube of n.
        values: what they are, (n,).
        kinds: of the columns, (d,), from 0.
    """
    if not np.ptp(values) > 0:
        return np.ones(int(kinds.max()) + 1)
    points = points.astype(np.float64)
    x = torch.from_numpy(points * scale_of(points))
    target = torch.from_numpy((values - values.mean()) / values.std())
    of = torch.from_numpy(kinds)
    weights = torch.zeros(int(kinds.max()) + 1, dtype=torch.float64, requires_grad=True)
    kernel = torch.tensor([math.log(_LENGTH), math.log(_NOISE)], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, kernel], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = _unlikely(x * torch.exp(weights[of] - kernel[0]), target, kernel[1])
        loss = loss + _PRIOR * weights.square().sum() + (kernel[1] - math.log(_NOISE)).square() / 20
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    try:
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # a step went too far
        return np.ones(len(weights))
    found = np.exp(weights.detach().numpy())
    return np.asarray(found, dtype=np.float64) if np.isfinite(found).all() else np.ones(len(found))


def _unlikely(x: Tensor, target: Tensor, log_noise: Tensor) -> Tensor:
    """Negative logarithm of the likelihood of target (n,) at x (n, d), under Matern's kernel of length 1."""
    squares = x.square().sum(1)
    squared = (squares[:, None] + squares - 2 * x @ x.T).clamp_min(1e-12)
    scaled = (3 * squared).sqrt()
    noise = (log_noise.exp() + _LEAST_NOISE) * torch.eye(len(x), dtype=x.dtype)
    factor = torch.linalg.cholesky((1 + scaled) * torch.exp(-scaled) + noise)
    solved = torch.cholesky_solve(target[:, None], factor)[:, 0]
    return len(x) / 2 * torch.log(target @ solved) + torch.log(torch.diagonal(factor)).sum()
