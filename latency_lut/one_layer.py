"""One representative layer of each operator, by itself: what shows whether a number format pays on a device."""

from __future__ import annotations

from dataclasses import replace

from bitfront.supernet.layers import Block, Layer, Op

REPRESENTATIVES: dict[Op, Layer] = {
    "conv": Layer("layer", "conv", 3, 32, 3, 2, 112, "fp32", "fp32", True, "relu"),
    "pointwise": Layer("layer", "pointwise", 96, 96, 1, 1, 28, "fp32", "fp32", False, "relu"),
    "depthwise": Layer("layer", "depthwise", 96, 96, 5, 1, 28, "fp32", "fp32", False, "relu"),
    "linear": Layer("layer", "linear", 1280, 1000, 1, 1, 1, "fp32", "fp32", False, "none"),
}
"""Shapes as in the middle of mobile networks; each takes well above a runtime's call."""


def one_layer(op: Op, weight_format: str, activation_format: str) -> tuple[Block]:
    """The representative of ``op`` in the given formats, as a part of a network."""
    layer = replace(REPRESENTATIVES[op], weight_format=weight_format, activation_format=activation_format)
    return (Block("layer", "head" if op == "linear" else "mbconv", (layer,)),)
