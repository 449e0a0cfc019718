"""What the command ``export`` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bitfront.experiments.bundle.names import MOST_SAMPLES

CandidateNumber = Annotated[int, typer.Option("--candidate", metavar="N", help="Its number in 'bitfront front'.")]
Format = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="onnx, integer, c, torch, or all that can hold it.")
]
Runtime = Annotated[
    Literal["onnxruntime", "openvino"] | None,
    typer.Option(help="Which one onnx is written for.", show_default="export.runtime of its spec"),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="DIR", help="What the bundle becomes; without it, in the experiment's folder."
    ),
]
FinetuneEpochs = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Train it on for N epochs before, in its own formats.",
        show_default="export.finetune_epochs of its spec",
    ),
]
DeviceName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Only the network of this device.",
        show_default="all, where each has a policy of its own",
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MOST_SAMPLES,
        metavar="N",
        help="Test images that go along; 0: noise instead.",
        show_default="export.samples of its spec",
    ),
]
