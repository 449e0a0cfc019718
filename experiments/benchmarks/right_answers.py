"""Which images networks are right about: two of them are held against each other image by image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bitfront.supernet.evaluation import Evaluator, resolution_of
from bitfront.supernet.evaluation_images import even_rows
from bitfront.supernet.genes import Genomes
from bitfront.supernet.progress import Progress, silent


def right_answers(
    evaluator: Evaluator, genomes: Genomes, split: str, progress: Progress = silent
) -> NDArray[np.bool_]:
    """Of genomes (n, n_genes), as the evaluator measures them, (n, n_images); ``progress`` is told of each."""
    right = []
    for genome in genomes:
        right.append(_right(evaluator, genome, split))
        progress(len(right), len(genomes))
    return np.stack(right)


def _right(evaluator: Evaluator, genome: NDArray[np.uint8], split: str) -> NDArray[np.bool_]:
    blocks, labels = evaluator.supernet.space.blocks(genome), evaluator.dataset.split(split).labels
    subnet, resolution = evaluator.subnet(blocks), resolution_of(blocks)
    parts = even_rows(0, len(labels), evaluator.images_at_once(resolution))
    with torch.no_grad():
        answers = [subnet(evaluator.images(split, resolution, rows)).argmax(1).numpy() for rows in parts]
    right: NDArray[np.bool_] = np.concatenate(answers) == labels
    return right
