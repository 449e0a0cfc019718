"""Devices that nobody has searched for yet: distinct settings of the modelled ones."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from bitfront.latency_lut.accelerator import PACKAGED, read_accelerator
from bitfront.supernet.files import write_text

_BITFUSIONS: tuple[dict[str, Any], ...] = (
    {},
    {"profile": "apq"},
    {"batch": 2},
    {"batch": 4},
    {"batch": 8},
)
_SIZES = (0.25, 0.5, 1.0, 2.0, 4.0)
_BANDWIDTHS = (0.25, 1.0, 4.0)
MOST = len(_BITFUSIONS) * (1 + len(_BANDWIDTHS))


def further_devices(folder: Path) -> list[dict[str, Any]]:
    """`MOST` device sections of a spec, all different and of mixed kinds: among the first few as among all.

    The second of every four is BitFusion, with another batch or profile. The others are rooflines with arrays (or
    clocks) of 1/4 to 4 times the packaged one's peaks and 1/4 to 4 times its bandwidth; their files go to
    ``folder``.
    """
    rooflines = _rooflines(folder)
    sections = []
    for options in _BITFUSIONS:
        group = [{"name": "roofline", "options": {"file": str(next(rooflines))}} for _ in _BANDWIDTHS]
        sections += [*group[:1], {"name": "bitfusion", "options": options}, *group[1:]]
    return sections


def _rooflines(folder: Path) -> Iterator[Path]:
    packaged = read_accelerator(PACKAGED).described()
    for size, bandwidth in product(_SIZES, _BANDWIDTHS):
        one = copy.deepcopy(packaged)
        one["name"] = f"an accelerator {size:g} times as large with {bandwidth:g} times the bandwidth"
        one["peak_gmacs_per_s"] = {pair: size * peak for pair, peak in packaged["peak_gmacs_per_s"].items()}
        one["bandwidth_gb_per_s"] = bandwidth * packaged["bandwidth_gb_per_s"]
        path = folder / f"accelerator-{size:g}-{bandwidth:g}.yaml"
        write_text(path, yaml.safe_dump(one))
        yield path
