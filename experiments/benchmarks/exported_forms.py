"""What the forms of one exported network are worth on test images, against the network they were made from."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.evaluation_images import even_rows
from bitfront.supernet.export.integer.c.build import built, run_c
from bitfront.supernet.export.integer.codes import image_codes
from bitfront.supernet.export.integer.numpy_run import run_numpy
from bitfront.supernet.export.integer.program import Program
from bitfront.supernet.export.integer.program_file import read_program
from bitfront.supernet.export.integer.torch_run import run_torch
from bitfront.supernet.export.onnx_runtime import run_onnx
from bitfront.supernet.export.openvino_run import run_openvino
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.targets.base import ExportOptions, RuntimeName
from bitfront.supernet.folded import Folded

Images = NDArray[np.float32]
Figures = dict[str, float]

_RUNS: dict[RuntimeName, Callable[[bytes, Images], NDArray[np.float32]]] = {
    "onnxruntime": run_onnx,
    "openvino": run_openvino,
}
_TIMED_IN_C = 2000


@dataclass(frozen=True)
class Network:
    """A network and its answers to test images.

    Attributes:
        folded: the network.
        size_bytes: what the search took its size to be.
        images: shape (n, channels, r, r).
        labels: shape (n,).
        answers: classes (n,) that the fake-quantized network names.
    """

    folded: Folded
    size_bytes: float
    images: Images
    labels: NDArray[np.int64]
    answers: NDArray[np.intp]

    @classmethod
    def of(cls, evaluator: Evaluator, genome: NDArray[np.uint8], size_bytes: float, most: int | None) -> Network:
        """That of a genome, on the first ``most`` images of the test split."""
        subnet = evaluator.subnet(evaluator.supernet.space.blocks(genome))
        folded, labels = subnet.fold(), evaluator.dataset.test.labels[:most]
        rows = even_rows(0, len(labels), evaluator.images_at_once(folded.resolution))
        parts = [evaluator.images("test", folded.resolution, each) for each in rows]
        with torch.no_grad():
            answers = np.concatenate([subnet(part).argmax(1).numpy() for part in parts])
        return cls(folded, size_bytes, torch.cat(parts).numpy(), labels, answers)

    def compared(self, name: str, logits: NDArray[Any]) -> Figures:
        """On what share of images a form names the same class, and by how much its accuracy differs."""
        answers = logits.argmax(1)
        top1, own = (float(np.mean(each == self.labels)) for each in (answers, self.answers))
        return {
            f"{name}_agreement": float(np.mean(answers == self.answers)),
            f"{name}_top1_difference": abs(top1 - own),
        }

    def size_error(self, stored_bytes: int) -> float:
        """How far the bytes that a form takes are from what the search took the size to be, as a share of that."""
        return abs(stored_bytes / self.size_bytes - 1.0)


def run_in(runtime: RuntimeName, network: Network) -> tuple[Figures, bytes]:
    """What the ONNX model for a runtime answers in it, and the model."""
    target = TARGETS.get("onnx")
    files = target.files(network.folded, ExportOptions(runtime))
    model = files[target.main_file]
    found = network.compared(runtime, _RUNS[runtime](model, network.images))
    found[f"{runtime}_onnx_size_error"] = network.size_error(len(model))
    constants = int(target.described(network.folded, files)["size_bytes"])
    return found | {f"{runtime}_onnx_constants_error": network.size_error(constants)}, model


def run_in_integers(network: Network, timed: int) -> Figures:
    """What the integer forms answer, on how many images they differ from NumPy, and how fast C is.

    ``timed``: how many images NumPy is timed on, one by one.
    """
    target = TARGETS.get("integer")
    files = target.files(network.folded, ExportOptions())
    program = read_program(files[target.main_file])
    codes = image_codes(program, network.images)
    by_numpy = run_numpy(program, codes)
    found = network.compared("integer", by_numpy)
    found["integer_size_error"] = network.size_error(len(files[target.main_file]))
    found["torch_differs"] = differing(run_torch(program, codes), by_numpy)
    return found | _in_c(network, codes, by_numpy, _numpy_ms(program, codes[:timed]))


def differing(some: NDArray[np.int32], others: NDArray[np.int32]) -> float:
    """How many rows of two arrays (n, m) are not the same."""
    return float((some != others).any(axis=1).sum())


def _numpy_ms(program: Program, codes: NDArray[np.generic]) -> float:
    """Median processor time of one image."""
    spent = []
    for image in codes:
        start = time.process_time_ns()
        run_numpy(program, image[None])
        spent.append(time.process_time_ns() - start)
    return float(np.median(spent)) / 1e6


def _in_c(network: Network, codes: NDArray[np.generic], expected: NDArray[np.int32], numpy_ms: float) -> Figures:
    target = TARGETS.get("c")
    files = target.files(network.folded, ExportOptions())
    told = target.described(network.folded, files)
    with tempfile.TemporaryDirectory() as folder:
        command = built({Path(name).name: content for name, content in files.items()}, Path(folder))
        answers = run_c(command, codes, network.folded.classes)
        sizes = json.loads(_said(command, "--sizes"))
        ms = float(_said(command, "--time", str(_TIMED_IN_C))) / 1e3
    return {
        "c_differs": differing(answers, expected),
        "c_bytes_differs": float(sum(abs(size - told[name]) for name, size in sizes.items())),
        "c_size_error": network.size_error(told["size_bytes"]),
        "c_ms": ms,
        "numpy_ms": numpy_ms,
        "c_times_numpy": numpy_ms / ms,
    }


def _said(command: Path, *arguments: str) -> str:
    return subprocess.run([command, *arguments], check=True, capture_output=True, text=True).stdout
