"""worker, and what its children run."""

from __future__ import annotations

from typing import Annotated

import typer

from bitfront.experiments.logs import LogFormat

Format = Annotated[LogFormat, typer.Option("--log-format", help="Lines for people, or JSON for programs.")]


def worker(
    slots: Annotated[int, typer.Option(min=1, help="Experiments at once.")] = 1,
    poll: Annotated[float, typer.Option(help="Seconds between two looks at the queue.")] = 1.0,
    grace: Annotated[
        float, typer.Option(help="Seconds that a process which must end is left to do so before it is killed.")
    ] = 20.0,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is queued and nothing runs.")] = False,
    log_format: Format = LogFormat.TEXT,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Work through the queue: each experiment in a process of its own.

    What crashed is resumed, at most 3 times in a row without progress; what is cancelled ends within seconds.
    SIGTERM or Ctrl-C ends the worker and interrupts what runs, which goes on with the next worker.
    """
    from bitfront.experiments.logs import log_to_stderr
    from bitfront.experiments.store.home import home
    from bitfront.experiments.worker.settings import WorkerSettings
    from bitfront.experiments.worker.worker import work_through_queue

    settings = WorkerSettings(slots, poll, grace, once, parent)
    log_to_stderr(log_format)
    work_through_queue(home(), settings)


def next_one() -> None:
    """Claim the next queued experiment and work on it; a worker starts this."""
    from bitfront.experiments.store.home import home
    from bitfront.experiments.worker.child import work_on_next

    work_on_next(home())
