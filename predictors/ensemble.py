"""A few MLPs of one shape, trained and asked together as batched matrix products."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bitfront.supernet.errors import NumericalError

HIDDEN = 400
LAYERS = 3
_FIRST_GAIN, _LAST_GAIN = 0.2, 0.1


@dataclass(frozen=True, slots=True)
class Schedule:
    """How an ensemble is fitted. ``average`` is the decay of the moving average of weights that is kept."""

    epochs: int = 40
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    average: float = 0.9


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs (n, d) with targets (n,)."""

    x: Tensor
    y: Tensor


def new_weights(members: int, inputs: int, generator: torch.Generator) -> list[Tensor]:
    """Three hidden layers of 400 (Wang et al. 2020, APQ), as [(m, in, out), (m, 1, out), ...]."""
    sizes = [inputs, *[HIDDEN] * LAYERS, 1]
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


def folds(n: int, members: int, generator: torch.Generator) -> Tensor:
    """Which member never sees each of n rows, shape (n,)."""
    return torch.randperm(n, generator=generator) % members


def fit(
    weights: Sequence[Tensor],
    data: Batch,
    left_out: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    replay: Batch | None = None,
) -> list[Tensor]:
    """Least squares by AdamW; returns the moving average of the weights.

    Args:
        weights: where to begin; not changed.
        data: what to learn.
        left_out: as `folds` gives; member m never sees rows where this is m.
        schedule: epochs, batch size, rate, decay.
        generator: source of the order.
        replay: further data of which a batch of the same size joins every step, so that it is not forgotten.

    Raises:
        NumericalError: the loss became NaN or infinite.
    """
    members = len(weights[0])
    rows = _equal_rows(left_out, members, generator)
    moving = [w.clone().requires_grad_() for w in weights]
    kept = [w.clone() for w in weights]
    optimizer = _optimizer(moving, schedule)
    for _ in range(schedule.epochs):
        order = torch.stack([r[torch.randperm(len(r), generator=generator)] for r in rows])
        for chosen in torch.tensor_split(order, max(1, round(order.shape[1] / schedule.batch)), dim=1):
            x, y = data.x[chosen], data.y[chosen]
            if replay is not None:
                again = torch.randint(len(replay.x), chosen.shape, generator=generator)
                x, y = torch.cat([x, replay.x[again]], 1), torch.cat([y, replay.y[again]], 1)
            loss = ((forward(moving, x) - y) ** 2).mean(1).sum()
            _check(loss)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            torch._foreach_lerp_(kept, [w.detach() for w in moving], 1 - schedule.average)
    return kept


def _equal_rows(left_out: Tensor, members: int, generator: torch.Generator) -> list[Tensor]:
    """Each member's rows; the shorter ones repeat some, so that all have the same number."""
    rows = [torch.nonzero(left_out != m)[:, 0] for m in range(members)]
    longest = max(map(len, rows))
    return [torch.cat([r, r[torch.randperm(len(r), generator=generator)[: longest - len(r)]]]) for r in rows]


def _optimizer(weights: Sequence[Tensor], schedule: Schedule) -> torch.optim.Optimizer:
    groups = [{"params": [w], "weight_decay": schedule.weight_decay if w.shape[1] > 1 else 0.0} for w in weights]
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.99))


def _check(loss: Tensor) -> None:
    if not bool(torch.isfinite(loss)):
        raise NumericalError(
            f"the predictor's loss became {float(loss.detach())}: its pairs may hold wrong accuracies; "
            "look at them, or measure them again"
        )
