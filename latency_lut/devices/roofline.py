"""A modelled accelerator of one's own: a layer is bound by computing or by DRAM (Williams et al., CACM 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.accelerator import PACKAGED, read_accelerator
from bitfront.latency_lut.analytic import AnalyticDevice, Work
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import layer_bytes


class Roofline(AnalyticDevice):
    """The accelerator that a YAML ``file`` describes, for ``batch`` images; without a file, the packaged one.

    A layer takes the longer of MACs / (peak x utilisation) and bytes / bandwidth, and the overhead. Bytes are
    those of its weights, once per call, and of its input and output, per image, in the formats in which the policy
    stores them. Residual additions and pooling cost nothing.

    Raises:
        UnsupportedError: ``batch`` is not a whole number of at least 1, or ``file`` is no path.
        MissingFileError, CorruptFileError, InvalidAcceleratorError: see `read_accelerator`.
    """

    name = "roofline"
    costs = ("latency_ms", "energy_mj")

    def __init__(self, file: str | Path | None = None, batch: int = 1) -> None:
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise UnsupportedError(f"roofline can not run a batch of {batch!r}: choose a whole number from 1")
        if not isinstance(file, str | Path | None):
            raise UnsupportedError(f"roofline can not read file = {file!r}: give the path of a YAML file")
        self.batch = batch
        self.accelerator = read_accelerator(PACKAGED if file is None else Path(file))

    def executable(self, op: str) -> frozenset[tuple[str, str]]:
        """The pairs of formats that have a peak."""
        return frozenset(self.accelerator.peak_gmacs_per_s)

    def layer_costs(self, works: Sequence[Work]) -> NDArray[np.float64]:
        """Latency in ms and energy in mJ of one call, shape (n, 2)."""
        given, layers = self.accelerator, [work.layer for work in works]
        pairs = [(layer.weight_format, layer.activation_format) for layer in layers]
        macs = self.batch * np.array([layer.macs for layer in layers], dtype=np.float64)
        moved = np.array([moved_bytes(work, self.batch) for work in works])
        reached = np.array(
            [
                given.peak_gmacs_per_s[pair] * given.utilisation.get(layer.op, 1.0)
                for pair, layer in zip(pairs, layers, strict=True)
            ]
        )
        ms = np.maximum(macs / reached, moved / given.bandwidth_gb_per_s) * 1e-6 + given.overhead_us * 1e-3
        mac_pj = np.array([given.mac_pj[pair] for pair in pairs])
        return np.stack([ms, (macs * mac_pj + moved * given.dram_pj_per_byte) * 1e-9], axis=1)

    def provenance(self) -> dict[str, Any]:
        """The model and all its numbers."""
        return {"model": "roofline", "batch": self.batch, "accelerator": self.accelerator.described()}


def roofline(file: str | Path | None = None, batch: int = 1) -> Roofline:
    """The device; options are those of `Roofline`."""
    return Roofline(file, batch)


def moved_bytes(work: Work, batch: int) -> float:
    """Bytes to and from DRAM: weights, biases and scales once, the input and the output for every image."""
    layer = work.layer
    taken = layer.in_channels * layer.in_size**2 * _bits(layer.activation_format)
    given = layer.out_channels * layer.out_size**2 * _bits(work.output_format)
    return layer_bytes(layer) + batch * (taken + given) / 8


def _bits(format_name: str) -> int:
    return FORMATS.get(format_name).storage_bits
