"""What the service answers about experiments and what they found."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bitfront.experiments.bundle.names import MOST_SAMPLES
from bitfront.experiments.store.statuses import Status

Values = dict[str, float]
"""Metric, or METRIC@DEVICE, to its value in the unit that its name says; accuracies are fractions."""

ID = "digits-7f3a2c"


class Answer(BaseModel):
    """What every answer has in common: nothing is in it that is not described."""

    model_config = ConfigDict(extra="forbid")


class ProgressAnswer(Answer):
    """How far a piece of a stage is: ``done`` of ``total`` steps."""

    label: str = Field(examples=["training"])
    done: int = Field(ge=0, examples=[12])
    total: int = Field(ge=0, examples=[62])


class ExperimentAnswer(Answer):
    """One launched search, without its spec."""

    id: str = Field(examples=[ID])
    name: str = Field(examples=["digits"])
    seed: int = Field(examples=[0])
    status: Status = Field(examples=[Status.RUNNING])
    stage: str = Field(examples=["5 search"])
    reason: str = Field(description="Why it ended, or will.", examples=[""])
    progress: ProgressAnswer | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None
    supernet_id: str | None
    predictor_id: str | None
    table_ids: dict[str, str] = Field(description="Cost table of each device.")
    forgotten: int = Field(description="Candidates that were removed since.")


class ExperimentPage(Answer):
    """A part of all experiments, newest first; ``next_cursor`` asks for the next part, null at the end."""

    items: list[ExperimentAnswer]
    next_cursor: str | None


class FoundPredictor(Answer):
    """A predictor of an experiment, with its metrics on candidates that it had not seen."""

    id: str
    kind: str = Field(examples=["transferred"])
    created_at: datetime
    metrics: dict[str, Any]


class SearchAnswer(Answer):
    """How far the search is. ``reference``: the point up to which hypervolume counts, minimised."""

    generations: int
    evaluations: int
    candidates: int
    hypervolume: float | None = Field(description="Of the newest generation.")
    reference: Values | None
    islands: list[dict[str, int]]


class FrontCounts(Answer):
    """How many members of the front were measured, and how many of these no other one dominates."""

    measured: int
    not_dominated: int


class ExperimentDetails(ExperimentAnswer):
    """An experiment with its spec and all that belongs to it; what is not there yet is null or empty."""

    spec: dict[str, Any]
    predictors: list[FoundPredictor]
    search: SearchAnswer
    front: FrontCounts
    exports: int
    files: list[str] = Field(description="Names of its files: log and pictures.")


class LayerAnswer(Answer):
    """A layer of a network. ``device`` is empty where one network serves all devices."""

    device: str = ""
    name: str = Field(examples=["stage1.block0.spatial"])
    op: str = Field(examples=["depthwise"])
    kernel: int = Field(examples=[5])
    width: int = Field(description="Output channels.", examples=[24])
    weight_format: str = Field(examples=["int4"])
    activation_format: str = Field(examples=["int8"])


class LayerDetails(LayerAnswer):
    """A layer with its bit-widths and size."""

    block: str = Field(description="The block that it is part of; blocks are what devices time.")
    weight_bits: int = Field(examples=[4])
    activation_bits: int = Field(examples=[8])
    weights: int = Field(description="How many weights it has.")
    macs: int


class FrontRow(Answer):
    """A member of a front: what was predicted beside what was measured, never mixed.

    ``measured`` is null where nothing was measured: top1 on the validation split, as it was predicted;
    top1_test on the test split, for the reader alone. Without ``details``, architecture and bits are empty,
    and so is the
    policy.
    """

    candidate: int
    genome: list[int]
    architecture: str = Field(examples=["r16 5w24.3w16|7w40"])
    bits: str = Field(examples=["w5.3 a6.8"])
    policy: list[LayerAnswer]
    predicted: Values
    measured: dict[str, float | None]
    dominated: bool
    error: str | None


class FrontAnswer(Answer):
    """A front. ``kind``: ``measured`` members were truly measured, ``predicted`` ones are those of the search
    so far.

    ``hidden``: members left out because others dominate them, or by the condition.
    """

    experiment_id: str
    kind: str = Field(examples=["measured"])
    objectives: list[str] = Field(examples=[["top1", "latency_ms"]])
    items: list[FrontRow]
    hidden: int


class CandidateAnswer(Answer):
    """A candidate that the search scored: predicted metrics, or the ``error`` that kept it from being scored."""

    candidate: int
    generation: int
    genome: list[int]
    predicted: Values
    on_front: bool
    error: str | None


class CandidatePage(Answer):
    """A part of an experiment's candidates; ``total``: how many there are, if asked for."""

    items: list[CandidateAnswer]
    next_cursor: str | None
    total: int | None


class BlockCost(Answer):
    """What a block costs on a device, with the border before its successor, as the device's table has it."""

    device: str
    block: str = Field(examples=["stage1.block0"])
    costs: Values = Field(examples=[{"latency_ms": 0.012}])
    estimated: bool = Field(description="Whether the table's entry was interpolated.")


class CandidateDetails(CandidateAnswer):
    """A candidate with its network. ``measured`` is null where it is no measured member of the front."""

    architecture: str
    bits: str
    genes: dict[str, int | str]
    layers: list[LayerDetails]
    costs: list[BlockCost]
    costs_missing: str = Field(description="Why costs are not there; empty where they are.")
    measured: dict[str, float | None] | None
    dominated: bool | None


class GenerationAnswer(Answer):
    """A step of the search; ``evaluations`` counts from its beginning."""

    index: int
    evaluations: int
    hypervolume: float
    created_at: datetime


class HypervolumeAnswer(Answer):
    """Hypervolume over the search, up to ``reference`` (objective, as it is minimised, to its value)."""

    experiment_id: str
    reference: Values | None
    generations: list[GenerationAnswer]


class ImportancesAnswer(Answer):
    """How much of each metric's variance a gene alone explains, 0 to 1, among ``candidates`` first ones."""

    experiment_id: str
    candidates: int
    importances: dict[str, Values] = Field(description="Metric to gene to its share.")


class ComparedRow(Answer):
    """A member of one of several fronts; ``dominated`` by a member of any of them, by predicted numbers."""

    experiment_id: str
    device: str
    candidate: int
    predicted: Values
    measured: Values
    dominated: bool


class CompareAnswer(Answer):
    """Fronts side by side."""

    objectives: list[str]
    items: list[ComparedRow]


class ExportAnswer(Answer):
    """A candidate as a model. ``state`` is ``ready``, ``running`` or ``failed``, ``error`` says why.

    ``top1_test`` is the model's own accuracy on the test split. ``file`` is where to fetch it, with ``sha256``:
    one file, or a zip file of the whole bundle where the model is several. ``bundle`` is where to fetch the
    bundle: the model with its manifest, samples and sums. ``size_bytes`` are those of the file, or of the bundle.
    """

    candidate: int
    format: str = Field(examples=["onnx"])
    device: str
    state: str = Field(examples=["ready"])
    error: str
    sha256: str | None
    size_bytes: int | None
    top1_test: float | None
    created_at: datetime | None
    file: str | None = Field(examples=[f"/api/v1/experiments/{ID}/exports/3/file?format=onnx&device="])
    bundle: str | None = Field(examples=[f"/api/v1/experiments/{ID}/exports/3/bundle?format=onnx&device="])


class ExportList(Answer):
    """An experiment's exports."""

    items: list[ExportAnswer]


class ExportRequest(BaseModel):
    """What is to be exported. Without ``device`` that of every device, where each has a policy of its own."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"candidate": 3}]})
    candidate: int = Field(ge=0, lt=2**31)
    format: str = Field(default="onnx", max_length=20, description="A target, or `all` that can hold the network.")
    runtime: Literal["onnxruntime", "openvino"] | None = Field(
        default=None, description="Which one the format onnx is written for; null: as the experiment's spec says."
    )
    device: str = Field(default="", max_length=100)
    finetune_epochs: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Epochs that the network is trained on before; null: as the experiment's spec says.",
    )
    samples: int | None = Field(
        default=None,
        ge=0,
        le=MOST_SAMPLES,
        description="Test images that go along; 0: noise instead; null: as the experiment's spec says.",
    )
