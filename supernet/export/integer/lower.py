"""A folded network becomes an integer program.

What is a real number in the folded network (a sum, a product with a gate, a smooth function) is kept back until
it is known who reads it, and then computed straight in that reader's codes. Where a mean, a product or a maximum
reads it, it gets 16 bits first. Functions of 8-bit codes are tables, so that h-swish and hard sigmoid are exact up
to the rounding of their result: half of a unit of the output's scale.
"""

from __future__ import annotations

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.integer.accumulators import check_sums
from bitfront.supernet.export.integer.pending import Affine, Averaged, Codes, Gated, Pending, Pooled, Sum
from bitfront.supernet.export.integer.program import IntegerTensor, MaxPool, Program
from bitfront.supernet.export.integer.writer import Target, Writer
from bitfront.supernet.folded import Folded, FoldedLayer
from bitfront.supernet.layers import Block
from bitfront.supernet.quantization.policy import is_integer_layer

INPUT = "image"
OUTPUT = "logits"


def lower(folded: Folded) -> Program:
    """The network in integers alone, between codes of the image and codes of the logits.

    Raises:
        UnsupportedError: some layers are no integer ones; a sum goes through a smooth function; or numbers do not
            fit in the 32 bits of a sum. All such layers are named.
    """
    check_is_integer(folded)
    first = folded.layers[0].input
    assert first is not None
    writer = Writer()
    entry = writer.tensor(INPUT, folded.in_channels, folded.resolution, Target.of(first))
    value: Pending = Codes(entry)
    layers = iter(folded.layers)
    for block in folded.blocks:
        value = _block(writer, block, [next(layers) for _ in block.layers], value)
    logits = value.into(writer, OUTPUT, Target.logits(value.bound()))
    if writer.misfits:
        raise UnsupportedError(
            f"32 bits do not hold what {len(writer.misfits)} layers add, so that they can not be integer-only: "
            f"{'; '.join(writer.misfits)}. Train longer, choose another candidate, or the format onnx or torch"
        )
    program = Program(tuple(writer.tensors), tuple(writer.instructions), entry.name, logits.name)
    check_sums(program)
    return program


def check_is_integer(folded: Folded) -> None:
    """Raises UnsupportedError, naming the layers that are in the way, if not all is integer arithmetic."""
    real = [
        f"{one.layer.name} ({one.layer.weight_format} weights, {one.layer.activation_format} activations)"
        for one in folded.layers
        if not is_integer_layer(one.layer)
    ]
    if real:
        raise UnsupportedError(
            f"an integer-only network has no layers in real numbers, but here are {len(real)}: {', '.join(real)}. "
            "Choose a candidate whose layers are all integer ones, or the format onnx or torch"
        )
    smooth = [block.name for block in folded.blocks if block.sum_act not in ("none", "relu")]
    if smooth:
        raise UnsupportedError(
            "a sum that goes through a smooth function has no integer form, but here are blocks "
            f"{', '.join(smooth)}: choose the format onnx or torch"
        )


def _block(writer: Writer, block: Block, layers: list[FoldedLayer], value: Pending) -> Pending:
    entry = pooled = value
    for one in (each for each in layers if each.layer.source != "block"):
        layer = one.layer
        if layer.source == "pooled":
            value = pooled = Codes(value.exact(writer, f"{layer.name}.map"))
        if layer.source == "pooled" or (layer.op == "linear" and value.size > 1):
            value = _mean(writer, value, f"{layer.name}.pool")
        taken = _taken(writer, value, one)
        if one is layers[0]:
            entry = Codes(taken)
        value = _layer(writer, one, taken)
        if layer.gate:
            gate = value.exact(writer, f"{layer.name}.gate")
            value = Gated(pooled.exact(writer, f"{layer.name}.map"), gate)
    if block.residual:
        shortcut = next((one for one in layers if one.layer.source == "block"), None)
        addend = entry if shortcut is None else _shortcut(writer, block, shortcut, entry)
        a, b = addend.exact(writer, f"{block.name}.addend"), value.exact(writer, f"{block.name}.chain")
        value = Sum(a, b, block.sum_act == "relu")
    return _max_pool(writer, block, value) if block.max_pool else value


def _layer(writer: Writer, one: FoldedLayer, taken: IntegerTensor) -> Pending:
    value = Affine(one, taken)
    if one.output is None:
        return value
    return Codes(value.into(writer, one.layer.name, Target.of(one.output)), one.layer.act)


def _taken(writer: Writer, value: Pending, one: FoldedLayer) -> IntegerTensor:
    """What the layer reads, in its own format; a shortcut may read what the block's first layer quantized."""
    name = f"{one.layer.name}.input"
    return value.exact(writer, name) if one.input is None else value.into(writer, name, Target.of(one.input))


def _mean(writer: Writer, value: Pending, name: str) -> Pending:
    return value if value.size == 1 else Pooled(value.exact(writer, name))


def _shortcut(writer: Writer, block: Block, one: FoldedLayer, entry: Pending) -> Pending:
    if block.stride > 1:
        entry = Averaged(entry.exact(writer, f"{one.layer.name}.averaged"), block.stride)
    return _layer(writer, one, _taken(writer, entry, one))


def _max_pool(writer: Writer, block: Block, value: Pending) -> Pending:
    read = value.exact(writer, f"{block.name}.pooled")
    made = writer.tensor(f"{block.name}.pool", read.channels, (read.size + 1) // 2, Target.of_tensor(read))
    writer.instructions.append(MaxPool(made.name, read.name, made.name))
    return Codes(made)
