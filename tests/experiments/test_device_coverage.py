from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bitfront.experiments.device_coverage import space_details
from bitfront.latency_lut.devices.bitfusion import bitfusion
from bitfront.latency_lut.devices.imported import ImportedDevice
from bitfront.supernet.spaces.digits import digits


def test_estimates_are_counted_and_make_combinations_available(tmp_path: Path) -> None:
    space = digits()
    whole = bitfusion().table(bitfusion().restrict(space), None, np.random.default_rng(0))
    gone = {key for key in whole.entries if "depthwise(48>48,k3" in key and "6px" in key}
    assert gone
    known = {key: row for key, row in whole.entries.items() if key not in gone}
    replace(whole, device="phone", entries=known).save(tmp_path / "phone.json")
    found = {}
    for interpolate in (False, True):
        device = ImportedDevice(str(tmp_path / "phone.json"), interpolate)
        table = device.table(device.restrict(space), None, np.random.default_rng(0))
        found[interpolate] = space_details(device, space, table, None)
    assert found[False]["estimated_blocks"] == 0
    assert found[True]["estimated_blocks"] == len(gone)
    assert found[True]["available_networks"] > found[False]["available_networks"]
