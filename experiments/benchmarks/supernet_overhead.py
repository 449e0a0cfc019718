"""What a training step of the largest subnet costs through the supernet, against the same network by itself.

The network by itself has tensors of its very size and torch's own batch norm: no slices, no kernel matrices, no
choice of formats; where it is quantized, its step sizes are learned as well. Convolutions are the same
functions. Both take the same batch, the same loss and the same kind of optimizer, and step in turn. Times are
processor time of the whole process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bitfront.experiments.benchmarks.evaluate import noise, prepared_supernet
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.reporter import Reporter
from bitfront.search.executors.local import one_thread
from bitfront.supernet.data.dataset import resize
from bitfront.supernet.forward import convolved, integer
from bitfront.supernet.genes import Choice, GeneKind
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.network import Supernet
from bitfront.supernet.quantization.fake_quant import fake_quantize, fake_quantize_weight
from bitfront.supernet.quantization.formats.int8 import INT8
from bitfront.supernet.quantization.policy import quantized_outputs
from bitfront.supernet.spaces import SPACES

_SPACES = ("digits", "fashion")
_FORMATS = ("fp32", "int8", "int4")
_BATCH = 64
_STEPS, _QUICK_STEPS = 40, 10
_WARM_UP = 3


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Medians of steps in turn; seeds draw the weights."""
    figures: dict[str, float] = {}
    cases = [(name, number_format) for name in _SPACES for number_format in _FORMATS]
    progress = reporter.progress("training steps")
    for place, (name, number_format) in enumerate(cases):
        times = []
        for seed in range(seeds):
            with one_thread():
                times.append(_step_times(name, number_format, _QUICK_STEPS if quick else _STEPS, seed))
        through, alone = np.median(times, axis=0)
        figures |= {
            f"times_stand_alone_{name}_{number_format}": float(np.median([a / b for a, b in times])),
            f"ms_supernet_{name}_{number_format}": float(through * 1e3),
            f"ms_stand_alone_{name}_{number_format}": float(alone * 1e3),
        }
        progress(place + 1, len(cases))
    ratios = [value for key, value in figures.items() if key.startswith("times_stand_alone")]
    return BenchResult.of(
        "supernet-overhead",
        seeds,
        figures | {"most_times_stand_alone": max(ratios)},
        [f"times_stand_alone_{name}_{number_format} <= 1.15" for name, number_format in cases],
    )


def _step_times(name: str, number_format: str, steps: int, seed: int) -> tuple[float, float]:
    """Median processor seconds of a step through the supernet and by itself."""
    space = SPACES.get(name)()
    dataset = noise(space.layers(space.extremes()[1])[0].in_size, validation=16)
    supernet = prepared_supernet(space, dataset, seed)
    policy: dict[GeneKind, Choice] = {"weight_format": number_format, "activation_format": number_format}
    blocks = space.blocks(space.assign(space.extremes()[1:], policy)[0])
    alone = StandAlone(supernet, blocks)
    images = resize(dataset.tensor(dataset.train.images[:_BATCH]), blocks[0].layers[0].in_size)
    labels = torch.from_numpy(dataset.train.labels[:_BATCH])
    through = _stepper(supernet, lambda: supernet(images, blocks), labels)
    by_itself = _stepper(alone, lambda: alone(images), labels)
    for _ in range(_WARM_UP):
        through()
        by_itself()
    times = [(through(), by_itself()) for _ in range(steps)]
    first, second = np.median(times, axis=0)
    return float(first), float(second)


def _stepper(module: nn.Module, logits: Callable[[], Tensor], labels: Tensor) -> Callable[[], float]:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)

    def step() -> float:
        start = time.process_time_ns()
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return (time.process_time_ns() - start) / 1e9

    return step


class StandAlone(nn.Module):
    """The network of ``blocks``, plain layers in a row, with the supernet's weights copied into its own."""

    def __init__(self, supernet: Supernet, blocks: Sequence[Block]) -> None:
        super().__init__()
        outputs = quantized_outputs(blocks)
        self.blocks = nn.ModuleList(_PlainBlock(supernet, block, outputs) for block in blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, channels, size, size), batch norm by the batch."""
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
        return x


class _PlainBlock(nn.Module):
    def __init__(self, supernet: Supernet, block: Block, outputs: frozenset[str]) -> None:
        super().__init__()
        self.residual = block.residual
        self.layers = nn.ModuleList(_PlainLayer(supernet, layer, layer.name in outputs) for layer in block.layers)

    def forward(self, x: Tensor) -> Tensor:
        addend = x
        for place, layer in enumerate(self.layers):
            assert isinstance(layer, _PlainLayer)
            x = layer.read(x)
            if place == 0:
                addend = x
            x = layer(x)
        return addend + x if self.residual else x


class _PlainLayer(nn.Module):
    def __init__(self, supernet: Supernet, layer: Layer, quantize_output: bool) -> None:
        super().__init__()
        self.layer = layer
        params = supernet.params(layer, quantize_output)
        self.weight = nn.Parameter(params.weight.detach().clone())
        self.norm = nn.BatchNorm2d(layer.out_channels)
        self.bias = nn.Parameter(params.bias.detach().clone())
        self.weight_step = _step_size(params.weight_scale)
        self.input_step = _step_size(params.input_scale)
        self.output_step = _step_size(params.output_scale)

    def read(self, x: Tensor) -> Tensor:
        layer = self.layer
        if layer.op == "linear" and x.ndim == 4:
            x = x.mean((2, 3))
        number_format = integer(layer.activation_format)
        if number_format is None or self.input_step is None:
            return x
        zero_point = number_format.zero_point(layer.signed_input)
        return fake_quantize(x, self.input_step.exp(), zero_point, number_format.activation_limit)

    def forward(self, x: Tensor) -> Tensor:
        layer, number_format = self.layer, integer(self.layer.weight_format)
        weight: Tensor = self.weight
        if number_format is not None and self.weight_step is not None:
            weight = fake_quantize_weight(weight, self.weight_step.exp(), number_format.weight_limit)
        x = F.linear(x, weight, self.bias) if layer.op == "linear" else self.norm(convolved(layer, x, weight))
        x = F.relu(x) if layer.relu else x
        if self.output_step is None:
            return x
        zero_point = INT8.zero_point(not layer.relu)
        return fake_quantize(x, self.output_step.exp(), zero_point, INT8.activation_limit)


def _step_size(scale: Tensor | None) -> nn.Parameter | None:
    """A logarithm, so that it stays positive."""
    return None if scale is None else nn.Parameter(scale.detach().log())
