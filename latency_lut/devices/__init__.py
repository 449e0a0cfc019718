"""Devices, one a file. A new device is one file and one line here.

A registered factory takes the device's options as keyword arguments and returns the device.
"""

from __future__ import annotations

from collections.abc import Callable

from bitfront.latency_lut.device import Device
from bitfront.supernet.registry import Registry

DEVICES: Registry[Callable[..., Device]] = Registry(
    "device",
    {
        "bitfusion": "bitfront.latency_lut.devices.bitfusion:bitfusion",
        "host-onnxruntime": "bitfront.latency_lut.devices.host_onnxruntime:host_onnxruntime",
    },
)
