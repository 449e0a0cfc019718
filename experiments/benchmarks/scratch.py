"""Networks of a space trained from scratch, to compare inherited weights with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.one_network import OneNetwork
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.training import TrainingSettings
from bitfront.supernet.training.run import train
from bitfront.supernet.training.trained import load_weights


def alone(training: Mapping[str, Any], epochs: int) -> TrainingSettings:
    """A supernet's settings with all epochs for one network, in real numbers."""
    one = {
        "warmup_epochs": epochs,
        "elastic_epochs": 0,
        "quantized_epochs": 0,
        "schedule": "sandwich",
        "probes": 0,
    }
    return TrainingSettings(**{**training, **one})


def from_scratch(
    space: SearchSpace,
    genome: NDArray[np.uint8],
    dataset: Dataset,
    settings: TrainingSettings,
    seed: int,
    folder: Path,
    progress: Progress = silent,
) -> OneNetwork:
    """The network of ``genome`` (n_genes,), trained into ``folder``; a finished training there is not repeated.

    Raises:
        CorruptFileError: the folder holds another training.
    """
    network = OneNetwork(space, genome, seed)
    train(network, dataset, settings, seed, folder, device="cpu", progress=progress)
    load_weights(network, folder)
    return network
