"""Which images networks are right about: two of them are held against each other image by image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.evaluation import Evaluator, resolution_of
from bitfront.supernet.genes import Genomes
from bitfront.supernet.progress import Progress, silent


def right_answers(
    evaluator: Evaluator, genomes: Genomes, split: str, progress: Progress = silent
) -> NDArray[np.bool_]:
    """Of genomes (n, n_genes), as the evaluator measures them, (n, n_images); ``progress`` is told of each."""
    labels, right = evaluator.dataset.split(split).labels, []
    for genome in genomes:
        blocks = evaluator.supernet.space.blocks(genome)
        right.append(evaluator.classes(evaluator.subnet(blocks), split, resolution_of(blocks)) == labels)
        progress(len(right), len(genomes))
    return np.stack(right)
