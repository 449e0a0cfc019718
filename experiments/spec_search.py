"""The section of a spec that says how the space is searched."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bitfront.experiments.spec_checks import Options, known_in
from bitfront.experiments.spec_errors import broken
from bitfront.experiments.spec_islands import IslandsSection, by_count
from bitfront.experiments.spec_sections import Section


class SearchSection(Section):
    """How the space is searched."""

    strategy: Annotated[str, known_in("bitfront.search.strategies:STRATEGIES")] = Field(
        default="nsga2",
        description="`nsga2` breeds from the best so far, `nsga3` too, for four objectives and more; `iterated` "
        "learns from few candidates, where each is dear; `optuna` asks Optuna's samplers. For comparison: "
        "`aging_evolution`, `sequential` (architecture, then pruning, then bits) and `random`.",
    )
    accuracy: Literal["predicted", "measured"] = Field(
        default="predicted",
        description="`measured`: every candidate is truly measured, no samples are taken and nothing is "
        "predicted; for small searches.",
    )
    population: int = Field(
        default=100, ge=2, le=1_000_000, description="Candidates scored in a generation, by each island."
    )
    generations: int | None = Field(
        default=100,
        ge=1,
        description="Generations until the search ends. Whichever limit is reached first ends it; where another "
        "one is given and this one is left out, this is no limit.",
    )
    evaluations: int | None = Field(
        default=None,
        ge=1,
        description="Candidates scored until the search ends, by all islands in equal shares; null: no limit.",
    )
    seconds: float | None = Field(
        default=None,
        gt=0,
        description="Time until the search ends, over resumes; null: no limit. Of all limits only this one may "
        "give another front for the same seed.",
    )
    stalled: int | None = Field(
        default=None,
        ge=1,
        description="Generations in a row without growth of the front's hypervolume by 0.01 % until the search "
        "ends; null: no limit.",
    )
    options: Options = Field(
        default_factory=dict,
        description="The strategy's own further options.",
        examples=[{"crossover_rate": 0.9}],
    )
    archive: Literal["none", "parquet"] = Field(
        default="none",
        description="`parquet`: all scored candidates are also written into the experiment's folder `candidates`, "
        "in files that pandas and others read.",
    )

    islands: Annotated[IslandsSection, BeforeValidator(by_count)] = IslandsSection()

    @model_validator(mode="before")
    @classmethod
    def _other_limits(cls, values: Any) -> Any:
        """No limit of generations beside another limit, unless it is asked for."""
        others = ("evaluations", "seconds", "stalled")
        if isinstance(values, dict) and any(values.get(name) is not None for name in others):
            return {"generations": None, **values}
        return values

    @model_validator(mode="after")
    def _limited(self) -> Self:
        limits = (self.generations, self.evaluations, self.seconds, self.stalled)
        if all(limit is None for limit in limits):
            raise ValueError("a search needs a limit: give generations, evaluations, seconds or stalled")
        return self

    @model_validator(mode="after")
    def _fit_for_islands(self) -> Self:
        count = self.islands.number
        if self.islands.wanted and self.accuracy == "measured":
            rule = "islands can not search by measured accuracy, as they are themselves spread over workers"
            raise broken(rule, "choose accuracy: predicted, or leave islands out")
        if self.evaluations is not None and self.evaluations < count:
            rule = f"{self.evaluations} evaluations are no share for each of {count} islands"
            raise broken(rule, "give more evaluations, or fewer islands")
        return self
