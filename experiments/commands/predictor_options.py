"""What the commands about predictors take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bitfront.predictors.table_files import Form

File = Annotated[Path, typer.Argument(metavar="FILE", help="A stored predictor, as 'fit' wrote it.")]
Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        show_default=False,
        help="A table as CSV: a column for every gene, or a column 'genome'.",
    ),
]
Parquet = Annotated[
    Path | None, typer.Option("--parquet", metavar="FILE", show_default=False, help="The same as parquet.")
]
Metric = Annotated[str, typer.Option("--metric", metavar="COLUMN", help="The column of measured accuracies.")]
Percent = Annotated[
    bool, typer.Option("--percent", help="Accuracies are per cent; else they are fractions from 0 to 1.")
]
SkipBadRows = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Leave out rows that are wrong; else one of them stops all.")
]
Tune = Annotated[
    int,
    typer.Option(
        "--tune",
        metavar="N",
        min=0,
        max=10_000,
        help="Values to try for options that are not given, by cross-validation on the rows to learn from.",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE.png", show_default=False, help="Draw predicted against measured accuracy into it."
    ),
]


def one_table(csv: Path | None, parquet: Path | None) -> tuple[Path, Form]:
    """The table that was given.

    Raises:
        BadParameter: none was, or two were.
    """
    if csv is not None and parquet is None:
        return csv, "csv"
    if parquet is not None and csv is None:
        return parquet, "parquet"
    raise typer.BadParameter("give one table, with --csv FILE or --parquet FILE")


def check_plot(plot: Path | None) -> None:
    """Refuse pictures of other formats before anything is done."""
    if plot is not None and plot.suffix.lower() != ".png":
        raise typer.BadParameter(f"{plot} must end in .png", param_hint="--plot")
