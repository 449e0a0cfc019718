"""Nodes and constants of an ONNX graph, and the pairs of QuantizeLinear and DequantizeLinear in it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bitfront.supernet.folded import TensorQuant

# The oldest opset in which per-channel DequantizeLinear and all fusions of ONNX Runtime are at hand: an export
# should load in as many runtimes as it can.
OPSET = 17
_OPSET_OF_INT4 = 21

CONTAINER_BITS = 8


class GraphBuilder:
    """Collects the nodes of one graph in order. Tensors are known by name."""

    def __init__(self) -> None:
        self._opset = OPSET
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._dequantized: dict[tuple[str, TensorQuant], str] = {}
        self._origin: dict[str, tuple[str, TensorQuant]] = {}
        self._along_axes: set[str] = set()

    def constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """Store a constant under ``name`` (once) and return the name. A scalar keeps its rank of 0."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append one node with one output, named after it, and return the output's name."""
        self._nodes.append(helper.make_node(op, inputs, [output], name=f"{output}/{op}", **attributes))
        return output

    def quantize(self, tensor: str, quant: TensorQuant, output: str) -> str:
        """Codes (uint8) of a real tensor; fewer than 8 bits saturate by a Clip in front."""
        if quant.bits < CONTAINER_BITS:
            low, high = ((code - quant.zero_point) * quant.scale for code in (0, 2**quant.bits - 1))
            bounds = [
                self.constant(f"{output}/low", np.float32(low)),
                self.constant(f"{output}/high", np.float32(high)),
            ]
            tensor = self.node("Clip", [tensor, *bounds], f"{output}/clipped")
        return self.node("QuantizeLinear", [tensor, *self._qparams(quant)], output)

    def dequantize(self, codes: str, quant: TensorQuant, output: str) -> str:
        """Real values of uint8 codes."""
        self._origin[output] = (codes, quant)
        return self.node("DequantizeLinear", [codes, *self._qparams(quant)], output)

    def quant_of(self, tensor: str) -> TensorQuant | None:
        """The format of a tensor that comes straight out of a DequantizeLinear, else None."""
        return self._origin[tensor][1] if tensor in self._origin else None

    def along_axis(self, tensor: str, axis: int, size: int) -> str:
        """The same dequantized tensor, but made with one (equal) scale for each index of an axis."""
        codes, quant = self._origin[tensor]
        name = f"{tensor}/axis{axis}"
        if name in self._along_axes:
            return name
        self._along_axes.add(name)
        inputs = [
            codes,
            self.constant(f"{name}.scale", np.full(size, quant.scale, np.float32)),
            self.constant(f"{name}.zero_point", np.full(size, quant.zero_point, np.uint8)),
        ]
        return self.node("DequantizeLinear", inputs, name, axis=axis)

    def fake_quant(self, tensor: str, quant: TensorQuant | None) -> str:
        """The tensor as its consumers see it in a format; one pair of nodes serves all of them."""
        if quant is None:
            return tensor
        key = (tensor, quant)
        if key not in self._dequantized:
            name = f"{tensor}/q{len(self._dequantized)}"
            self._dequantized[key] = self.dequantize(self.quantize(tensor, quant, f"{name}/codes"), quant, name)
        return self._dequantized[key]

    def accept_codes(self, codes: str, quant: TensorQuant) -> str:
        """The real tensor behind codes that come from outside; consumers in the same format share the pair."""
        name = self.dequantize(codes, quant, f"{codes}/real")
        self._dequantized[name, quant] = name
        return name

    def rename(self, tensor: str, name: str) -> None:
        """Give a tensor another name, as its producer and all its consumers know it."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [name if each == tensor else each for each in names]

    def dequantized_constant(self, name: str, codes: NDArray[Any], scale: NDArray[np.float32]) -> str:
        """Real values of constant codes, with one scale per entry of axis 0 and zero point 0."""
        inputs = [
            self.constant(f"{name}.codes", codes),
            self.constant(f"{name}.scale", scale.astype(np.float32)),
            self.constant(f"{name}.zero_point", np.zeros(len(scale), dtype=codes.dtype)),
        ]
        return self.node("DequantizeLinear", inputs, name, axis=0)

    def dequantized_int4(self, name: str, codes: NDArray[np.int8], scale: NDArray[np.float32]) -> str:
        """Real values of constant codes from -8 to 7, stored as 4 bits, with one scale per entry of axis 1."""
        self._opset = _OPSET_OF_INT4
        packed = self.constant(f"{name}.codes", codes.astype(ml_dtypes.int4))
        return self.node("DequantizeLinear", [packed, self.constant(f"{name}.scale", scale)], name, axis=1)

    def model(
        self, name: str, graph_input: onnx.ValueInfoProto, graph_output: onnx.ValueInfoProto
    ) -> onnx.ModelProto:
        """The finished model, checked against the ONNX standard. What the output does not need is left out."""
        nodes = self._needed(graph_output.name)
        read = {each for node in nodes for each in node.input}
        constants = [tensor for key, tensor in self._constants.items() if key in read]
        graph = helper.make_graph(nodes, name, [graph_input], [graph_output], initializer=constants)
        opsets = [helper.make_opsetid("", self._opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="bitfront",
            producer_version=version("bitfront"),
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _needed(self, output: str) -> list[onnx.NodeProto]:
        needed, kept = {output}, []
        for node in reversed(self._nodes):
            if node.output[0] in needed:
                needed.update(node.input)
                kept.append(node)
        return kept[::-1]

    def _qparams(self, quant: TensorQuant) -> list[str]:
        return [
            self.constant(f"scale/{quant.scale!r}", np.float32(quant.scale)),
            self.constant(f"zero_point/{quant.zero_point}", np.uint8(quant.zero_point)),
        ]
