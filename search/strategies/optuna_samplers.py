"""Optuna's samplers behind ask and tell: a second opinion, made by others."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Literal, get_args

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler

from bitfront.search.archive import Rows
from bitfront.search.problem import Problem
from bitfront.search.strategies.base import InvalidOptionError, Strategy
from bitfront.search.strategies.optuna_study import OptunaStudy, quiet
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

Sampler = Literal["tpe", "nsga2"]

_SUGGESTIONS = 3
_LARGEST_SEED = 2**31


class OptunaSampling(Strategy):
    """Suggestions of Optuna's TPE (Bergstra et al. 2011; all variables at once) or NSGA-II sampler.

    Genes are whole numbers or, where they choose number formats, categories; genes with one choice are left out.
    What is suggested is repaired and made canonical. TPE takes what it has suggested, until that is scored, as bad
    (constant liar, Ginsbourger et al. 2010), so that the candidates of one `ask` lie apart. A suggestion that has
    been scored before is told its score at once and costs no evaluation; where there are too many of these, random
    candidates fill up. Constraints go through the samplers' ``constraints_func``. Optuna learns of all candidates,
    also of those it did not suggest.

    Each `ask` makes a new sampler with a seed from ``rng``, so that the study is the only state, and it is stored
    trial by trial. Optuna suggests one candidate after the other, TPE in a time that grows with trials and genes:
    this is for hundreds or a few thousand candidates.

    Args:
        problem: what is searched for.
        rng: the only source of randomness.
        population: candidates per `ask`, at least 1; with ``nsga2`` its population too, and at least 2.
        sampler: ``"tpe"`` or ``"nsga2"``.
        startup: random candidates before TPE begins, at least 1.

    Raises:
        InvalidOptionError: an option is out of its range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: np.random.Generator,
        *,
        population: int = 100,
        sampler: Sampler = "tpe",
        startup: int = 20,
    ) -> None:
        super().__init__(problem, rng, population=population)
        if sampler not in get_args(Sampler):
            raise InvalidOptionError(f"sampler is {sampler!r}: choose one of {', '.join(get_args(Sampler))}")
        if sampler == "nsga2" and population < 2:
            raise InvalidOptionError(f"population is {population}: Optuna's NSGA-II needs at least 2")
        if startup < 1:
            raise InvalidOptionError(f"startup is {startup}: it must be at least 1")
        self.sampler: Sampler = sampler
        self.startup = startup
        self._allowed = _allowed(problem.space)
        self._study = OptunaStudy(_distributions(problem.space), len(problem.objectives))
        self._rows: dict[bytes, int] = {}  # where a genome stands in the archive
        self._waiting: dict[bytes, list[int]] = defaultdict(list)  # numbers of trials not told yet, by genome

    def _propose(self, n: int) -> Genomes:
        found: dict[bytes, None] = {}
        if self._allowed:
            with quiet():
                self._study.use(self._make(int(self.rng.integers(_LARGEST_SEED))))
                for _ in range(_SUGGESTIONS * n):
                    if len(found) == n:
                        break
                    found |= dict.fromkeys(self._suggested())
        genomes = (
            np.frombuffer(b"".join(found), dtype=np.uint8).reshape(len(found), -1) if found else self._nothing()
        )
        return self._unseen(n, lambda wanted, number: self._filled(genomes, wanted, number))

    def _filled(self, genomes: Genomes, wanted: int, number: int) -> Genomes:
        if number == 0 and len(genomes):
            return genomes
        return self.problem.space.sample(wanted, self.rng)

    def _suggested(self) -> list[bytes]:
        """The genome of a new trial, or nothing where that is known already."""
        number, params = self._study.suggest()
        key = self._genome(params).tobytes()
        if key in self._rows:
            self._tell(number, self._rows[key])
            return []
        self._waiting[key].append(number)
        return [key]

    def _learn(self, rows: Rows) -> None:
        genomes = self.archive.genomes
        with quiet():
            for row in rows.tolist():
                key = genomes[row].tobytes()
                self._rows[key] = row
                waiting = self._waiting.pop(key, [])
                for number in waiting:
                    self._tell(number, row)
                if not waiting:
                    scores = self.archive.evaluation
                    self._study.add(self._params(genomes[row]), scores.F[row], scores.G[row])

    def _tell(self, number: int, row: int) -> None:
        scores = self.archive.evaluation
        self._study.tell(number, scores.F[row], scores.G[row])

    def _make(self, seed: int) -> BaseSampler:
        constraints = self._study.constraints if self.problem.constraints else None
        if self.sampler == "nsga2":
            return NSGAIISampler(population_size=self.population, seed=seed, constraints_func=constraints)
        return TPESampler(
            n_startup_trials=self.startup,
            seed=seed,
            multivariate=True,
            constant_liar=self.population > 1,  # else nothing keeps those of one batch apart
            constraints_func=constraints,
        )

    def _genome(self, params: dict[str, int]) -> Genomes:
        """The canonical, valid genome (1, n_genes) that is meant; genes that have no choice are repaired."""
        space = self.problem.space
        genome = np.zeros((1, space.n_genes), dtype=np.uint8)
        for name, place in params.items():
            genome[0, space.position[name]] = self._allowed[name][place]
        return space.repair(genome)

    def _params(self, genome: Genomes) -> dict[str, int]:
        """The parameters that mean a genome (n_genes,); those of genes that are skipped are the first."""
        places = {name: genome[self.problem.space.position[name]] for name in self._allowed}
        return {n: max(int(np.searchsorted(self._allowed[n], i, "right")) - 1, 0) for n, i in places.items()}

    def _memory(self) -> dict[str, Any]:
        waiting = [[number, list(key)] for key, numbers in self._waiting.items() for number in numbers]
        return {"study": self._study.dump(), "waiting": waiting}

    def _recall(self, memory: dict[str, Any]) -> None:
        self._study.load(memory["study"])
        with quiet():
            # It notes the constraints of what was asked before; it suggests nothing.
            self._study.use(self._make(0))
        self._rows = {genome.tobytes(): row for row, genome in enumerate(self.archive.genomes)}
        self._waiting = defaultdict(list)
        for number, key in memory["waiting"]:
            self._waiting[bytes(key)].append(int(number))


def _allowed(space: SearchSpace) -> dict[str, list[int]]:
    """Choice indices, ascending, of each gene that has several."""
    found = {g.name: [g.choices.index(choice) for choice in space.allowed_choices(g.name)] for g in space.genes}
    return {name: sorted(indices) for name, indices in found.items() if len(indices) > 1}


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    found: dict[str, BaseDistribution] = {}
    for name, indices in _allowed(space).items():
        if space.genes[space.position[name]].is_policy:
            found[name] = CategoricalDistribution(list(range(len(indices))))
        else:
            found[name] = IntDistribution(0, len(indices) - 1)
    return found
