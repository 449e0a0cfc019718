"""What the commands about devices take."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

Name = Annotated[str, typer.Argument(metavar="NAME", help="A device, as 'bitfront device ls' lists them.")]
Space = Annotated[str, typer.Option(metavar="SPACE", help="A search space, or your own file of one.")]
SpaceName = Annotated[
    str | None,
    typer.Option("--space", metavar="SPACE", show_default=False, help="A search space, or your own file of one."),
]
SpaceOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--space-option",
        metavar="NAME=VALUE",
        show_default=False,
        help="An option of the space, as classes=10: an experiment has those of its data set; may be repeated.",
    ),
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        show_default=False,
        help="An option of the device, as under 'device: options:' of a spec; may be repeated.",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, show_default=False, help="CPU threads, as an --option.")]
Batch = Annotated[int | None, typer.Option(min=1, show_default=False, help="Images in one call, as an --option.")]


def parsed(given: list[str] | None, **named: int | None) -> dict[str, Any]:
    """The device's options: values are read as in a spec's YAML; ``named`` ones count where they are not None.

    Raises:
        BadParameter: one is no NAME=VALUE, comes twice, or is no plain value.
    """
    options: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{text!r} must read NAME=VALUE, as in rounds=12", param_hint="--option")
        if name in options:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint="--option")
        options[name] = _plain(name, value)
    return options


def named_space(space: str, given: list[str] | None) -> str:
    """The options of the command line that name this space again."""
    more = "".join(f" --space-option {shlex.quote(text)}" for text in given or ())
    return f"--space {shlex.quote(space)}{more}"


def _plain(name: str, value: str) -> Any:
    import yaml

    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError:
        found = value
    if not isinstance(found, bool | int | float | str):
        raise typer.BadParameter(
            f"{name} = {value!r} must be a number, text, true or false", param_hint="--option"
        )
    return found
