"""Stage 3: measure sampled candidates, in real numbers and quantized, for the predictor to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.run import Run
from bitfront.experiments.stages.measuring import Wanted, measured_accuracy
from bitfront.predictors.collection import RANDOM, Collected, Plan, collected, measurable
from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace

Kind = Literal["fp32", "quantized"]
_WHAT: Mapping[Kind, str] = {"fp32": "architectures", "quantized": "candidates"}
_OVERSAMPLING = 4
_CHOICE = 5  # candidates among which a sample is chosen
_MAY_FAIL = 0.05
"""The share of the candidates of a round that may be left out because they can not be measured."""
_HARDLY = 0.6
"""A pairwise accuracy below which a predictor hardly tells better from worse; guessing has 0.5."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Pairs to learn from and, apart from them, pairs to judge by; of each kind."""

    fp32: Pairs
    fp32_held_out: Pairs
    quantized: Pairs
    quantized_held_out: Pairs


def collected_samples(run: Run, supernet_id: str, supernet: Supernet) -> Samples:
    """Measure candidates on the validation split, first fp32 ones, then quantized ones, as the spec wants it.

    Candidates are drawn from the whole space, whatever the device: what is measured for one device serves the
    next. Those of quantized samples are drawn apart from those of fp32 ones; which of them are measured, where
    they are chosen, depends on what the fp32 pairs leave open. Fp32 samples are always random: chosen ones tell
    more of fp32 networks, and less of quantized ones. A run that was interrupted takes the same samples
    again, and looks up those that are measured; unless it is others now that can not be measured.

    Raises:
        InvalidPairsError: the space has no more genomes than are held out.
        MeasurementError: more than one candidate, and more than a twentieth of those measured together, failed
            every attempt; all others are stored.
    """
    fp32, fp32_held_out = _collected(run, supernet_id, supernet, "fp32", None)
    quantized, quantized_held_out = _collected(run, supernet_id, supernet, "quantized", fp32)
    return Samples(fp32, fp32_held_out, quantized, quantized_held_out)


def _collected(
    run: Run, supernet_id: str, supernet: Supernet, kind: Kind, fp32: Pairs | None
) -> tuple[Pairs, Pairs]:
    """(To learn from, held out); the last ones drawn are held out."""
    wanted, space = run.spec.samples, supernet.space
    n, rng = (wanted.fp32 if kind == "fp32" else wanted.quantized), run.rng(f"{kind} samples")
    choose = wanted.choose if kind == "quantized" else RANDOM
    most = n * (1 if choose == RANDOM else _CHOICE) + wanted.held_out
    # Of a small space, genomes that are drawn often come first: those held out are to be like those learned.
    drawn = rng.permutation((draw_float if kind == "fp32" else draw)(space, most, rng))
    if len(drawn) <= wanted.held_out:
        raise InvalidPairsError(
            f"the space has {len(drawn)} {_WHAT[kind]}, and samples.held_out is {wanted.held_out}: none is left "
            f"to learn from; lower samples.held_out to a fifth of that, or widen the space"
        )
    candidates, held_out = np.split(drawn, [len(drawn) - wanted.held_out])

    def measure(genomes: Genomes) -> NDArray[np.float64]:
        found = [Wanted(genomes, "validation", kind)]
        return measured_accuracy(run, supernet_id, supernet, found, f"measuring {kind} samples", _MAY_FAIL)[0]

    judged_by = measurable(held_out, measure(held_out))
    plan = Plan(n, wanted.tolerance if wanted.stop == "curve" else None, choose)
    done = collected(space, candidates, measure, plan, run.rng(f"choice of {kind} samples"), fp32)
    run.reporter.say(_told(kind, done, n, len(candidates)))
    return done.pairs, judged_by


def _told(kind: Kind, done: Collected, n: int, candidates: int) -> str:
    """How many were measured, and why no more."""
    measured, verdict, most = len(done.pairs), done.verdict, min(n, candidates)
    failed = f", {done.failed} could not be" if done.failed else ""
    short = f", instead of {n}: the space has no more {_WHAT[kind]}" if candidates < n else ""
    if verdict is None:
        return f"{kind} samples: {measured} measured{failed}{short}"
    if not verdict.stop:
        every = "all " if measured == most else ""
        return f"{kind} samples: {every}{measured} measured{failed}{short}; before the last round {verdict}"
    saved = most - measured - done.failed
    told = f"{kind} samples: {measured} of {most} are enough{failed and f' ({done.failed} could not be measured)'}"
    told = f"{told}, {max(saved, 0)} saved: {verdict}"
    if verdict.accuracy >= _HARDLY:
        return told
    return (
        f"{told}. This hardly tells better from worse (guessing has 0.5), and more samples would not help: "
        f"candidates may be alike, or barely trained; look at the supernet's accuracy first"
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
