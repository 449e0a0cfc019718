"""The sections of a spec. The commented spec and the schema are made of the words that stand at the fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bitfront.experiments.spec_checks import DeviceName, Options, known_in


class Section(BaseModel):
    """A part of a spec: unknown fields are refused, values are never converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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

    fp32: int = Field(default=400, ge=10, description="Architectures measured in real numbers.")
    quantized: int = Field(default=100, ge=10, description="Candidates measured in number formats.")
    held_out: int = Field(
        default=100, ge=10, description="Further ones of either kind, on which predictors are judged."
    )


class PredictorSection(Section):
    """What predicts accuracy."""

    kind: Annotated[str, known_in("bitfront.predictors:PREDICTORS")] = Field(
        default="mlp", description="`mlp` is a small neural network, transferred from fp32 to quantized samples."
    )


class SearchSection(Section):
    """How the space is searched."""

    strategy: Annotated[str, known_in("bitfront.search.strategies:STRATEGIES")] = Field(
        default="nsga2", description="`nsga2` breeds from the best so far; `random` draws, for comparison."
    )
    population: int = Field(default=100, ge=2, le=1_000_000, description="Candidates scored in a generation.")
    generations: int = Field(default=100, ge=1, description="Generations until the search ends.")
    options: Options = Field(
        default_factory=dict,
        description="The strategy's own further options.",
        examples=[{"crossover_rate": 0.9}],
    )


class FrontSection(Section):
    """What is done with the front that the search predicts."""

    measure: int = Field(default=24, ge=1, description="Members that are truly measured, spread over the front.")


class ExecutorSection(Section):
    """Who measures samples and front members."""

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


class ExportSection(Section):
    """What is written as a model file at the end. Any candidate can be exported later, too."""

    format: Literal["onnx"] = Field(default="onnx", description="File format.")
    pick: Literal["best", "knee", "none"] = Field(
        default="best", description="`best`: highest measured accuracy, `knee`: best trade-off, `none`: no export."
    )
    finetune_epochs: int = Field(
        default=0, ge=0, description="Epochs that the picked network is trained on before, in its own formats."
    )
