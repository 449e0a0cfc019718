"""The service as a process of its own, asked over the network as its users ask."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import numpy as np

_STARTS_WITHIN_S, _ENDS_WITHIN_S = 60.0, 20.0
_ANSWERS_WITHIN_S = 60.0

Question = Callable[[np.random.Generator], str]
"""Draws what is asked for: a path with its query."""


@contextmanager
def served(home: Path, database: str | None) -> Iterator[str]:
    """The address of a service without a worker, over a home and its own or another database.

    Raises:
        RuntimeError: it does not start; its words are in the message.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"BITFRONT_HOME": str(home), "BITFRONT_STORE": database or ""}
    command = [sys.executable, "-P", "-m", "bitfront.experiments.cli", "serve", "--no-worker", "--port", str(port)]
    log = home / "serve.log"
    with log.open("wb") as words, subprocess.Popen(
        command, env={**os.environ, **settings}, stdout=words, stderr=words
    ) as process:  # fmt: skip
        try:
            _await(process, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{address}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the service does not start: {log.read_text(errors='replace')[-2000:]}")


def seconds_of(address: str, question: Question, n: int, rng: np.random.Generator, pause: float) -> list[float]:
    """Seconds from each of ``n`` questions to the end of its answer, one after the other with pauses between.

    Raises:
        RuntimeError: an answer is an error.
    """
    found = []
    with httpx.Client(base_url=address, timeout=_ANSWERS_WITHIN_S) as client:
        for _ in range(n):
            found.append(_asked(client, question(rng)))
            time.sleep(pause)
    return found


def seconds_of_many(
    address: str, questions: Sequence[Question], readers: int, seconds: float, pause: float, seed: int
) -> list[float]:
    """As `seconds_of`, of ``readers`` at once, each of whom asks again ``pause`` seconds after an answer.

    Raises:
        RuntimeError: an answer is an error.
    """
    found: list[float] = []
    troubles: list[BaseException] = []
    until = time.monotonic() + seconds

    def read(number: int) -> None:
        rng = np.random.default_rng([seed, number])
        try:
            with httpx.Client(base_url=address, timeout=_ANSWERS_WITHIN_S) as client:
                time.sleep(float(rng.uniform(0, pause)))  # they do not come all at once
                while time.monotonic() < until and not troubles:
                    found.append(_asked(client, questions[int(rng.integers(len(questions)))](rng)))
                    time.sleep(pause)
        except BaseException as trouble:
            troubles.append(trouble)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if troubles:
        raise troubles[0]
    return found


def _asked(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    answer = client.get(path)
    seconds = time.perf_counter() - began
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answers {answer.status_code}: {answer.text[:500]}")
    return seconds
