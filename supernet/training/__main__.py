"""Train a supernet from a recipe, without the rest of bitfront: ``python -m bitfront.supernet.training``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress
from bitfront.supernet.training.hardware import usable_cores
from bitfront.supernet.training.parallel import joined, share
from bitfront.supernet.training.recipe import Recipe, read_recipe
from bitfront.supernet.training.report import EpochReport, line_of
from bitfront.supernet.training.run import train

_REDRAWN_SECONDS = 0.5


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, or 1 after an error that is told on stderr."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        with joined():
            _train(read_recipe(options.recipe), options)
    except BitfrontError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bitfront.supernet.training",
        description="Train the supernet of a recipe; called again, an interrupted training goes on. "
        "Under torchrun, all its processes train together.",
    )
    parser.add_argument("recipe", type=Path, help="a YAML file with space, data, seed and training")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, manifest and history")
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or cuda:N")
    parser.add_argument(
        "--threads", type=_threads, default=usable_cores(), metavar="N",
        help="CPU threads (default: the cores this process may use, shared by all processes of this machine)",
    )  # fmt: skip
    return parser


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads: give a whole number from 1")
    return int(text)


def _train(recipe: Recipe, options: argparse.Namespace) -> None:
    recipe.refuse_untrainable()
    dataset = recipe.dataset(_bar("decoding images"))
    for note in dataset.notes:
        _say(note)
    space = recipe.space_for(dataset)
    supernet = Supernet(space, recipe.seed)
    parameters = sum(parameter.numel() for parameter in supernet.parameters())
    _say(f"space {space.name}: {space.n_genes} genes, {parameters:,} shared weights; data {dataset.name}")
    train(
        supernet, dataset, recipe.training, recipe.seed, options.out,
        device=options.device, after_epoch=_tell, progress=_bar("steps"),
    )  # fmt: skip
    _say(f"{options.out} holds the trained supernet")


def _tell(report: EpochReport) -> None:
    _say(line_of(report))


def _say(text: str) -> None:
    """Of several processes, the first speaks."""
    if share()[0] == 0:
        print(text, flush=True)


def _bar(label: str) -> Progress:
    """One line on stderr that is redrawn; nothing where that is no terminal."""
    began: list[tuple[float, int]] = []
    last = 0.0

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if share()[0] or not sys.stderr.isatty() or (now - last < _REDRAWN_SECONDS and done < total):
            return
        last = now
        if not began:
            began.append((now, done))
        start, first = began[0]
        rate = max(done - first, 1) / max(now - start, 1e-9)
        left, end = (total - done) / rate, "\n" if done == total else ""
        print(
            f"\r\x1b[K{label} {done}/{total}, {rate:.1f}/s, {left:.0f} s left",
            end=end,
            file=sys.stderr,
            flush=True,
        )

    return show


if __name__ == "__main__":
    sys.exit(main())
