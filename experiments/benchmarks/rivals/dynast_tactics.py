"""DyNAS-T's tactics over our space: they run in a Python of their own, and ask what candidates are worth."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import IO

import numpy as np

from bitfront.experiments.benchmarks.rivals import dynast_script
from bitfront.experiments.benchmarks.rivals.environment import LeftOutError, clean, environment
from bitfront.experiments.benchmarks.search_rivals import Ledger, SpentError, allowed_choices
from bitfront.experiments.reporter import Reporter
from bitfront.search.problem import Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace

NAME = "dynast"
_SEARCHES_WITH = ("pymoo>=0.6,<0.7", "numba", "pandas", "scikit-learn", "scipy", "autograd", "requests")
_ALONE = ("dynast==1.6.0",)
_SAID = 400
_MOST_SECONDS = 1800.0


@dataclass(frozen=True)
class DynasT:
    """A `Rival`: one tactic of DyNAS-T.

    Attributes:
        python: one that has DyNAS-T.
        tactic: ``evolutionary``, or ``linas``, which learns predictors of its own from what it asks.
        evaluations: how many candidates it plans to ask for, with those that it asks for again.
        inner: evaluations by prediction in each of LINAS's loops.
    """

    python: Path
    tactic: str
    evaluations: int
    inner: int

    def __call__(self, problem: Problem, ledger: Ledger, population: int, seed: int) -> None:
        """Answer until it ends.

        Raises:
            SpentError: the ledger's budget is used, or half an hour, in which something was scored.
            LeftOutError: DyNAS-T fails, or scores nothing in half an hour.
        """
        with tempfile.TemporaryDirectory(prefix="bitfront-dynast-") as name:
            folder = Path(name)
            plan = {
                "tactic": self.tactic,
                "choices": allowed_choices(problem.space),
                "evaluations": self.evaluations,
                "population": population,
                "inner": self.inner,
                "seed": seed,
                "results": str(folder / "results.csv"),
            }
            answer_script(
                [str(self.python), "-I", dynast_script.__file__, json.dumps(plan)], problem.space, ledger, folder
            )


def answer_script(command: list[str], space: SearchSpace, ledger: Ledger, folder: Path) -> None:
    """Answer every line that a command writes, a genome, with the ledger's objectives.

    ``folder`` is where it leaves what it says beside that.

    Raises:
        SpentError: the ledger's budget is used, or half an hour, in which something was scored; the command is
            ended.
        LeftOutError: the command can not be started, fails, or asks for nothing in half an hour.
    """
    said = folder / "said.txt"
    with said.open("w") as errors, _started(command, errors) as process:
        late = Timer(_MOST_SECONDS, process.kill)
        late.start()
        try:
            _answer(process, space, ledger)
        finally:
            is_late = late.finished.is_set()
            late.cancel()
            process.kill()
    if is_late and len(ledger):
        raise SpentError
    if process.returncode:
        raise LeftOutError(f"{NAME} failed ({' '.join(command[:2])} ...): {said.read_text().strip()[-_SAID:]}")


def _started(command: list[str], errors: IO[str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=clean()
        )
    except OSError as error:
        raise LeftOutError(f"{NAME} can not be started: {error}") from error


def _answer(process: subprocess.Popen[str], space: SearchSpace, ledger: Ledger) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    for line in process.stdout:
        answer = json.dumps(ledger.score(space.repair(_genome(line)))[0].tolist())
        try:
            print(answer, file=process.stdin, flush=True)
        except BrokenPipeError:  # its exit code tells
            break
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.wait()


def _genome(line: str) -> Genomes:
    try:
        genome = np.array([json.loads(line)], dtype=np.uint8)
    except (ValueError, TypeError, OverflowError) as error:
        raise LeftOutError(f"{NAME} wrote {line.strip()!r} where genes were expected: {error}") from error
    return genome


def dynast_python(may_install: bool, reporter: Reporter) -> Path:
    """That of an environment with DyNAS-T and what its searches need; see `dynast_script` for what they do not.

    Raises:
        LeftOutError: it is not there and may not, or can not, be made.
    """
    return environment(NAME, _SEARCHES_WITH, may_install, reporter, alone=_ALONE)
