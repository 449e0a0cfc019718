"""A folded network as the text of a Python module that imports torch and safetensors alone."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from bitfront.supernet.export import standalone
from bitfront.supernet.export.network_checks import attribute
from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.layers import Activation, Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat
from bitfront.supernet.quantization.policy import reads_as_quantized

WEIGHTS = "model.safetensors"
_FUNCTIONS: dict[Activation, str] = {"relu": "F.relu", "hswish": "F.hardswish", "hsigmoid": "F.hardsigmoid"}

_HEAD = '''\
"""An image classifier in {bits}, written by bitfront. It needs nothing but torch and safetensors.

    import torch
    from model import load

    network = load(".")  # the folder of this file and of {weights}
    logits = network(torch.zeros(1, {channels}, {side}, {side}))

Input: float32 (n, {channels}, {side}, {side}): n images (0 or more), channels, rows, columns.
The manifest.json of the export names mean, std and classes. Divide pixel values 0..255 by 255, subtract the mean
and divide by the std of each channel, and resize bilinearly (half-pixel centres, no antialiasing).
Output: float32 (n, {classes}), logits.

Quantized tensors are rounded to their codes and computed on as real numbers ("fake quantization").
"""
'''

_TAIL = '''

def network_of(tensors: Mapping[str, Tensor]) -> Network:
    """The network with the weights that stand in {weights}."""
    with torch.device("meta"):  # the weights are not made, but brought
        network = Network()
    fill(network, tensors, WEIGHT_BITS)
    return network.eval()


def load(folder: str | Path) -> Network:
    """The network with its weights, ready to classify, from the folder of {weights}."""
    return network_of(load_file(Path(folder) / "{weights}"))
'''


def source(folded: Folded) -> str:
    """The module: ``load(folder)`` gives its ``Network``. Layers are named as `network_checks.attribute` says."""
    side, channels = folded.resolution, folded.in_channels
    formats = dict.fromkeys(
        f for one in folded.layers for f in (one.layer.weight_format, one.layer.activation_format)
    )
    head = _HEAD.format(
        bits=", ".join(formats), channels=channels, side=side, classes=folded.classes, weights=WEIGHTS
    )
    lines = [*_weight_bits(folded), "", "", *_network(folded)]
    return "\n".join([head + _parts(), "", *lines, ""]) + _TAIL.format(weights=WEIGHTS)


def built(text: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The network of a text that `source` made, and never of one that was read."""
    module: Any = types.ModuleType("model")
    exec(compile(text, "model.py", "exec"), module.__dict__)
    network: nn.Module = module.network_of(tensors)
    return network


def _parts() -> str:
    text = inspect.getsource(standalone).split('"""', 2)[2][1:]
    imports = "import torch\nfrom torch import Tensor, nn\n"
    wanted = (
        "import torch\nimport torch.nn.functional as F\nfrom safetensors.torch import load_file\n"
        "from torch import Tensor, nn\n"
    )
    return text.replace(imports, wanted).replace("Mapping\n", "Mapping\nfrom pathlib import Path\n", 1)


def _weight_bits(folded: Folded) -> Iterator[str]:
    yield "# Layers whose weights are stored as integer codes, and the bits of a code."
    yield "WEIGHT_BITS = {"
    for part in folded.layers:
        if part.weight_codes is not None:
            yield f'    "{attribute(part.layer)}": {FORMATS.get(part.layer.weight_format).storage_bits},'
    yield "}"


def _network(folded: Folded) -> Iterator[str]:
    shape = f"(n, {folded.in_channels}, {folded.resolution}, {folded.resolution})"
    yield "class Network(nn.Module):"
    yield f'    """Logits (n, {folded.classes}) of images {shape}."""'
    yield ""
    yield "    def __init__(self) -> None:"
    yield "        super().__init__()"
    for block, parts in _by_block(folded):
        yield f"        # {block.name}"
        for part in parts:
            yield from (f"        self.{line}" for line in _declared(block, part))
    yield ""
    yield "    def forward(self, x: Tensor) -> Tensor:"
    yield f'        """Logits (n, {folded.classes}) of images {shape}, resized and normalised."""'
    yield "        x = x.contiguous(memory_format=torch.channels_last)  # the faster order on CPUs"
    is_map = True
    for block, parts in _by_block(folded):
        yield f"        # {block.name}"
        yield from (f"        {line}" for line in _computed(block, parts, is_map))
        is_map = is_map and block.tail.op != "linear"
    yield "        return x"


def _by_block(folded: Folded) -> Iterator[tuple[Block, list[FoldedLayer]]]:
    parts = iter(folded.layers)
    for block in folded.blocks:
        yield block, [next(parts) for _ in block.layers]


def _declared(block: Block, part: FoldedLayer) -> Iterator[str]:
    layer, name = part.layer, attribute(part.layer)
    entry = _quantizer(block, part)
    if entry:
        yield f"{name}_input = {entry}"
    yield f"{name} = {_weighted(layer)}  # {layer.weight_format} weights"
    if part.output is not None:
        yield f"{name}_output = {_fake_quant(part.output)}"


def _quantizer(block: Block, part: FoldedLayer) -> str | None:
    """What rounds a layer's input, if anything does."""
    if part.input is not None:
        return _fake_quant(part.input)
    number_format = FORMATS.get(part.layer.activation_format)
    is_narrow = isinstance(number_format, FloatFormat) and number_format.storage_bits < 32
    if not is_narrow or reads_as_quantized(block, part.layer):
        return None
    assert isinstance(number_format, FloatFormat)
    return f"Rounded({number_format.dtype})"


def _fake_quant(quant: TensorQuant) -> str:
    return f"FakeQuant(scale={quant.scale!r}, zero_point={quant.zero_point}, bits={quant.bits})"


def _weighted(layer: Layer) -> str:
    if layer.op == "linear":
        return f"nn.Linear({layer.in_channels}, {layer.out_channels})"
    options = {"stride": (layer.stride, 1), "padding": (layer.kernel // 2, 0), "groups": (layer.groups, 1)}
    said = [f"{name}={value}" for name, (value, default) in options.items() if value != default]
    return f"nn.Conv2d({', '.join([str(layer.in_channels), str(layer.out_channels), str(layer.kernel), *said])})"


def _computed(block: Block, parts: list[FoldedLayer], is_map: bool) -> Iterator[str]:
    """Statements that make the block's output ``x`` of its input ``x``, as `forward.run_block` does."""
    has_gate = any(part.layer.gate for part in parts)
    for part in (one for one in parts if one.layer.source != "block"):
        layer = part.layer
        if layer.source == "pooled":
            yield from ["pooled = x"] if has_gate else []
            yield "x = x.mean((2, 3), keepdim=True)"
        elif layer.op == "linear" and is_map:
            yield "x = x.mean((2, 3))"
        is_map = layer.op != "linear"
        if _quantizer(block, part):
            yield f"x = self.{attribute(layer)}_input(x)"
        if block.residual and layer is block.layers[0]:
            yield "entry = x"
        yield f"x = {_run(part, 'x')}"
        if layer.gate:
            yield "x = pooled * x"
    if block.residual:
        yield from _shortcut(block, parts)
        yield f"x = {_activated(block.sum_act, 'entry + x')}"
    if block.max_pool:
        yield "x = F.max_pool2d(x, 3, stride=2, padding=1)"


def _shortcut(block: Block, parts: list[FoldedLayer]) -> Iterator[str]:
    for part in (one for one in parts if one.layer.source == "block"):
        if block.stride > 1:
            yield f"entry = F.avg_pool2d(entry, {block.stride}, ceil_mode=True, count_include_pad=False)"
        if _quantizer(block, part):
            yield f"entry = self.{attribute(part.layer)}_input(entry)"
        yield f"entry = {_run(part, 'entry')}"


def _run(part: FoldedLayer, value: str) -> str:
    """A layer of its quantized input: rounded after a ReLU, but before any other function."""
    layer = part.layer
    value = f"self.{attribute(layer)}({value})"
    if layer.relu:
        value = f"F.relu({value})"
    if part.output is not None:
        value = f"self.{attribute(layer)}_output({value})"
    return value if layer.relu else _activated(layer.act, value)


def _activated(act: Activation, value: str) -> str:
    return value if act == "none" else f"{_FUNCTIONS[act]}({value})"
