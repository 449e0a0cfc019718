"""BitFusion (Sharma et al., ISCA 2018): a modelled accelerator whose cycles depend on the bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.analytic import AnalyticDevice, Work
from bitfront.latency_lut.bitfusion_cycles import CLOCK_HZ, simulate
from bitfront.latency_lut.bitfusion_tiles import Convolution, fusion
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.quantization.formats import FORMATS

_FORMATS = ("int4", "int6", "int8")
_PAIRS = frozenset((weight, activation) for weight in _FORMATS for activation in _FORMATS)
_GROUP = 8


class BitFusion(AnalyticDevice):
    """BitFusion as its authors' simulator models it, at 500 MHz, working on ``batch`` images at once.

    That simulator knows no depthwise convolutions. They are mapped as in APQ (Wang et al., CVPR 2020): groups
    of 8 channels per product that a fusion unit makes in a cycle, each run as a dense convolution. Residual
    additions and pooling cost nothing.

    Raises:
        UnsupportedError: ``batch`` is not a whole number of at least 1.
    """

    name = "bitfusion"
    costs = ("latency_ms", "energy_mj")

    def __init__(self, batch: int = 1) -> None:
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise UnsupportedError(f"bitfusion can not run a batch of {batch!r}: choose a whole number from 1")
        self.batch = batch

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        """Any of int4, int6 (which runs as 8 bits but moves less) and int8, for weights and activations alike."""
        return _PAIRS

    def layer_costs(self, works: Sequence[Work]) -> NDArray[np.float64]:
        """Latency in ms and dynamic energy in mJ of one call with the whole batch, shape (n, 2)."""
        mapped = [_mapped(work) for work in works]
        cost = simulate([convolution for convolution, _ in mapped], self.batch)
        times = np.array([times for _, times in mapped])
        return np.stack([cost.cycles * times / CLOCK_HZ * 1e3, cost.energy_nj * times * 1e-6], axis=1)

    def provenance(self) -> dict[str, Any]:
        """The model and its settings."""
        return {
            "model": "bitfusion",
            "profile": "released",
            "source": "Sharma et al., Bit Fusion, ISCA 2018",
            "batch": self.batch,
            "clock_hz": CLOCK_HZ,
        }


def bitfusion(batch: int = 1) -> BitFusion:
    """The device; options are those of `BitFusion`."""
    return BitFusion(batch)


def _mapped(work: Work) -> tuple[Convolution, int]:
    """A layer as a dense convolution and how often it runs."""
    layer = work.layer
    weight, activation = (
        FORMATS.get(name).storage_bits for name in (layer.weight_format, layer.activation_format)
    )
    channels, times = (layer.in_channels, layer.out_channels), 1
    if layer.op == "depthwise":
        width = _GROUP * fusion(weight, activation)
        channels, times = (width, width), -(-layer.in_channels // width)
    return Convolution(
        layer.kernel, layer.out_size, layer.stride, *channels, weight, activation, work.reads_image
    ), times
