"""Architecture, then pruning, then bits: the baseline that a joint search is to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.search.archive import Rows, non_dominated
from bitfront.search.narrowed import NarrowedProblem
from bitfront.search.problem import Problem
from bitfront.search.spread import spread
from bitfront.search.strategies.base import InvalidOptionError
from bitfront.search.strategies.nsga2 import Nsga2
from bitfront.supernet.genes import GeneKind, Genomes
from bitfront.supernet.space import SearchSpace

PHASES: tuple[tuple[str, tuple[GeneKind, ...]], ...] = (
    ("architecture", ("depth", "kernel", "resolution")),
    ("pruning", ("width",)),
    ("bits", ("weight_format", "activation_format")),
)
"""Names of the phases, and the kinds of genes that each is free to choose."""

_GENERATIONS = 100

Mask = NDArray[np.bool_]


class Sequential(Nsga2):
    """Three searches in a row, each an `Nsga2` over the genes of its phase (`PHASES`) with a third of the budget.

    The first one has the largest widths and one format throughout. Each later one starts from a few candidates
    that lie apart on the front of the one before, and keeps all other genes as they have them. Each begins with a
    generation of its own, in which the seeds and the draws that a joint search begins with lend the phase's genes.
    A phase that finds nothing new ends early; after the last one, candidates are drawn from the whole space.

    Args:
        problem, rng, population, crossover_rate, seeds: as in `Nsga2`.
        mutations: as in `Nsga2`, of the phase's genes alone.
        evaluations: candidates that will be scored in all, at least 3; None: what `plan` was told, and 100
            generations where it was told nothing.
        carried: how many candidates each phase hands over, at least 1.
        format: name of the weight and activation format of the first two phases, where a layer has it; None: the
            first one that each layer may have, which is its widest.

    Raises:
        InvalidOptionError: an option is out of its range, or no layer has the format.
        UnknownNameError: there is no such seeder.
    """

    def __init__(
        self,
        problem: Problem,
        rng: np.random.Generator,
        *,
        population: int = 100,
        evaluations: int | None = None,
        carried: int = 8,
        format: str | None = None,
        crossover_rate: float = 0.9,
        mutations: float = 0.5,
        seeds: str = "uniform",
    ) -> None:
        super().__init__(
            problem, rng, population=population, crossover_rate=crossover_rate, mutations=mutations, seeds=seeds
        )
        if evaluations is not None and evaluations < len(PHASES):
            raise InvalidOptionError(f"evaluations is {evaluations}: it must be at least {len(PHASES)}")
        if carried < 1:
            raise InvalidOptionError(f"carried is {carried}: it must be at least 1")
        self.carried = carried
        self._given = evaluations
        self._evaluations = evaluations or _GENERATIONS * population
        kinds = np.array([gene.kind for gene in problem.space.genes])
        self._free = [np.isin(kinds, chosen) for _, chosen in PHASES]
        self._deepest = NarrowedProblem(problem, space=_of_full_depth(problem.space))
        self._started = 0  # length of the archive when the phase began
        self._has_begun: bool = False  # whether the phase's first generation was made
        self._kept = _start(problem.space, format)  # what the phase before found, (k, n_genes)
        self._enter(0)

    def plan(self, evaluations: int | None) -> None:
        """Take the budget, unless it was given as an option."""
        if self._given is None and evaluations is not None:
            self._evaluations = evaluations

    @property
    def phase(self) -> str:
        """Name of the phase that the next candidates belong to; ``rest`` after the last."""
        return PHASES[self._phase][0] if self._phase < len(PHASES) else "rest"

    def _propose(self, n: int) -> Genomes:
        while self._phase < len(PHASES):
            last = self._phase == len(PHASES) - 1
            left = n if last else self._started + self._share() - len(self.archive)
            found = self._of_phase(min(n, left)) if left > 0 else self._nothing()
            if len(found):
                return found
            self._hand_over()
        self._forget()
        return self._unseen(n, lambda wanted, _: self.problem.space.sample(wanted, self.rng))

    def _share(self) -> int:
        """Candidates of the present phase: what is left for it and those after it, in equal parts."""
        return max((self._evaluations - self._started) // (len(PHASES) - self._phase), 1)

    def _of_phase(self, n: int) -> Genomes:
        found = self._nothing() if self._has_begun else self._begun(n)
        self._has_begun = True
        return found if len(found) or not len(self._members) else self._bred(n)

    def _begin_in(self) -> Problem:
        """Where depths are kept, the part of the problem in which no block is skipped, so that all lend genes."""
        return self.problem if self._phase == 0 else self._deepest

    def _first(self, wanted: int, number: int, seeds: Genomes) -> Genomes:
        drawn = self._begin_in().space.sample(wanted, self.rng, "sizes")
        mixed = self._held(self._kept[self.rng.integers(len(self._kept), size=wanted)], drawn)
        k = len(self._kept)
        every = self._held(np.tile(self._kept, (len(seeds), 1)), np.repeat(seeds, k, axis=0))
        return mixed if number else np.concatenate([every, mixed])

    def _held(self, mothers: Genomes, children: Genomes) -> Genomes:
        """Children (n, n_genes) with the genes that the phase does not choose as their mothers have them.

        So are those of blocks that a child skips, as it has forgotten them, and that its mother's depth brings
        back. Where a rule forbids that, the mother's genes stay which it ties.
        """
        space, origins = self.problem.space, self._origins(mothers)
        held: Genomes = np.where(self._free[self._phase] & space.active(children), children, origins)
        for group in space.groups:
            if not group.valid.all():
                bad = np.ix_(~group.valid[group.number(held)], group.members)
                held[bad] = origins[bad]
        return space.canonical(held)

    def _origins(self, mothers: Genomes) -> Genomes:
        """Where children (n, n_genes) have the genes from that the phase does not choose.

        A mother that skips blocks has forgotten their widths and formats, so that a child in which they come back
        must ask what the phase began with. Only the first phase chooses depths, and it begins with one genome.
        """
        return np.broadcast_to(self._kept[0], mothers.shape) if self._phase == 0 else mothers

    def _hand_over(self) -> None:
        """Begin the next phase with what this one found."""
        if len(self._members):
            scores = self.archive.evaluation.take(self._members)
            best = np.flatnonzero(scores.violation == 0)
            best = best[non_dominated(scores.F[best])] if len(best) else best
            rows = best[spread(scores.F[best], self.carried)] if len(best) else np.arange(len(scores))
            self._members = self._members[rows[: self.carried]]
            self._kept = self.archive.genomes[self._members].copy()
        self._started = len(self.archive)
        self._enter(self._phase + 1)

    def _enter(self, phase: int) -> None:
        self._phase, self._has_begun = phase, False
        if phase < len(PHASES):
            # Mutations spread over all genes, but those of other phases are taken back.
            free = self._free[phase]
            self._expected = self.mutations * len(free) / max(free.sum(), 1)

    def _learn(self, rows: Rows) -> None:
        if self._phase < len(PHASES):
            super()._learn(rows[self._belongs(self.archive.genomes[rows])])

    def _belongs(self, genomes: Genomes) -> Mask:
        """Which of the genomes have only the phase's genes unlike one of those that it started from, (n,)."""
        found = np.zeros(len(genomes), dtype=bool)
        for kept in self._kept:
            found |= (self._held(np.broadcast_to(kept, genomes.shape), genomes) == genomes).all(axis=1)
        return found

    def _memory(self) -> dict[str, Any]:
        return {
            **super()._memory(),
            "evaluations": self._evaluations,
            "phase": self._phase,
            "has_begun": self._has_begun,
            "started": self._started,
            "kept": self._kept,
        }

    def _recall(self, memory: dict[str, Any]) -> None:
        super()._recall(memory)
        self._enter(int(memory["phase"]))
        self._evaluations, self._started = int(memory["evaluations"]), int(memory["started"])
        self._has_begun = bool(memory["has_begun"])
        self._kept = np.asarray(memory["kept"], dtype=np.uint8).reshape(-1, self.problem.space.n_genes)


def _of_full_depth(space: SearchSpace) -> SearchSpace:
    largest = space.extremes()[1]
    depths = {gene.name: [gene.choices[largest[i]]] for i, gene in enumerate(space.genes) if gene.kind == "depth"}
    return space.restrict(depths)


def _start(space: SearchSpace, format_name: str | None) -> Genomes:
    """The largest architecture in one format, shape (1, n_genes).

    Raises:
        InvalidOptionError: no layer has the format.
    """
    largest = space.extremes()[1:]
    if format_name is None:
        return largest
    policy = [gene for gene in space.genes if gene.is_policy]
    if not any(format_name in space.allowed_choices(gene.name) for gene in policy):
        known = sorted({str(choice) for gene in policy for choice in space.allowed_choices(gene.name)})
        raise InvalidOptionError(
            f"format is {format_name!r}, which no layer has: choose one of {', '.join(known)}"
        )
    return space.repair(space.assign(largest, {"weight_format": format_name, "activation_format": format_name}))
