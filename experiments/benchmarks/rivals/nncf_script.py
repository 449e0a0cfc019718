"""Quantizes models with NNCF, in whatever Python has it: ``python nncf_script.py FOLDER``.

``FOLDER/plan.json``: ``models`` (stems of .onnx files), ``resolutions`` (of each), ``max_drop``. Beside it are
``calibration-R.npy`` and ``validation-R.npy`` (images as the models take them) and ``labels.npy``. Of each model
STEM.xml and STEM.bin are written. This file imports nothing of bitfront.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

_IMAGES_AT_ONCE = 20


def main(folder: Path) -> None:
    """Quantize every model of the plan, with control of accuracy on the validation images."""
    import nncf
    import openvino

    plan = json.loads((folder / "plan.json").read_text())
    labels = np.load(folder / "labels.npy")
    for stem, resolution in zip(plan["models"], plan["resolutions"], strict=True):
        calibration = np.load(folder / f"calibration-{resolution}.npy")
        images = np.load(folder / f"validation-{resolution}.npy")
        starts = range(0, len(images), _IMAGES_AT_ONCE)
        batches = [(images[at : at + _IMAGES_AT_ONCE], labels[at : at + _IMAGES_AT_ONCE]) for at in starts]
        quantized = nncf.quantize_with_accuracy_control(
            openvino.Core().read_model(folder / f"{stem}.onnx"),
            calibration_dataset=nncf.Dataset([image[None] for image in calibration]),
            validation_dataset=nncf.Dataset(batches, lambda batch: batch[0]),
            validation_fn=_validated(batches),
            max_drop=plan["max_drop"],
            subset_size=len(calibration),
        )
        openvino.save_model(quantized, folder / f"{stem}.xml", compress_to_fp16=False)


def _validated(batches: list[Any]) -> Any:
    """NNCF asks for accuracy over all batches, or over some of them, whose images it hands over by themselves."""
    answers = {images.tobytes(): labels for images, labels in batches}

    def validate(model: Any, given: Iterable[Any]) -> tuple[float, list[float]]:
        right = []
        for item in given:
            images, labels = item if isinstance(item, tuple) else (item, answers[item.tobytes()])
            right.append(model(images)[0].argmax(1) == labels)
        return float(np.concatenate(right).mean()), [float(each.mean()) for each in right]

    return validate


if __name__ == "__main__":
    main(Path(sys.argv[1]))
