"""What `space ls` and `space show` print for people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bitfront.experiments.commands.shown import rows, section

_UNITS = {"parameters": "parameters", "macs": "multiply-accumulates", "size_bytes": "bytes of parameters"}
_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_MOST_CHOICES = 8


def spaces_table(listed: Sequence[Mapping[str, Any]]) -> Table:
    """One row a space of `space_facts.listed_spaces`."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("name", "networks", "genes", "pixels", "what"):
        table.add_column(name, justify="right" if name == "genes" else "left", no_wrap=name != "what")
    for row in listed:
        if row["problem"]:
            table.add_row(row["name"], "-", "-", "-", f"can not be used: {row['problem']}")
        else:
            networks = power_of_ten(row["log10_networks"])
            table.add_row(row["name"], networks, str(row["genes"]), _range(row["resolutions"]), row["about"])
    return table


def print_space(console: Console, values: Mapping[str, Any]) -> None:
    """The values of `space_facts.space_details`."""
    section(console, values["name"], _head(values))
    section(console, "options", rows(values["options"]))
    console.print(_figures_table(values))
    console.print()
    console.print(_genes_table(values["genes"]))


def power_of_ten(exponent: float) -> str:
    """A large number as people read it: ``4.9 x 10^78``."""
    whole = int(exponent // 1)
    return f"{10 ** (exponent - whole):.2f} x 10^{whole}"


def scaled(value: float) -> str:
    """A figure with three digits and a prefix: ``5.11 M``."""
    for step, prefix in _STEPS:
        if value >= step:
            return f"{value / step:.3g} {prefix}"
    return f"{value:.3g}"


def _head(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if values["about"]:
        yield "what", values["about"]
    yield "networks", power_of_ten(values["log10_networks"])
    yield "exactly", f"{int(values['networks']):,}".replace(",", " ")
    yield (
        "genes",
        f"{values['n_genes']}, of which {sum(row['count'] for row in values['genes'] if _is_policy(row))} "
        "choose number formats",
    )
    encoding = values["encoding"]
    yield "encoding", f"{encoding['architecture']} columns of architecture and {encoding['policy']} of formats"
    if values["rules"]:
        first = values["rules"][0]
        tied = f"{', '.join(first['genes'])} ({first['allowed']} of {first['combinations']} combinations stay)"
        yield "rules", f"{len(values['rules'])} that forbid combinations; the first: {tied}"


def _is_policy(row: Mapping[str, Any]) -> bool:
    return str(row["kind"]).endswith("_format")


def _figures_table(values: Mapping[str, Any]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("a network has")
    for name in ("least", f"median of {values['samples']:,}", "most"):
        table.add_column(name, justify="right")
    for name, figures in values["figures"].items():
        table.add_row(f"  {_UNITS[name]}", *(scaled(figures[which]) for which in ("least", "median", "most")))
    return table


def _genes_table(genes: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("genes", overflow="fold")
    table.add_column("", justify="right")
    table.add_column("choices", overflow="fold")
    for row in genes:
        count = f"{row['count']} x" if row["count"] > 1 else ""
        table.add_row(f"  {row['pattern']}", count, choices_in_words(row["choices"]))
    return table


def choices_in_words(choices: Sequence[int | str]) -> str:
    """Choices side by side; long lists of numbers in equal steps as the first, the second and the last."""
    if len(choices) <= _MOST_CHOICES:
        return " ".join(map(str, choices))
    steps = {b - a for a, b in itertools.pairwise(choices) if isinstance(a, int) and isinstance(b, int)}
    if len(steps) == 1:
        return f"{choices[0]} {choices[1]} .. {choices[-1]} ({len(choices)} choices)"
    return f"{' '.join(map(str, choices[:4]))} .. {choices[-1]} ({len(choices)} choices)"


def _range(sizes: Sequence[int]) -> str:
    return f"{sizes[0]}-{sizes[-1]}" if len(sizes) > 1 else "".join(map(str, sizes))
