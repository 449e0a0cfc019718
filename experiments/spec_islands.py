"""The section of a spec that is about several searches side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bitfront.experiments.spec_base import Section
from bitfront.experiments.spec_checks import Choices, ConstraintText, Metric, Options, different, known_in
from bitfront.experiments.spec_errors import Problem, shown
from bitfront.experiments.spec_meaning import fix_genes, strategy_problems
from bitfront.search.constraints import base_metric, parse_constraint
from bitfront.supernet.genes import Choice
from bitfront.supernet.space import SearchSpace

_Objectives = Annotated[tuple[Metric, ...], AfterValidator(different)]


class IslandSection(Section):
    """What one island does otherwise; what is left out is as for the search as a whole."""

    strategy: Annotated[str, known_in("bitfront.search.strategies:STRATEGIES")] | None = Field(
        default=None, description="Its strategy; without `options`, with that one's own defaults."
    )
    population: int | None = Field(
        default=None, ge=2, le=1_000_000, description="Candidates that it scores in a generation."
    )
    options: Options | None = Field(default=None, description="Its strategy's options.")
    objectives: _Objectives | None = Field(
        default=None, min_length=1, strict=False, description="What it makes as good as can be."
    )
    constraints: tuple[ConstraintText, ...] = Field(
        default=(), strict=False, description="Its hard limits, beside those of the experiment."
    )
    fixed: dict[str, Choices] = Field(
        default_factory=dict, description="Genes that it does not search freely, beside those of the experiment."
    )


class IslandsSection(Section):
    """Several searches side by side that send each other the best they have, each on a worker of the executor.
    `islands: 4` is enough for four that differ in their seeds alone. The front is that of all candidates that any
    of them scored, by the experiment's own objectives and constraints.
    """

    count: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="How many there are, or more where `each` has more; 1: a single search.",
    )
    every: int = Field(
        default=5, ge=1, description="Generations between two exchanges; checkpoints and limits wait for them too."
    )
    migrants: int = Field(
        default=5, ge=0, description="Members, spread over its front, that an island sends to the next one."
    )
    topology: Literal["ring", "random"] = Field(
        default="ring", description="`ring`: always to the same one; `random`: to another one each time."
    )
    each: tuple[IslandSection, ...] = Field(
        default=(),
        strict=False,
        description="What single islands do otherwise, in order: strategy, population, options, objectives, "
        "constraints and fixed, the last two beside those of the experiment.",
        examples=[[{"strategy": "random"}, {"constraints": ["size_bytes <= 20000"]}]],
    )

    @property
    def wanted(self) -> bool:
        """Whether there is more than a single search like that of the experiment."""
        return self.number > 1 or bool(self.each)

    @property
    def number(self) -> int:
        """How many islands there are."""
        return max(self.count, len(self.each))

    def all(self) -> tuple[IslandSection, ...]:
        """One entry an island."""
        return (*self.each, *(IslandSection() for _ in range(self.number - len(self.each))))


def by_count(value: object) -> object:
    """Let a mere number stand for so many islands."""
    return {"count": value} if isinstance(value, int) and not isinstance(value, bool) else value


def island_metrics(islands: IslandsSection) -> dict[str, str]:
    """Place to name of every metric that islands speak of."""
    found: dict[str, str] = {}
    for number, one in enumerate(islands.each):
        place = f"search.islands.each[{number}]"
        found |= {f"{place}.objectives[{i}]": metric for i, metric in enumerate(one.objectives or ())}
        limits = map(parse_constraint, one.constraints)
        found |= {f"{place}.constraints[{i}]": limit.metric for i, limit in enumerate(limits)}
    return found


def island_problems(islands: IslandsSection, strategy: str, known: Collection[str]) -> Iterator[Problem]:
    """Options that an island's strategy does not have or refuses, and accuracies that nothing else asks for.

    ``strategy`` is that of the search, and ``known`` are the metrics of its objectives and constraints: costs are
    all known, but accuracy is predicted only where the experiment asks for it.
    """
    for number, one in enumerate(islands.each):
        place = f"search.islands.each[{number}].options"
        yield from strategy_problems(one.strategy or strategy, one.options or {}, place)
    for place, metric in island_metrics(islands).items():
        if base_metric(metric) == "top1" and metric not in known:
            rule = f"the experiment itself does not ask for {metric}"
            yield Problem(place, shown(metric), rule, f"add {metric} to its objectives, or leave it out here")


def island_gene_problems(
    islands: IslandsSection, space: SearchSpace, allowed: Mapping[str, Sequence[Choice]]
) -> Iterator[Problem]:
    """What is wrong with the genes that islands fix, of which the experiment has ``allowed`` some choices."""
    for number, one in enumerate(islands.each):
        place = f"search.islands.each[{number}].fixed"
        own, problems = fix_genes(space, one.fixed, place)
        yield from problems
        for gene, choices in own.items():
            left = allowed.get(gene, choices)
            if choices and not set(choices) & set(left):
                rule = "leaves no choice beside what the experiment has fixed"
                yield Problem(f"{place}.{gene}", shown(list(choices)), rule, f"choose from {list(left)}")
