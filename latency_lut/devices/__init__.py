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
        "host-openvino": "bitfront.latency_lut.devices.host_openvino:host_openvino",
        "host-openvino-avx2": "bitfront.latency_lut.devices.host_openvino:host_openvino_avx2",
        "host-openvino-avx512-core": "bitfront.latency_lut.devices.host_openvino:host_openvino_avx512_core",
        "imported": "bitfront.latency_lut.devices.imported:imported",
        "roofline": "bitfront.latency_lut.devices.roofline:roofline",
    },
)
