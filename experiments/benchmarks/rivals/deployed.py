"""Networks in the form in which they are deployed, and what they are worth so: in OpenVINO, measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.latency_lut.bundle.profile import (
    Call,
    Samples,
    call_of_read,
    openvino_core,
    openvino_settings,
    summary,
    take_samples,
)
from bitfront.latency_lut.devices.host_openvino import HostOpenVINO
from bitfront.latency_lut.machine_lock import measuring_alone
from bitfront.supernet.evaluation import Evaluator, resolution_of
from bitfront.supernet.evaluation_images import even_rows
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.targets.base import ExportOptions
from bitfront.supernet.genes import Genomes

_IMAGES_AT_ONCE = 500


@dataclass(frozen=True)
class Deployed:
    """A network that takes any number of images.

    Attributes:
        model: ONNX, or OpenVINO's own XML.
        resolution: side of its images, in pixels.
        weights: those of an XML, which has none by itself.
    """

    model: bytes
    resolution: int
    weights: bytes = b""

    def read(self, batch: int) -> Any:
        """As OpenVINO's model for ``batch`` images."""
        given = (self.model, self.weights) if self.weights else (self.model,)
        model = openvino_core().read_model(*given)
        shape = model.input(0).partial_shape
        shape[0] = batch
        model.reshape(shape)
        return model


def exported(evaluator: Evaluator, genomes: Genomes) -> list[Deployed]:
    """Networks (n, n_genes) of a supernet as ONNX that is written for OpenVINO."""
    target, space = TARGETS.get("onnx"), evaluator.supernet.space
    models = []
    for genome in genomes:
        blocks = space.blocks(genome)
        files = target.files(evaluator.subnet(blocks).fold(), ExportOptions("openvino"))
        models.append(Deployed(files[target.main_file], resolution_of(blocks)))
    return models


def accuracy(model: Deployed, evaluator: Evaluator, split: str) -> float:
    """Share of the images of a split that OpenVINO names right with it, in fp32 where nothing is quantized."""
    labels, right = evaluator.dataset.split(split).labels, 0
    images = evaluator.images(split, model.resolution).numpy()
    compiled: dict[int, Any] = {}
    for rows in even_rows(0, len(labels), _IMAGES_AT_ONCE):
        part = np.ascontiguousarray(images[rows])
        if len(part) not in compiled:
            settings = openvino_settings(os.cpu_count() or 1, "fp32")
            compiled[len(part)] = openvino_core().compile_model(model.read(len(part)), "CPU", settings)
        right += int((compiled[len(part)](part)[0].argmax(1) == labels[rows]).sum())
    return right / len(labels)


def latencies(device: HostOpenVINO, models: Sequence[Deployed], rng: np.random.Generator) -> NDArray[np.float64]:
    """Of one call with the device's batch, in ms, (n,), by the device's protocol, all timed in the same rounds."""
    samples: Samples = {}

    def opened(key: str) -> Call:
        return call_of_read(models[int(key)].read(device.batch), device.threads, rng, device.precision)

    keys = [str(number) for number in range(len(models))]
    with measuring_alone():
        take_samples(opened, keys, samples, rng, device.protocol, device.timer)
    return np.array([summary(samples[key]).latency_ms for key in keys])
