"""The optimizer and its rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from bitfront.supernet.training.settings import TrainingSettings

_MOMENTUM = 0.9
_RISE, _START = 0.05, 0.02


def new_optimizer(parameters: Iterable[nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """Fresh moments; weights decay, while biases, gains and scales do not."""
    every = list(parameters)
    groups = [
        {"params": [p for p in every if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in every if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=_MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def rate_at(peak: float, progress: float) -> float:
    """A short linear rise and a cosine to 0 (Loshchilov and Hutter 2017); ``progress`` goes from 0 to 1."""
    return peak * min(1.0, progress / _RISE + _START) * 0.5 * (1 + math.cos(math.pi * progress))
