"""serve, token: the service and who may use it."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitfront.experiments.commands.consoles import out, put_json
from bitfront.experiments.commands.group import Commands, tell
from bitfront.experiments.commands.look import Json
from bitfront.experiments.commands.opened import opened, opened_existing
from bitfront.experiments.commands.work import Format
from bitfront.experiments.logs import LogFormat

if TYPE_CHECKING:
    from bitfront.experiments.store.service_records import Token

# Who asks is told to come back (503), rather than that every thread waits for a database that is away.
_PATIENCE_SECONDS = 1.5
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")

app = typer.Typer(
    name="token",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Tokens: who may use the service from where it can not be known otherwise.",
)


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen at; others than this machine's own need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen at.")] = 8317,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Leave experiments to other workers.")] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default=False, help="A name it may be asked by; may be repeated."),
    ] = None,
    data_folder: Annotated[
        list[Path] | None,
        typer.Option(
            file_okay=False,
            show_default="'data' in its home",
            help="Specs that are sent may name files in it; may be repeated.",
        ),
    ] = None,
    ray_address: Annotated[
        list[str] | None,
        typer.Option(show_default=False, help="A Ray cluster that specs that are sent may name; may be repeated."),
    ] = None,
    https: Annotated[
        bool, typer.Option("--https", help="A proxy in front speaks HTTPS: cookies are sent over it alone.")
    ] = False,
    log_format: Format = LogFormat.TEXT,
) -> None:
    """Serve REST and web pages, and work on what is launched there."""
    from bitfront.experiments.logs import log_to_stderr
    from bitfront.experiments.service.serving import run_server
    from bitfront.experiments.service.settings import Settings
    from bitfront.experiments.store.home import home, open_store
    from bitfront.experiments.store.swapping import opening

    settings = Settings(
        home=home(),
        host=host,
        port=port,
        names=tuple(name or ()),
        data_folders=tuple(data_folder or ()),
        ray_addresses=tuple(ray_address or ()),
        secure_cookies=https,
        log_format=log_format,
    )
    log_to_stderr(log_format)
    with opening(home()), open_store(patience=_PATIENCE_SECONDS) as store:
        store.mark_interrupted()
        place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        logging.getLogger(__name__).info("bitfront serves at %s; Ctrl-C ends it", place)
        run_server(settings, store, with_worker=not no_worker)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="For whom or what it is.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE", show_default="read", help="read, write or admin; each includes those before it."
        ),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36500, show_default="for good", help="For how many days it holds.")
    ] = None,
) -> None:
    """Make a token. It is printed on stdout this once, and kept nowhere."""
    from bitfront.experiments.service.tokens import new_token

    if _NAME.fullmatch(name) is None:
        raise typer.BadParameter(
            "use letters, digits, '-', '_' and '.', a letter or digit first", param_hint="NAME"
        )
    ends = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with opened() as store:
        shown, token = new_token(store, name, scope or ["read"], ends)
    typer.echo(shown)
    tell(f"token {name!r} for {', '.join(token.scopes)}: send it as 'Authorization: Bearer TOKEN'; keep it secret")


@app.command("ls")
def ls(as_json: Json = False) -> None:
    """List tokens: names, scopes and when they were used, never the tokens themselves."""
    with opened_existing() as store:
        rows = [_row(token) for token in store.tokens()]
    if as_json:
        put_json(rows)
        return
    from rich.text import Text

    from bitfront.experiments.tables import plain_table

    table = plain_table()
    for column in ("name", "scopes", "state", "created", "last used"):
        table.add_column(column)
    for row in rows:
        used = row["last_used_at"] or "never"
        table.add_row(*map(Text, (row["name"], ", ".join(row["scopes"]), row["state"], row["created_at"], used)))
    out().print(table)


@app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(metavar="NAME", help="As 'bitfront token ls' shows it.")]) -> None:
    """End a token at once, and for good."""
    with opened_existing() as store:
        store.revoke_token(name)
    tell(f"token {name!r} is revoked")


def _row(token: Token) -> dict[str, Any]:
    moments = ("created_at", "last_used_at", "expires_at", "revoked_at")
    times = {name: getattr(token, name) for name in moments}
    state = "valid" if token.is_valid(datetime.now(UTC)) else "revoked" if token.revoked_at else "ended"
    shown = {name: time.isoformat(timespec="seconds") if time else None for name, time in times.items()}
    return {"name": token.name, "scopes": list(token.scopes), "state": state, **shown}
