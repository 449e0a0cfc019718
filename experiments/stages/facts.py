"""What a manifest says of a network but for its forms: where it comes from, what it takes, what is known of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bitfront.experiments.bundle.described import described_layers, tool_versions
from bitfront.experiments.bundle.licences import licences
from bitfront.experiments.bundle.manifest import DataEntry, ExperimentEntry, Postprocessing, Preprocessing
from bitfront.experiments.machine import this_machine
from bitfront.experiments.run import Run
from bitfront.experiments.stages.promises import Network
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.folded import Folded

_SETTINGS = ("kind", "size", "channels", "validation", "test", "max_broken")


def facts(run: Run, network: Network, folded: Folded, evaluator: Evaluator, supernet_id: str) -> dict[str, Any]:
    """Fields of `Manifest`, by name."""
    one, data, dataset = run.store.get(run.experiment_id), run.spec.data, evaluator.dataset
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiment": ExperimentEntry(
            id=one.id,
            name=one.name,
            seed=one.seed,
            created_at=one.created_at.isoformat(timespec="seconds"),
            candidate=network.candidate.id,
            device=network.owner,
        ),
        "genome": tuple(network.genome.tolist()),
        "layers": tuple(described_layers(folded)),
        "preprocessing": preprocessing(folded, dataset),
        "postprocessing": Postprocessing(),
        "data": DataEntry(
            name=dataset.name,
            published=data.name or None,
            settings=None if data.name else {field: getattr(data, field) for field in _SETTINGS},
            sha256=dataset.hash,
            images={split: len(dataset.split(split)) for split in ("train", "validation", "test")},
        ),
        "hashes": {"space": evaluator.supernet.space.hash(), "supernet": supernet_id, "data": dataset.hash},
        "versions": tool_versions(),
        "machine": this_machine().to_json(),
        "licences": licences(data.name or None, run.spec.space.content is not None),
    }


def preprocessing(folded: Folded, dataset: Dataset) -> Preprocessing:
    """How an image becomes the network's input."""
    (channels, height, width), side = dataset.train.images.shape[1:], folded.resolution
    return Preprocessing(
        shape=("batch", folded.in_channels, folded.resolution, folded.resolution),
        pixels=(int(channels), int(height), int(width)),
        steps=(
            "divide pixel values 0..255 by 255",
            "subtract mean, divide by std, per channel",
            f"resize bilinearly to {side} x {side} pixels (half-pixel centres, no antialiasing)",
        ),
        mean=dataset.mean,
        std=dataset.std,
        classes=dataset.class_names,
    )
