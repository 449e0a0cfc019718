"""BitFusion (Sharma et al., ISCA 2018): a modelled accelerator whose cycles depend on the bits."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.analytic import AnalyticDevice, Work, reads_image
from bitfront.latency_lut.bitfusion_apq import AS_IN_APQ
from bitfront.latency_lut.bitfusion_cycles import CLOCK_HZ, Cost, fitting, simulate
from bitfront.latency_lut.bitfusion_profile import Profile
from bitfront.latency_lut.bitfusion_released import RELEASED
from bitfront.latency_lut.bitfusion_tiles import OUTPUTS, Convolution, fusion
from bitfront.supernet.errors import UnknownNameError, UnsupportedError
from bitfront.supernet.layers import Block, Layer, Op
from bitfront.supernet.quantization.formats import FORMATS

_FORMATS = ("int4", "int6", "int8")
_PAIRS = frozenset((weight, activation) for weight in _FORMATS for activation in _FORMATS)
_GROUP = 8
_PROFILES: dict[str, Profile] = {profile.name: profile for profile in (RELEASED, AS_IN_APQ)}


class BitFusion(AnalyticDevice):
    """BitFusion at 500 MHz, working on ``batch`` images at once.

    ``profile`` is ``released``, as its authors' simulator models it, or ``apq``, as in the table that APQ (Wang et
    al., CVPR 2020) published, which is of batch 1. The simulator knows no depthwise convolutions. They are mapped
    as in APQ: groups of 8 channels per product that a fusion unit makes in a cycle, each run as a dense
    convolution. Residual additions and pooling cost nothing.

    Raises:
        UnsupportedError: ``batch`` is not a whole number of at least 1.
        UnknownNameError: there is no such profile.
    """

    name = "bitfusion"
    costs = ("latency_ms", "energy_mj")

    def __init__(self, batch: int = 1, profile: str = RELEASED.name) -> None:
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise UnsupportedError(f"bitfusion can not run a batch of {batch!r}: choose a whole number from 1")
        if not isinstance(profile, str) or profile not in _PROFILES:
            raise UnknownNameError("profile of bitfusion", profile, _PROFILES)
        self.batch = batch
        self.profile = _PROFILES[profile]

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        """Any of int4, int6 (which runs as 8 bits but moves less) and int8, for weights and activations alike."""
        return _PAIRS

    def covers(self, block: Block) -> bool:
        """Whether a tile of every layer fits the buffers; large depthwise kernels may not."""
        profile = self.profile.name
        return all(
            _fits(one.op, one.kernel, (one.weight_format, one.activation_format), reads_image(block, one), profile)
            for one in block.layers
        )

    def layer_costs(self, works: Sequence[Work]) -> NDArray[np.float64]:
        """Latency in ms and energy in mJ (dynamic; in profile ``apq`` also leakage) of one call, shape (n, 2)."""
        cost, times = self._simulated(works)
        return np.stack([cost.cycles * times / CLOCK_HZ * 1e3, cost.energy_nj * times * 1e-6], axis=1)

    def stall_shares(self, works: Sequence[Work]) -> NDArray[np.float64]:
        """Share of each layer's cycles in which the array waits for DRAM, in [0, 1), shape (n,)."""
        return self._simulated(works)[0].stall_share

    def dram_bound(self, works: Sequence[Work]) -> NDArray[np.bool_]:
        """Whether moving a layer's data takes longer than computing it, shape (n,); else it is compute-bound.

        Fewer bits make a compute-bound layer faster by the products that they fuse, a DRAM-bound one only by what
        they save in traffic, which they do not for the 32-bit partial sums.
        """
        return self._simulated(works)[0].dram_bound

    def provenance(self) -> dict[str, Any]:
        """The model and its settings."""
        return {
            "model": "bitfusion",
            "profile": self.profile.name,
            "source": self.profile.source,
            "batch": self.batch,
            "clock_hz": CLOCK_HZ,
        }

    def _simulated(self, works: Sequence[Work]) -> tuple[Cost, NDArray[np.int64]]:
        """The cost of one run of each layer's convolution, and how often it runs, shape (n,)."""
        mapped = [_mapped(work) for work in works]
        different = {convolution: i for i, convolution in enumerate(dict.fromkeys(c for c, _ in mapped))}
        cost = simulate(list(different), self.batch, self.profile)
        return cost.at(np.array([different[c] for c, _ in mapped])), np.array([times for _, times in mapped])


def bitfusion(batch: int = 1, profile: str = RELEASED.name) -> BitFusion:
    """The device; options are those of `BitFusion`."""
    return BitFusion(batch, profile)


@functools.cache
def _fits(op: Op, kernel: int, formats: tuple[str, str], image: bool, profile: str) -> bool:
    """Whether some tile of such a layer fits: the smallest has one place, one input and 32 output channels."""
    layer = Layer("", op, 1, OUTPUTS, kernel, 1, 1, *formats, True, "none")
    return bool(fitting([_mapped(Work(layer, image, ""))[0]], profile=_PROFILES[profile])[0])


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
