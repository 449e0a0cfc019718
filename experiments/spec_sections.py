"""The sections of a spec. The commented spec and the schema are made of the words that stand at the fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bitfront.experiments.bundle.names import MOST_SAMPLES
from bitfront.experiments.spec_base import Section as Section
from bitfront.experiments.spec_checks import DeviceName, Options, UploadedName, export_format, known_in
from bitfront.experiments.spec_errors import broken
from bitfront.experiments.spec_islands import IslandsSection, by_count


class DeviceSection(Section):
    """The device that networks are made for. `device: NAME` is enough where it needs no options."""

    name: DeviceName = Field(
        description="`host-onnxruntime` is this machine's CPU, really measured; `bitfusion` is a modelled "
        "accelerator whose cycles depend on bits. `bitfront device ls` lists all, imported ones too.",
        examples=["host-onnxruntime"],
    )
    options: Options = Field(
        default_factory=dict, description="The device's own options.", examples=[{"threads": 1, "batch": 8}]
    )


class SamplesSection(Section):
    """What is truly measured for the predictors to learn from."""

    fp32: int = Field(default=400, ge=10, description="Architectures measured in real numbers, at most.")
    quantized: int = Field(default=100, ge=10, description="Candidates measured in number formats, at most.")
    held_out: int = Field(
        default=100,
        ge=10,
        description="Further ones of either kind, always random, on which predictors are judged.",
    )
    stop: Literal["curve", "none"] = Field(
        default="curve",
        description="`curve`: no more are measured once a learning curve says that they would add less than "
        "`tolerance`; `none`: all are measured.",
    )
    tolerance: float = Field(
        default=0.006, gt=0, le=0.5, description="Pairwise accuracy, 0 to 1, that may be missed by stopping."
    )
    choose: Literal["random", "disagreement", "front"] = Field(
        default="random",
        description="Which quantized ones are measured next: `random` ones; or, for half of each round, those "
        "that teach most about all others (`disagreement`), or about those that may be on the predicted front "
        "(`front`).",
    )


class PredictorSection(Section):
    """What predicts accuracy."""

    kind: Annotated[str, known_in("bitfront.predictors:PREDICTORS")] = Field(
        default="mlp",
        description="`mlp` is an ensemble of small neural networks; `ridge`, `svr`, `gradient_boosting`, "
        "`random_forest` and `gaussian_process` are those of scikit-learn. Each is fitted to fp32 samples and "
        "transferred to quantized ones.",
    )
    options: Options = Field(
        default_factory=dict, description="The kind's own options.", examples=[{"members": 5, "ranking": 0.3}]
    )
    uploaded: UploadedName | None = Field(
        default=None,
        description="The name of a predictor that was sent to the service (POST /api/v1/predictors), for the same "
        "space; then no samples are measured and nothing is fitted: `samples` and `kind` are not used.",
    )
    tune: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="How many values of the other options are tried, each by cross-validation on the samples to "
        "learn from; 0: the others keep their defaults.",
    )


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
    policies: Literal["one", "per_device"] = Field(
        default="one",
        description="`per_device`: the networks for several devices share one architecture, and each has a "
        "bit-width policy of its own. All metrics but macs then have a device, as in top1@phone.",
    )
    insist: bool = Field(
        default=False,
        description="Search even where no candidate was found whose costs meet the constraints together. Such a "
        "search is refused otherwise, although what was not found may be there.",
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


class FrontSection(Section):
    """What is done with the front that the search predicts."""

    measure: int = Field(default=24, ge=1, description="Members that are truly measured, spread over the front.")


class ExecutorSection(Section):
    """Who measures samples and front members, and works on islands."""

    kind: Annotated[str, known_in("bitfront.search.executors:EXECUTORS")] = Field(
        default="local", description="`local` works in this process, `ray` in those of a Ray cluster."
    )
    workers: int | None = Field(
        default=None, ge=1, description="How many work at once; null: as many as there can be."
    )
    address: str | None = Field(
        default=None,
        min_length=1,
        description="A running Ray cluster; null: one on this machine, if `ray` is asked for.",
    )
    patience_s: float | None = Field(
        default=None,
        ge=0,
        description="Seconds to wait for a machine that can hold a worker at all, such as where a cluster grows; "
        "null: 30, and 0 without an address.",
    )


class ExportSection(Section):
    """What is written as a model file at the end. Any candidate can be exported later, too."""

    format: Annotated[str, AfterValidator(export_format)] = Field(
        default="onnx",
        description="What is written: `onnx` runs in ONNX Runtime and OpenVINO, docs/export.md tells of the "
        "others; `all`: every one that can hold the network.",
    )
    runtime: Literal["onnxruntime", "openvino"] = Field(
        default="onnxruntime", description="Which one the format `onnx` is written for."
    )
    pick: Literal["best", "knee", "none"] = Field(
        default="best", description="`best`: highest measured accuracy, `knee`: best trade-off, `none`: no export."
    )
    finetune_epochs: int = Field(
        default=0, ge=0, description="Epochs that the picked network is trained on before, in its own formats."
    )
    samples: int = Field(
        default=8,
        ge=0,
        le=MOST_SAMPLES,
        description="Test images that go along with a model, now or later; 0: none do, and noise stands for them.",
    )
