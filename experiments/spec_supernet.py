"""The section of a spec that says where the supernet comes from, and how it is trained and measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from bitfront.experiments.spec_checks import absolute
from bitfront.experiments.spec_errors import Problem
from bitfront.experiments.spec_sections import Section

_NOT_TRAINING = ("pretrained", "weights", "device", "processes", "threads", "calibration_images")


def _here(path: str | None, info: ValidationInfo) -> str | None:
    return None if path is None else absolute(path, info)


class SupernetSection(Section):
    """How the supernet is trained and measured. Experiments that agree in this, space, data and seed share one.

    Rates are the highest of their phases; an epoch is one pass over the training split.
    """

    pretrained: bool = Field(
        default=True,
        description="Whether weights that come with bitfront are used, where they are of this space and data, all "
        " settings of the training are the defaults, and data.augmentation is not given.",
    )
    weights: Annotated[str | None, AfterValidator(_here)] = Field(
        default=None,
        description="A folder that `python -m bitfront.supernet.training` wrote, perhaps on another machine, for "
        "the same space and data; then nothing is trained here, and settings of the training are not used.",
        examples=["cifar10-supernet"],
    )
    warmup_epochs: int = Field(default=8, ge=0, description="Epochs that train the largest network alone.")
    elastic_epochs: int = Field(
        default=36, ge=0, description="Epochs that draw kernels, widths and depths, with schedule `sandwich`."
    )
    quantized_epochs: int = Field(default=18, ge=0, description="Epochs that draw number formats as well.")
    schedule: Literal["sandwich", "progressive"] = Field(
        default="sandwich",
        description="`sandwich` draws all architectures at once; `progressive` opens kernels, then depths, then "
        "widths (Once-for-All).",
    )
    kernel_epochs: int = Field(default=12, ge=0, description="Epochs that draw kernels, with `progressive`.")
    depth_epochs: int = Field(default=12, ge=0, description="Epochs that draw depths too, with `progressive`.")
    expand_epochs: int = Field(default=12, ge=0, description="Epochs that draw widths too, with `progressive`.")
    batch_size: int = Field(default=64, ge=1, description="Images in a training step.")
    accumulation: int = Field(
        default=1, ge=1, description="Parts of a batch that are run one after the other, to save memory."
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        default="adamw", description="`adamw`, or `sgd` with Nesterov momentum."
    )
    learning_rate: float = Field(default=0.004, gt=0, description="Learning rate of the phases in real numbers.")
    quantized_learning_rate: float = Field(
        default=0.001, gt=0, description="Learning rate of the quantized phase."
    )
    weight_decay: float = Field(default=0.0001, ge=0, description="Weight decay, apart from the gradient.")
    label_smoothing: float = Field(default=0.05, ge=0, lt=1, description="Share of a label that all classes get.")
    subnets_per_step: int = Field(
        default=4, ge=1, description="Random networks in a training step, beside the largest and the smallest."
    )
    augment: bool = Field(default=True, description="Whether training images are varied as the data set says.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="`bf16` is autocast; `auto` uses it on a GPU and not on a CPU."
    )
    probes: int = Field(
        default=1, ge=0, description="Random networks looked at after each epoch, beside smallest and largest."
    )
    device: str = Field(
        default="auto", description="What trains: `cpu`, `cuda`, `cuda:1`; `auto` is a GPU where there is one."
    )
    processes: int = Field(
        default=1, ge=1, description="Ray workers that train together, one GPU each where there are GPUs."
    )
    threads: int = Field(default=1, ge=1, description="CPU threads that train; another number rounds differently.")
    calibration_images: int = Field(
        default=512, ge=1, description="Training images that calibrate batch norm before each measurement."
    )

    def training(self) -> dict[str, Any]:
        """The fields of `TrainingSettings`."""
        return self.model_dump(exclude=set(_NOT_TRAINING))

    def identity(self) -> dict[str, Any]:
        """What of this section decides weights that are trained here, and what is measured with them."""
        return {
            **self.training(),
            "processes": self.processes,
            "threads": self.threads,
            "calibration_images": self.calibration_images,
        }


def supernet_problems(section: SupernetSection) -> Iterator[Problem]:
    """What values are wrong together."""
    size, processes = section.batch_size, section.processes
    if section.accumulation > size:
        rule = f"a batch of {size} has no more parts than images"
        yield Problem("supernet.accumulation", str(section.accumulation), rule, f"give at most {size}")
    if size % processes:
        rule = f"can not be shared evenly by {processes} processes"
        yield Problem("supernet.batch_size", str(size), rule, f"give a multiple of {processes}")
    if processes > 1 and ":" in section.device:
        rule = f"is one device, and {processes} processes train, each on its own"
        yield Problem("supernet.device", section.device, rule, "give auto, cpu or cuda")
