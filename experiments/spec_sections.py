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
        default=0.005, gt=0, le=0.5, description="Pairwise accuracy, 0 to 1, that may be missed by stopping."
    )
    choose: Literal["random", "disagreement", "front"] = Field(
        default="random",
        description="Which are measured next: `random` ones; or, for half of each round, those of which least is "
        "known (`disagreement`), or those that may be on the predicted front (`front`).",
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
    tune: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="How many values of the other options are tried, each by cross-validation on the samples to "
        "learn from; 0: the others keep their defaults.",
    )


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


class ExportSection(Section):
    """What is written as a model file at the end. Any candidate can be exported later, too."""

    format: Literal["onnx"] = Field(default="onnx", description="File format.")
    pick: Literal["best", "knee", "none"] = Field(
        default="best", description="`best`: highest measured accuracy, `knee`: best trade-off, `none`: no export."
    )
    finetune_epochs: int = Field(
        default=0, ge=0, description="Epochs that the picked network is trained on before, in its own formats."
    )
