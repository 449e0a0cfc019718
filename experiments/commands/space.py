"""space ls, show: which networks can be built."""

from __future__ import annotations

from typing import Annotated

import typer

from bitfront.experiments.commands.consoles import err, out, put_json
from bitfront.experiments.commands.device_options import parsed
from bitfront.experiments.commands.group import Commands, tell
from bitfront.experiments.commands.look import Json

app = typer.Typer(
    name="space",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Search spaces: which networks can be built, yours included.",
)


@app.command("ls")
def ls(as_json: Json = False) -> None:
    """List the spaces that experiments can name; your own file of one needs no name."""
    from bitfront.experiments.space_facts import listed_spaces
    from bitfront.experiments.space_tables import spaces_table

    with err().status("building the spaces"):
        rows = list(listed_spaces())
    if as_json:
        put_json(rows)
        return
    out().print(spaces_table(rows))
    tell("'bitfront space show NAME' shows a space's genes and how large its networks are")


@app.command("show")
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE", help="A space, or your own YAML or Python file (file.py:function) of one."
        ),
    ],
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            show_default=False,
            help="An option of the space, as under 'space: options:' of a spec; may be repeated.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=100_000, help="Networks drawn for the median.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    as_json: Json = False,
) -> None:
    """Show one space: its genes and choices, how many networks it has, and how large they are."""
    from bitfront.experiments.space_facts import space_details
    from bitfront.experiments.space_files import settings_of
    from bitfront.experiments.space_tables import print_space

    with err().status("drawing networks"):
        values = space_details(settings_of(name, parsed(given)), samples, seed)
    if as_json:
        put_json(values)
    else:
        print_space(out(), values)
