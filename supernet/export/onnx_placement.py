"""Which layers a runtime is to run on integers, and what keeps it from changing what a network means."""

from __future__ import annotations

from dataclasses import dataclass

from bitfront.supernet.export.onnx_builder import CONTAINER_BITS
from bitfront.supernet.export.targets.base import RuntimeName
from bitfront.supernet.folded import Folded, FoldedLayer


@dataclass(frozen=True, slots=True)
class Placement:
    """How quantization is written for one runtime and one network.

    ``has_narrow``: some activations have fewer than 8 bits. There a code more or less is much, and networks answer
    otherwise where a runtime rounds otherwise.

    *ONNX Runtime* has integer kernels for 8-bit weights between 8-bit activations, with biases in 32-bit codes.
    All other layers are real arithmetic there, as is the whole of a network with narrow activations, with exact
    biases. Their weights are a product, which is computed once on loading: a DequantizeLinear would be so in each
    call.

    *OpenVINO* has integer kernels for all integer layers, whatever follows them, and adds biases as real numbers.
    Where a sum or a mean is taken of codes, it leaves out the rounding to codes; in networks with narrow
    activations a node in between keeps it from that.
    """

    runtime: RuntimeName
    has_narrow: bool

    @classmethod
    def of(cls, folded: Folded, runtime: RuntimeName) -> Placement:
        """The placement for a network, or a part of one."""
        bits = [one.input.bits for one in folded.layers if one.input is not None]
        return cls(runtime, min(bits, default=CONTAINER_BITS) < CONTAINER_BITS)

    @property
    def is_openvino(self) -> bool:
        """Whether OpenVINO runs the model."""
        return self.runtime == "openvino"

    @property
    def drops_rounding(self) -> bool:
        """Whether sums and means of quantized tensors must be kept from being fused with what quantizes them."""
        return self.is_openvino and self.has_narrow

    def is_integer(self, folded: FoldedLayer) -> bool:
        """Whether ONNX Runtime is to run a layer on integers, if its input is quantized."""
        return folded.weight_codes is not None and not self.has_narrow
