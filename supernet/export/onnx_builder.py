"""Nodes and constants of an ONNX graph, and the pairs of QuantizeLinear and DequantizeLinear in it."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from itertools import chain, count, product
from string import ascii_letters
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bitfront.supernet.export.onnx_containers import oldest_opset
from bitfront.supernet.folded import TensorQuant

# The oldest opset in which per-channel DequantizeLinear and all fusions of ONNX Runtime are at hand: an export
# should load in as many runtimes as it can.
OPSET = 17

CONTAINER_BITS = 8


class GraphBuilder:
    """Collects the nodes of one graph in order. Names of tensors are short, for the files of small networks."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._unused = map("".join, chain.from_iterable(product(ascii_letters, repeat=n) for n in count(1)))
        self._constants: dict[str, onnx.TensorProto] = {}
        self._names: dict[bytes, str] = {}
        self._dequantized: dict[tuple[str, TensorQuant], str] = {}
        self._origin: dict[str, tuple[str, TensorQuant]] = {}
        self._cast: dict[tuple[str, int], str] = {}
        self._before_relu: dict[str, str] = {}
        self._per_index: dict[tuple[str, int], str] = {}

    def constant(self, values: NDArray[Any] | np.generic) -> str:
        """Store a constant, once for all who need it, and return its name. A scalar keeps its rank of 0."""
        tensor = numpy_helper.from_array(np.asarray(values, order="C"))
        content = hashlib.blake2b(tensor.SerializeToString()).digest()
        if content not in self._names:
            name = tensor.name = self._names[content] = next(self._unused)
            self._constants[name] = tensor
        return self._names[content]

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """Append one node with one output, and return the output's name.

        Nodes with weights have their layer's ``name``, the others none.
        """
        output = next(self._unused)
        self._nodes.append(helper.make_node(op, inputs, [output], **attributes))
        if op == "Relu":
            self._before_relu[output] = inputs[0]
        return output

    def quantize(self, tensor: str, quant: TensorQuant) -> str:
        """Codes (uint8) of a real tensor; fewer than 8 bits saturate by a Clip in front.

        Where no code stands for a negative number, a Relu before them has nothing left to do.
        """
        if quant.zero_point == 0:
            tensor = self._before_relu.get(tensor, tensor)
        if quant.bits < CONTAINER_BITS:
            low, high = ((code - quant.zero_point) * quant.scale for code in (0, 2**quant.bits - 1))
            tensor = self.node("Clip", [tensor, self.constant(np.float32(low)), self.constant(np.float32(high))])
        return self.node("QuantizeLinear", [tensor, *self._qparams(quant)])

    def dequantize(self, codes: str, quant: TensorQuant) -> str:
        """Real values of uint8 codes."""
        output = self.node("DequantizeLinear", [codes, *self._qparams(quant)])
        self._origin[output] = (codes, quant)
        return output

    def quant_of(self, tensor: str) -> TensorQuant | None:
        """The format of a tensor that comes straight out of a DequantizeLinear, else None."""
        return self._origin[tensor][1] if tensor in self._origin else None

    def per_index(self, tensor: str, axis: int, size: int) -> str:
        """The same dequantized tensor, but made with one (equal) scale for each index of an axis."""
        if (tensor, axis) not in self._per_index:
            codes, quant = self._origin[tensor]
            shape = self.constant(np.array([size]))
            # No zero point is 0.
            qparams = self._qparams(quant)[: 2 if quant.zero_point else 1]
            expanded = [self.node("Expand", [one, shape]) for one in qparams]
            self._per_index[tensor, axis] = self.node("DequantizeLinear", [codes, *expanded], axis=axis)
        return self._per_index[tensor, axis]

    def fake_quant(self, tensor: str, quant: TensorQuant | None) -> str:
        """The tensor as its consumers see it in a format; one pair of nodes serves all of them."""
        if quant is None:
            return tensor
        key = (tensor, quant)
        if key not in self._dequantized:
            self._dequantized[key] = self.dequantize(self.quantize(tensor, quant), quant)
        return self._dequantized[key]

    def cast_to(self, tensor: str, data_type: int) -> str:
        """The tensor as its consumers see it in a float type of ONNX; one pair of nodes serves all of them."""
        key = (tensor, data_type)
        if key not in self._cast:
            narrow = self.node("Cast", [tensor], to=data_type)
            self._cast[key] = self.node("Cast", [narrow], to=onnx.TensorProto.FLOAT)
        return self._cast[key]

    def accept_codes(self, codes: str, quant: TensorQuant) -> str:
        """The real tensor behind codes that come from outside; consumers in the same format share the pair."""
        name = self.dequantize(codes, quant)
        self._dequantized[name, quant] = name
        return name

    def rename(self, tensor: str, name: str) -> None:
        """Give a tensor another name, as its producer and all its consumers know it."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [name if each == tensor else each for each in names]

    def model(
        self,
        name: str,
        graph_input: onnx.ValueInfoProto,
        graph_output: onnx.ValueInfoProto,
        metadata: dict[str, str],
    ) -> onnx.ModelProto:
        """The finished model, checked against the ONNX standard. What the output does not need is left out."""
        nodes = self._needed(graph_output.name)
        read = {each for node in nodes for each in node.input}
        constants = [tensor for key, tensor in self._constants.items() if key in read]
        graph = helper.make_graph(nodes, name, [graph_input], [graph_output], initializer=constants)
        types = {one.data_type for one in constants} | {data_type for _, data_type in self._cast}
        opsets = [helper.make_opsetid("", max(OPSET, oldest_opset(types)))]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="bitfront",
            producer_version=version("bitfront"),
        )
        helper.set_model_props(model, metadata)
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
        return [self.constant(np.float32(quant.scale)), self.constant(np.uint8(quant.zero_point))]
