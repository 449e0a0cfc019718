"""Mixed precision by NNCF: what OpenVINO's own users are told to quantize with, with control of accuracy."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bitfront.experiments.benchmarks.rivals import nncf_script
from bitfront.experiments.benchmarks.rivals.deployed import Deployed
from bitfront.experiments.benchmarks.rivals.environment import environment, run_apart
from bitfront.experiments.reporter import Reporter
from bitfront.supernet.evaluation import Evaluator

NAME = "nncf"
_SECONDS_EACH = 600.0
MAX_DROP = 0.005
"""Accuracy on the validation split that a network may lose before NNCF takes layers back to real numbers."""
_REQUIREMENTS = ("nncf>=3.0,<4",)


def mixed_by_nncf(
    networks: Sequence[Deployed], evaluator: Evaluator, python: Path, reporter: Reporter
) -> list[Deployed]:
    """Networks in real numbers after NNCF's `quantize_with_accuracy_control`, in OpenVINO's own form.

    ``python`` is that of `nncf_python`. Ranges are of the images that calibrate batch norm, accuracies of the
    validation split.

    Raises:
        LeftOutError: it fails.
    """
    with tempfile.TemporaryDirectory(prefix="bitfront-nncf-") as name:
        folder = Path(name)
        _write(networks, evaluator, folder)
        reporter.say(f"quantizing {len(networks)} networks with {NAME}")
        run_apart([str(python), "-I", nncf_script.__file__, str(folder)], NAME, len(networks) * _SECONDS_EACH)
        return [
            Deployed(
                (folder / f"{number}.xml").read_bytes(),
                network.resolution,
                (folder / f"{number}.bin").read_bytes(),
            )
            for number, network in enumerate(networks)
        ]


def nncf_python(may_install: bool, reporter: Reporter) -> Path:
    """That of an environment with NNCF and the very OpenVINO that is used here.

    Raises:
        LeftOutError: it is not there and may not, or can not, be made.
    """
    return environment(NAME, (*_REQUIREMENTS, f"openvino=={version('openvino')}"), may_install, reporter)


def _write(networks: Sequence[Deployed], evaluator: Evaluator, folder: Path) -> None:
    for number, network in enumerate(networks):
        (folder / f"{number}.onnx").write_bytes(network.model)
    resolutions = [network.resolution for network in networks]
    for one in set(resolutions):
        for kind, images in (
            ("calibration", evaluator.calibration_images(one)),
            ("validation", evaluator.images("validation", one)),
        ):
            np.save(folder / f"{kind}-{one}.npy", np.ascontiguousarray(images.numpy()))
    np.save(folder / "labels.npy", evaluator.dataset.validation.labels)
    plan = {"models": list(range(len(networks))), "resolutions": resolutions, "max_drop": MAX_DROP}
    (folder / "plan.json").write_text(json.dumps(plan))
