"""How many true evaluations does the iterated search save against plain NSGA-II?

Every candidate's accuracy is measured on the whole validation split of digits, its latency is that of a modelled
accelerator. Plain `nsga2` has its whole budget; of `iterated` it is counted after how many true evaluations its
front first has 95 % of the hypervolume that NSGA-II ends with, against the same reference point, seed by seed.
Both are searched with the same budget and counted alike: every different candidate that was scored, up to the end
of the batch that reached it. NSGA-II's own share is told beside it: it too comes close to its end before its end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.benchmarks.intervals import summarised
from bitfront.experiments.benchmarks.joint_vs_sequential import worst
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.study import Study
from bitfront.experiments.benchmarks.true_evaluations import true_evaluations
from bitfront.experiments.reporter import Reporter
from bitfront.search.hypervolume import hypervolume
from bitfront.search.loop import Generation, search

_EVALUATIONS, _QUICK_EVALUATIONS = 600, 80
_NSGA2_POPULATION, _QUICK_NSGA2_POPULATION = 20, 10
_BATCH = 20
_SHARE = 0.95

Floats = NDArray[np.float64]


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Seeds are those of the searches; the supernet is the same for all."""
    evaluations = _QUICK_EVALUATIONS if quick else _EVALUATIONS
    population = _QUICK_NSGA2_POPULATION if quick else _NSGA2_POPULATION
    needed, needed_by_plain, ratios, spent = list[int](), list[int](), list[float](), list[int]()
    with true_evaluations(reporter, quick) as evaluated:
        progress = reporter.progress("searching")
        reference = worst(evaluated)
        for seed in range(seeds):
            plain = scored(evaluated, "nsga2", evaluations, population, seed)
            iterated = scored(evaluated, "iterated", evaluations, _BATCH, seed)
            needed.append(evaluations_needed(plain, iterated, reference))
            needed_by_plain.append(evaluations_needed(plain, plain, reference))
            spent.append(sum(map(len, plain)))
            ratios.append(_final(iterated, reference) / _final(plain, reference))
            progress(seed + 1, seeds)
    shares = np.array(needed) / np.array(spent)
    figures = {
        **summarised("share_of_evaluations", shares),
        **summarised("share_of_evaluations_nsga2_itself", np.array(needed_by_plain) / np.array(spent)),
        **summarised("final_hypervolume_over_nsga2", np.array(ratios)),
        "largest_share_of_evaluations": float(shares.max()),
        "evaluations_of_nsga2": float(np.mean(spent)),
    }
    return BenchResult.of("iterated", seeds, figures, ["largest_share_of_evaluations <= 0.5"])


def scored(evaluated: Study, strategy: str, evaluations: int, population: int, seed: int) -> list[Floats]:
    """Objectives (n, m) of what was scored, generation by generation."""
    found: list[Floats] = []

    def keep(generation: Generation) -> None:
        found.append(generation.evaluation.F)

    search(
        evaluated.measuring(),
        strategy,
        rng=np.random.default_rng(seed),
        evaluations=evaluations,
        options={"population": population},
        on_generation=keep,
    )
    return found


def evaluations_needed(plain: list[Floats], iterated: list[Floats], reference: Floats) -> int:
    """After how many the second search has 95 % of the first one's hypervolume; twice all of them if never."""
    target = _SHARE * _final(plain, reference)
    for turn in range(1, len(iterated) + 1):
        so_far = iterated[:turn]
        if _final(so_far, reference) >= target:
            return sum(map(len, so_far))
    return 2 * sum(map(len, iterated))


def _final(scored: list[Floats], reference: Floats) -> float:
    """Hypervolume of all that was scored."""
    return hypervolume(np.concatenate(scored), reference)
