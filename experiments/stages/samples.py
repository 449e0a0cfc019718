"""Stage 3: measure sampled candidates, in real numbers and quantized, for the predictor to learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitfront.experiments.run import Run
from bitfront.experiments.stages.measuring import Wanted, measured_accuracy
from bitfront.predictors.dataset import Pairs
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace

_OVERSAMPLING = 4


@dataclass(frozen=True, slots=True)
class Samples:
    """Pairs to learn from and, apart from them, pairs to judge by; of each kind."""

    fp32: Pairs
    fp32_held_out: Pairs
    quantized: Pairs
    quantized_held_out: Pairs


def collected_samples(run: Run, supernet_id: str, supernet: Supernet) -> Samples:
    """Measure the spec's number of random candidates on the validation split.

    Candidates are drawn from the whole space, whatever the device: what is measured for one device serves the
    next. No architecture of the quantized pairs is chosen with the fp32 pairs in mind.
    """
    wanted, space = run.spec.samples, supernet.space
    real = draw_float(space, wanted.fp32 + wanted.held_out, run.rng("fp32 samples"))
    quantized = draw(space, wanted.quantized + wanted.held_out, run.rng("quantized samples"))
    fp32_top1, quantized_top1 = measured_accuracy(
        run,
        supernet_id,
        supernet,
        [Wanted(real, "validation", "fp32"), Wanted(quantized, "validation", "quantized")],
        "measuring samples",
    )
    return Samples(
        *_cut(Pairs(real, fp32_top1), wanted.held_out),
        *_cut(Pairs(quantized, quantized_top1), wanted.held_out),
    )


def draw(space: SearchSpace, n: int, rng: np.random.Generator) -> Genomes:
    """Up to ``n`` different genomes of any policy; fewer only where the space has no more."""
    return _different(space.sample(_OVERSAMPLING * n, rng, "sizes"), n)


def draw_float(space: SearchSpace, n: int, rng: np.random.Generator) -> Genomes:
    """Up to ``n`` different architectures, all in fp32; fewer only where the space has no more."""
    sampled = space.sample(_OVERSAMPLING * n, rng, "sizes")
    return _different(space.assign(sampled, {"weight_format": "fp32", "activation_format": "fp32"}), n)


def _different(genomes: Genomes, n: int) -> Genomes:
    _, first = np.unique(genomes, axis=0, return_index=True)
    return genomes[np.sort(first)[:n]]


def _cut(pairs: Pairs, held_out: int) -> tuple[Pairs, Pairs]:
    """The last ones drawn are held out."""
    n = len(pairs.genomes) - held_out
    return (
        Pairs(pairs.genomes[:n], pairs.accuracy[:n]),
        Pairs(pairs.genomes[n:], pairs.accuracy[n:]),
    )
