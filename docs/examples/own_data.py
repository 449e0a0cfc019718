"""Your own images: from a folder of PNG files to a front of networks and an exported one.

    python docs/examples/own_data.py FOLDER

Everything is written below FOLDER; a minute of a core. The images are drawn here, so that there is something to
begin with: put your own into `images/<class>/*.png` in their place. docs/data.md lists all layouts that are read.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from bitfront.experiments.pipeline import run_experiment
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.rows import read_front
from bitfront.experiments.spec import spec_from
from bitfront.experiments.stages.exporting import export_candidate
from bitfront.experiments.store.home import open_store

SIDE = 16
PER_CLASS = 150


def draw(shape, rng):
    """One grey image, uint8 (SIDE, SIDE): a shape of some size and place, on noise."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + 0.5
    y, x = y + rng.uniform(-2.5, 2.5), x + rng.uniform(-2.5, 2.5)
    size = rng.uniform(3, 5)
    inside = {
        "disc": x**2 + y**2 < size**2,
        "ring": abs(np.hypot(x, y) - size) < 1,
        "square": np.maximum(abs(x), abs(y)) < size * 0.9,
        "cross": (np.minimum(abs(x), abs(y)) < 1) & (np.maximum(abs(x), abs(y)) < size),
        "triangle": (y < size * 0.7) & (2 * abs(x) < y + size),
    }[shape]
    grey = rng.uniform(20, 70) + inside * rng.uniform(90, 160) + rng.normal(0, 10, inside.shape)
    return grey.clip(0, 255).astype(np.uint8)


def draw_all(folder):
    """PNG files in a folder for each class. Splits are cut from them, from each class in proportion."""
    rng = np.random.default_rng(0)
    for shape in ("disc", "ring", "square", "cross", "triangle"):
        (folder / shape).mkdir(parents=True, exist_ok=True)
        for i in range(PER_CLASS):
            Image.fromarray(draw(shape, rng)).save(folder / shape / f"{i:03}.png")


def spec_for(images):
    """What is asked for. The same mapping may stand in a YAML file for `bitfront run`."""
    return {
        "name": "shapes",
        # Small networks; a larger space for larger images, or one of your own: docs/spaces.md. The number of
        # classes and of channels is the data set's.
        "space": "digits",
        "data": {
            "kind": "folder",
            "path": str(images),
            "validation": 0.2,
            "test": 0.2,
            # Your own images are only varied as you say: a shape is the same one when it is moved or mirrored.
            "augmentation": {"shift": 0.1, "flip": True},
        },
        "device": "roofline",  # a modelled small accelerator; `host-onnxruntime` measures this CPU instead
        "objectives": ["top1", "latency_ms", "size_bytes"],
        # A third of the usual epochs and a fifth of the samples, for an example: leave both out for a real run.
        "supernet": {
            "warmup_epochs": 4,
            "elastic_epochs": 12,
            "quantized_epochs": 6,
            "subnets_per_step": 2,
            "batch_size": 32,  # there are few images
        },
        "samples": {"fp32": 60, "quantized": 30, "held_out": 20},
        "export": {"pick": "none"},  # below
    }


def main(folder):
    """Draw, search, look, export, and use what was exported."""
    images, home = folder / "images", folder / "home"
    draw_all(images)
    spec = spec_from(spec_for(images), home=home).fitted()
    with open_store(home) as store:
        experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        run_experiment(
            store, home, experiment.id, Reporters()
        )  # `bitfront --home FOLDER/home logs latest` tells more
        front = read_front(store, experiment.id)
        kept = front.take(~front.dominated)  # as measured
        print(kept.to_pandas()[["id", "top1", "top1_test", "latency_ms", "size_bytes"]].to_string(index=False))

        # The smallest network that is at most two points worse than the best one, as measured.
        best = kept.best_known["top1"].max()
        good = kept.query(f"top1 >= {best - 0.02}")
        chosen = int(good.ids[good.best_known["size_bytes"].argmin()])
        (bundle,) = export_candidate(store, home, experiment.id, chosen, folder=folder / "model")
    tested = bundle.manifest.forms[0].tested
    print(f"candidate {chosen} is in {bundle.folder}")
    print(f"{tested.top1:.1%} of {tested.images} test images are named right")

    # From here on bitfront is not needed: the bundle says how an image becomes what the network takes.
    before = bundle.manifest.preprocessing
    samples = np.load(bundle.folder / "samples.npz")
    session = onnxruntime.InferenceSession(bundle.folder / "model.onnx")
    (logits,) = session.run(None, {session.get_inputs()[0].name: samples["images"]})
    for named, truly in zip(logits.argmax(axis=1), samples["labels"], strict=True):
        print(f"a {before.classes[truly]} is named {before.classes[named]}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "shapes").absolute())
