"""How long exported ONNX models take on a runtime of this machine, timed as its tables are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from bitfront.latency_lut.bundle.profile import (
    Call,
    Samples,
    onnxruntime_call,
    openvino_call,
    summary,
    take_samples,
)
from bitfront.latency_lut.devices.host_openvino import HostOpenVINO
from bitfront.latency_lut.machine_lock import measuring_alone
from bitfront.latency_lut.runtime_device import RuntimeDevice


def latencies(device: RuntimeDevice, models: Sequence[bytes], rng: np.random.Generator) -> NDArray[np.float64]:
    """Of one call with the device's batch, in ms, (n,), all timed in the same rounds."""
    samples: Samples = {}

    def opened(key: str) -> Call:
        model = of_batch(models[int(key)], device.batch)
        if isinstance(device, HostOpenVINO):
            return openvino_call(model, device.threads, rng, device.precision)
        return onnxruntime_call(model, device.threads, rng)

    keys = [str(number) for number in range(len(models))]
    with measuring_alone():
        take_samples(opened, keys, samples, rng, device.protocol, device.timer)
    return np.array([summary(samples[key]).latency_ms for key in keys])


def of_batch(model: bytes, batch: int) -> bytes:
    """The model with a fixed number of images, as a runtime that is told so sees it."""
    fixed = onnx.load_from_string(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return bytes(fixed.SerializeToString())
