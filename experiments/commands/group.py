"""How commands end: errors in one line, and an exit code that tells."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.text import Text
from typer.core import TyperGroup

from bitfront.experiments.commands.consoles import err
from bitfront.supernet.errors import BitfrontError

DEBUG = "BITFRONT_DEBUG"
INTERRUPTED = 130
_CRASHES = "crash.log"


class Commands(TyperGroup):
    """Commands whose errors are told to people.

    Exit codes: 1 for an error, 2 for a command line that can not be read, 130 after Ctrl-C; commands that have
    others tell of them. A traceback is shown only when debugging; what nobody expected is kept in ``crash.log`` of
    BITFRONT_HOME.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            tell("interrupted", "yellow")
            raise typer.Exit(INTERRUPTED) from None
        except BitfrontError as error:
            _fail(error, "\n".join([str(error), *getattr(error, "__notes__", [])]))
        except Exception as error:
            if isinstance(error, typer.Abort | BrokenPipeError) or hasattr(error, "exit_code"):
                raise  # these belong to Typer
            _fail(error, _unexpected(error))


def tell(text: str, style: str = "") -> None:
    """One line on stderr, never broken at the terminal's width, so that paths can be copied."""
    err().print(Text(text, style=style), soft_wrap=True)


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def _fail(error: Exception, text: str) -> NoReturn:
    if debugging():
        err().print(Text("".join(traceback.format_exception(error))), soft_wrap=True)
    tell(f"error: {text}", "red")
    raise typer.Exit(1) from None


def _unexpected(error: Exception) -> str:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    path = None if debugging() else _kept(error)
    where = f"; the traceback is in {path}" if path else ""
    return f"{what} (bitfront did not expect this){where}" + ("" if debugging() else "; --debug shows it here")


def _kept(error: Exception) -> Path | None:
    """Add the traceback to the crash log; None where even that can not be written."""
    from bitfront.experiments.store.home import home

    path = home() / _CRASHES
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')}\n")
            file.writelines(traceback.format_exception(error))
    except OSError:
        return None
    return path
