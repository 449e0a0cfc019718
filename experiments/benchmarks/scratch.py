"""Networks of a space trained from scratch, to compare inherited weights with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.one_network import OneNetwork
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.training import TrainingSettings
from bitfront.supernet.training.run import train
from bitfront.supernet.training.trained import WEIGHTS, load_weights


def settings_of(epochs: int) -> TrainingSettings:
    """As Fashion-MNIST's supernet is trained, with all epochs for the one network, in real numbers."""
    return TrainingSettings(
        warmup_epochs=epochs,
        elastic_epochs=0,
        quantized_epochs=0,
        batch_size=64,
        learning_rate=3e-3,
        weight_decay=1e-2,
        probes=0,
    )


def from_scratch(
    space: SearchSpace,
    genome: NDArray[np.uint8],
    dataset: Dataset,
    settings: TrainingSettings,
    seed: int,
    folder: Path,
    progress: Progress = silent,
) -> OneNetwork:
    """The network of ``genome`` (n_genes,), trained into ``folder``, or found there."""
    network = OneNetwork(space, genome, seed)
    if not (folder / WEIGHTS).exists():
        train(network, dataset, settings, seed, folder, device="cpu", progress=progress)
    load_weights(network, folder)
    return network
