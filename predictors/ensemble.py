"""A few MLPs of one shape, trained and asked together as batched matrix products."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from bitfront.supernet.errors import NumericalError

LAYERS = 3
_FIRST_GAIN, _LAST_GAIN = 0.2, 0.1


@dataclass(frozen=True, slots=True)
class Schedule:
    """How an ensemble is fitted.

    Attributes:
        epochs: passes over the data; more of them where these would be fewer than ``steps``.
        steps: how many there are at least.
        batch: rows in a step.
        learning_rate: of AdamW.
        weight_decay: of weights, not of biases.
        average: decay of the moving average of weights that is kept.
        ranking: weight of the ranking loss beside the squared error.
    """

    epochs: int = 40
    steps: int = 240
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    average: float = 0.9
    ranking: float = 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs (n, d) with targets (n,)."""

    x: Tensor
    y: Tensor


def new_weights(members: int, inputs: int, hidden: int, generator: torch.Generator) -> list[Tensor]:
    """Three hidden layers (Wang et al. 2020, APQ), as [(m, in, out), (m, 1, out), ...]."""
    sizes = [inputs, *[hidden] * LAYERS, 1]
    weights = []
    for place, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        gain = _FIRST_GAIN if place == 0 else _LAST_GAIN if n_out == 1 else 1.0
        weights.append(torch.randn(members, n_in, n_out, generator=generator) * gain * (2 / n_in) ** 0.5)
        # Spread biases bend the first layer at different places of its few-valued inputs.
        bias = (
            torch.randn(members, 1, n_out, generator=generator) if place == 0 else torch.zeros(members, 1, n_out)
        )
        weights.append(bias)
    return weights


def forward(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Outputs (m, n) of inputs (n, d), the same for all members, or (m, n, d)."""
    hidden = x.expand(len(weights[0]), *x.shape[-2:])
    for place in range(0, len(weights) - 2, 2):
        hidden = torch.relu(torch.baddbmm(weights[place + 1], hidden, weights[place]))
    return torch.baddbmm(weights[-1], hidden, weights[-2])[..., 0]


def folds(n: int, count: int, generator: torch.Generator) -> Tensor:
    """To which of ``count`` folds each of n rows belongs, shape (n,); they differ by one row at most."""
    return torch.randperm(n, generator=generator) % count


def fit(
    weights: Sequence[Tensor],
    data: Batch,
    fold: Tensor,
    leaves: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    replay: Batch | None = None,
) -> list[Tensor]:
    """Least squares by AdamW; returns the moving average of the weights.

    Args:
        weights: where to begin; not changed.
        data: what to learn.
        fold: as `folds` gives, (n,).
        leaves: which fold each member never sees, (members,); no fold's number where it sees all rows.
        schedule: epochs, batch size, rate, decay.
        generator: source of the order.
        replay: further data of which a batch of the same size joins every step, so that it is not forgotten.

    Raises:
        NumericalError: the loss became NaN or infinite.
    """
    rows = _equal_rows(fold, leaves, generator)
    moving = [w.clone().requires_grad_() for w in weights]
    kept = [w.clone() for w in weights]
    optimizer = _optimizer(moving, schedule)
    batches = max(1, round(len(rows[0]) / schedule.batch))
    for _ in range(max(schedule.epochs, math.ceil(schedule.steps / batches))):
        order = torch.stack([r[torch.randperm(len(r), generator=generator)] for r in rows])
        for chosen in torch.tensor_split(order, batches, dim=1):
            x, y = data.x[chosen], data.y[chosen]
            if replay is not None:
                again = torch.randint(len(replay.x), chosen.shape, generator=generator)
                x, y = torch.cat([x, replay.x[again]], 1), torch.cat([y, replay.y[again]], 1)
            loss = _loss(forward(moving, x), y, schedule.ranking)
            _check(loss)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            torch._foreach_lerp_(kept, [w.detach() for w in moving], 1 - schedule.average)
    return kept


def _loss(outputs: Tensor, targets: Tensor, ranking: float) -> Tensor:
    """Squared error, and the logistic loss of differences between rows (Burges et al. 2005, RankNet)."""
    loss = ((outputs - targets) ** 2).mean(1).sum()
    if ranking == 0:
        return loss
    n = outputs.shape[1]
    i, j = torch.triu_indices(n, n, offset=1)
    apart = targets[:, i] - targets[:, j]
    wrong = softplus(-(outputs[:, i] - outputs[:, j]) * apart.sign()) * apart.abs()
    return loss + ranking * wrong.mean(1).sum() if len(i) else loss


def _equal_rows(fold: Tensor, leaves: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Each member's rows; the shorter ones repeat some, so that all have the same number."""
    rows = [torch.nonzero(fold != left)[:, 0] for left in leaves]
    longest = max(map(len, rows))
    return [torch.cat([r, r[torch.randperm(len(r), generator=generator)[: longest - len(r)]]]) for r in rows]


def _optimizer(weights: Sequence[Tensor], schedule: Schedule) -> torch.optim.Optimizer:
    groups = [{"params": [w], "weight_decay": schedule.weight_decay if w.shape[1] > 1 else 0.0} for w in weights]
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.99), fused=True)


def _check(loss: Tensor) -> None:
    if not bool(torch.isfinite(loss)):
        raise NumericalError(
            f"the predictor's loss became {float(loss.detach())}: its pairs may hold wrong accuracies; "
            "look at them, or measure them again"
        )
