"""What islands know of candidates: one set of numbers each, whoever scored it and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from bitfront.search.archive import Archive, Rows
from bitfront.search.narrowed import NarrowedProblem
from bitfront.search.problem import Metrics, Problem
from bitfront.supernet.genes import Genomes


class FirstValues:
    """An archive per problem, in the order of ``problems``, with the metrics that were recorded first.

    A network's predictions of a candidate differ in their last bits with the batch that it comes in. So that all
    islands compare the same numbers, also after a resume, those that came first are everybody's; problems that
    narrow the same one (`NarrowedProblem`) share them.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.archives = [Archive(problem.space.n_genes) for problem in problems]
        self._problems = list(problems)
        self._scorers = [_scorer(problem) for problem in problems]
        counts = Counter(map(id, self._scorers))
        shared = {id(one): Archive(one.space.n_genes) for one in self._scorers if counts[id(one)] > 1}
        # A problem whose metrics nobody shares needs no second archive.
        self._records = [
            shared.get(id(scorer), own) for scorer, own in zip(self._scorers, self.archives, strict=True)
        ]

    def add(self, problem: int, genomes: Genomes, metrics: Metrics, errors: Mapping[int, str]) -> Rows:
        """Take in candidates (n, n_genes) with metrics, each (n,), and say where they stand in their archive."""
        archive, record, judge = self.archives[problem], self._records[problem], self._problems[problem].judge
        if record is archive:
            archive.add(genomes, judge(metrics, errors))
            return archive.rows_of(genomes)
        record.add(genomes, self._scorers[problem].judge(metrics, errors))
        first = record.evaluation.take(record.rows_of(genomes))
        archive.add(genomes, judge(first.metrics, first.errors))
        return archive.rows_of(genomes)

    def are(self, problem: int, rows: Rows, metrics: Metrics) -> bool:
        """Whether candidates of an archive have just these metrics, each (n,)."""
        known = self.archives[problem].evaluation.metrics
        return all(np.array_equal(known[name][rows], values, equal_nan=True) for name, values in metrics.items())

    def known(self, problem: int, genomes: Genomes) -> tuple[Genomes, Metrics, Genomes]:
        """Different canonical ``genomes`` (n, n_genes) apart: those with metrics, the metrics, those without."""
        record = self._records[problem]
        unknown = record.fresh(genomes)
        known = genomes[np.setdiff1d(np.arange(len(genomes)), unknown)]
        metrics = record.evaluation.take(record.rows_of(known)).metrics if len(known) else {}
        return known, metrics, genomes[unknown]


def _scorer(problem: Problem) -> Problem:
    """Who gives a problem its metrics."""
    return _scorer(problem.whole) if isinstance(problem, NarrowedProblem) else problem
