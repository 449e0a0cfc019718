"""train: a supernet from its recipe, apart from any experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitfront.experiments.commands.consoles import err
from bitfront.experiments.commands.group import tell

if TYPE_CHECKING:
    from bitfront.experiments.reporter import Reporter
    from bitfront.supernet.training.recipe import Recipe

_PLOT = "training.png"


def train(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", show_default=False, help="A YAML file: space, data, seed, training."),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FOLDER", show_default=False, help="For weights and history."),
    ],
    device: Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default="all usable cores", help="CPU threads.")
    ] = None,
) -> None:
    """Train a supernet from a recipe. Called again, an interrupted training goes on.

    The folder can be named in a spec, as in `supernet: {weights: FOLDER}`. On a machine without bitfront's other
    dependencies, `python -m bitfront.supernet.training` does the same.
    """
    import torch

    from bitfront.experiments.plot_training import training_png
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.supernet.files import write_bytes
    from bitfront.supernet.training.hardware import usable_cores
    from bitfront.supernet.training.recipe import read_recipe
    from bitfront.supernet.training.report import EpochReport

    wanted = read_recipe(recipe)
    torch.set_num_threads(threads or usable_cores())
    with RichReporter(err()) as reporter:
        manifest = _trained(wanted, output, device, reporter)
    write_bytes(output / _PLOT, training_png([EpochReport(**report) for report in manifest["history"]]))
    tell(f"weights, manifest, history and {_PLOT} are in {output}")


def _trained(recipe: Recipe, output: Path, device: str, reporter: Reporter) -> dict[str, Any]:
    """The manifest."""
    from bitfront.supernet.network import Supernet
    from bitfront.supernet.training.report import line_of
    from bitfront.supernet.training.run import train as train_into

    recipe.refuse_untrainable()
    dataset = recipe.dataset(reporter.progress("decoding images"))
    for note in dataset.notes:
        reporter.say(note)
    return train_into(
        Supernet(recipe.space_for(dataset), recipe.seed), dataset, recipe.training, recipe.seed, output,
        device=device,
        after_epoch=lambda report: reporter.say(line_of(report)),
        progress=reporter.progress("training steps"),
    )  # fmt: skip
