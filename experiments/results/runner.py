"""Runs the benchmarks of claims, and keeps what each found as soon as it ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event

from filelock import FileLock, Timeout

from bitfront.experiments.benchmarks import BENCHMARKS
from bitfront.experiments.endings import ending
from bitfront.experiments.pace import duration
from bitfront.experiments.results.asked import Asked
from bitfront.experiments.results.child import Ran, Say, run_child
from bitfront.experiments.results.conditions import Conditions
from bitfront.experiments.results.hidden_places import without_places
from bitfront.experiments.results.record import Found, Record, picture_digest, result_path
from bitfront.experiments.results.together import done_together
from bitfront.experiments.store.home import home
from bitfront.supernet.errors import BitfrontError, CorruptFileError, StorageError
from bitfront.supernet.files import read_json, write_bytes

_ERROR = "error: "
_MOST_LINES = 20
_SHARED = "bitfront.experiments.benchmarks.study"


def conditions_of(bench: str) -> Conditions:
    """Those in which a benchmark would be run now."""
    return Conditions.here(BENCHMARKS.module(bench))


def program_of(asked: Asked, output: Path) -> Sequence[str]:
    """The program that does what is asked."""
    return asked.program(output)


def home_of_benchmarks() -> Path:
    """A home for what benchmarks share (samples, predictors, tables), found with the conditions of now alone."""
    return home() / "bench" / "results" / "homes" / Conditions.here(_SHARED).key


@dataclass(frozen=True, slots=True)
class _Begun:
    """A run, as it was when it began."""

    asked: Asked
    jobs: int
    conditions: Conditions
    started: datetime
    output: Path


@dataclass(frozen=True)
class Runner:
    """Fills a folder of results.

    Attributes:
        folder: where results and their pictures are kept.
        keep: results of other code, versions or machines will do; this is told in them.
        say: told what goes on, line by line.
        jobs: how many benchmarks run at once, where none of them has to be alone.
        program_of, conditions_of: how a benchmark is run, and with what.
        home_of_benchmarks: the home that they have; what was measured otherwise is not found there.
    """

    folder: Path
    keep: bool
    say: Say
    program_of: Callable[[Asked, Path], Sequence[str]] = program_of
    conditions_of: Callable[[str], Conditions] = conditions_of
    home_of_benchmarks: Callable[[], Path] = home_of_benchmarks
    jobs: int = 1

    def run(self, benches: Sequence[Asked]) -> dict[str, Record]:
        """What the folder holds of each in the end; those that it holds already are not run again.

        A benchmark that fails does not keep the others from being run.

        Raises:
            StorageError: another runner works with this home, or a file can not be written.
            KeyboardInterrupt: it was interrupted; what has ended is kept, and the next run goes on from there.
        """
        with _alone():
            found, left = self._found(benches)
            for alone in (True, False):
                part = [each for each in left if each.alone is alone]
                jobs = 1 if alone else min(self.jobs, max(len(part), 1))
                records = done_together([partial(self._run, each, jobs) for each in part], jobs)
                found |= {record.bench: record for record in records}
        return {asked.bench: found[asked.bench] for asked in benches}

    def _found(self, benches: Sequence[Asked]) -> tuple[dict[str, Record], list[Asked]]:
        """What is there already, and what is left to run."""
        found, left = {}, []
        for asked in benches:
            before, now = self._before(asked), self.conditions_of(asked.bench)
            changes = () if before is None else tuple(before.conditions.changes_to(now))
            if before is not None and (not changes or self.keep):
                found[asked.bench] = self._kept(before, changes)
                continue
            if changes:
                self.say(f"{asked.bench}: run again, as {'; '.join(changes)} (--keep keeps it all the same)")
            left.append(asked)
        return found, left

    def _before(self, asked: Asked) -> Record | None:
        """An earlier result of what is asked, whatever it was found with; None is told why."""
        try:
            record = Record.read(self.folder, asked.bench)
        except BitfrontError as error:
            self.say(f"{asked.bench}: run again: {error}")
            return None
        why = None if record is None else _unfit(record, asked)
        if why is not None:
            self.say(f"{asked.bench}: run again, as {why}")
        return record if why is None else None

    def _kept(self, record: Record, changes: tuple[str, ...]) -> Record:
        path = result_path(self.folder, record.bench)
        self.say(f"{path} is there from {record.started_at:%Y-%m-%d %H:%M %Z}: delete it to have it run again")
        if changes != record.kept:
            record = record.model_copy(update={"kept": changes})
            record.write(self.folder)
        return record

    def _run(self, asked: Asked, jobs: int, stop: Event) -> Record:
        say = self.say if jobs == 1 else lambda line: self.say(f"{asked.bench}: {line}")
        self.say(f"== {asked.command} ==")
        place = home() / "bench" / "results"
        work, log = place / asked.bench, place / f"{asked.bench}.log"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        output, shared = work / f"{asked.bench}.json", self.home_of_benchmarks()
        begun = _Begun(asked, jobs, self.conditions_of(asked.bench), datetime.now(UTC), output)
        ran = run_child(self.program_of(asked, output), log, say, {"BITFRONT_HOME": str(shared)}, stop)
        hide = partial(without_places, own={shared: "BITFRONT_HOME", self.folder: self.folder.name})
        record = self._recorded(begun, ran, hide)
        shutil.rmtree(work, ignore_errors=True)
        took = f"{duration(record.seconds)}, at most {record.peak_memory_bytes / 2**20:.0f} MiB"
        self.say(f"{asked.bench} {'is done' if record.error is None else 'failed'}: {took}")
        return record

    def _recorded(self, begun: _Begun, ran: Ran, hide: Callable[[str], str]) -> Record:
        asked, (found, error) = begun.asked, _outcome(ran, begun.output)
        if found is not None:
            found = found.model_copy(update={"notes": tuple(map(hide, found.notes))})
        drawn = [] if found is None else sorted(begun.output.parent.glob(f"{asked.bench}-*.png"))
        record = Record(
            bench=asked.bench,
            quick=asked.quick,
            command=asked.command,
            asked_seeds=asked.seeds,
            conditions=begun.conditions,
            started_at=begun.started.replace(microsecond=0),
            seconds=round(ran.seconds, 1),
            cpu_seconds=round(ran.cpu_seconds, 1),
            jobs=begun.jobs,
            peak_memory_bytes=ran.peak_memory_bytes,
            error=None if error is None else hide(error),
            found=found,
            pictures=self._pictures(asked.bench, drawn),
        )
        record.write(self.folder)
        return record

    def _pictures(self, bench: str, drawn: Sequence[Path]) -> dict[str, str]:
        """Take pictures into the folder; an earlier result and those of its pictures that are not replaced go.

        It goes first: were this interrupted, a result would be there with pictures that are not its own.
        """
        images, earlier = {path.name: path.read_bytes() for path in drawn}, _earlier_pictures(self.folder, bench)
        result_path(self.folder, bench).unlink(missing_ok=True)
        for name in earlier:
            if name not in images:
                (self.folder / name).unlink(missing_ok=True)
        for name, image in images.items():
            write_bytes(self.folder / name, image)
        return {name: picture_digest(image) for name, image in images.items()}


def _unfit(record: Record, asked: Asked) -> str | None:
    if record.error is not None:
        return "it failed"
    if (record.quick, record.asked_seeds) != (asked.quick, asked.seeds):
        return f"what is there is of {record.command!r}"
    return None


def _outcome(ran: Ran, output: Path) -> tuple[Found | None, str | None]:
    """(what it found, None), or (None, why it found nothing)."""
    if ran.code != 0:
        return None, "\n".join(filter(None, (_told_error(ran.words), ending(ran.code))))
    try:
        values = read_json(output)
        return Found.model_validate({name: values[name] for name in ("seeds", "figures", "goals", "notes")}), None
    except (BitfrontError, KeyError, TypeError, ValueError) as error:
        return None, f"it ended well, but what it wrote is no result: {type(error).__name__}: {error}"


def _told_error(words: str) -> str:
    """The last error that a command told, with its notes."""
    lines = words.splitlines()
    starts = [place for place, line in enumerate(lines) if line.startswith(_ERROR)]
    return "\n".join(lines[starts[-1] :][:_MOST_LINES]).removeprefix(_ERROR) if starts else ""


def _earlier_pictures(folder: Path, bench: str) -> list[str]:
    path = result_path(folder, bench)
    try:
        pictures = read_json(path)["pictures"] if path.is_file() else {}
    except (CorruptFileError, KeyError, TypeError):
        return []
    return [name for name in pictures if Path(name).name == name and name.startswith(f"{bench}-")]


@contextmanager
def _alone() -> Iterator[None]:
    path = home() / "bench" / "results.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StorageError(
            f"another 'bitfront results run' works in {home()}: wait for its end, or take another --home"
        ) from None
    try:
        yield
    finally:
        lock.release()
