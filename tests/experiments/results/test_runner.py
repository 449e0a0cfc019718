"""Benchmarks in processes of their own: what is kept, what is run again, and what one that dies takes with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from filelock import FileLock

from bitfront.experiments.results.asked import Asked, asked_of
from bitfront.experiments.results.child import run_child
from bitfront.experiments.results.claim import Claim
from bitfront.experiments.results.claims import CLAIMS
from bitfront.experiments.results.conditions import Conditions
from bitfront.experiments.results.record import Record
from bitfront.experiments.results.runner import Runner
from bitfront.experiments.results.together import done_together
from bitfront.supernet.errors import StorageError, UnknownNameError

ONE = Asked("one", False, 3)
TWO = Asked("two", False, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


class TestRun:
    def test_what_was_found_is_kept_with_its_pictures(self, fakes: Any, folder: Path) -> None:
        fakes.bodies = dict.fromkeys(("one", "two"), "import time; time.sleep(0.2)")
        records = fakes.runner(folder).run([ONE, TWO])
        assert list(records) == ["one", "two"]
        for name, record in records.items():
            assert Record.read(folder, name) == record
            assert (record.error, record.command) == (None, f"bitfront bench {name} --seeds 3")
            assert record.found is not None
            assert record.found.figures == {"gain": 2.0}
            assert list(record.pictures) == [f"{name}-front.png"]
            assert record.peak_memory_bytes > 2**20
            assert record.seconds >= 0.2
        assert sorted(path.name for path in folder.iterdir()) == [
            "one-front.png",
            "one.json",
            "two-front.png",
            "two.json",
        ]
        assert "working" in fakes.said

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            (
                "print('error: 12 is no 11\\n  use 11', file=sys.stderr); sys.exit(1)",
                "12 is no 11\n  use 11\nended",
            ),
            ("raise RuntimeError('nobody knows')", "ended with exit code 1"),
            ("import os; os._exit(9)", "ended with exit code 9"),
            ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
            ("sys.exit(0)", "MissingFileError"),
            ("output.write_text('{'); sys.exit(0)", "is not valid JSON"),
            ("output.write_text('[1]'); sys.exit(0)", "what it wrote is no result"),
            (
                "output.write_text(json.dumps(dict(seeds=0, figures={}, goals=[], notes=[]))); sys.exit(0)",
                "seeds",
            ),
        ],
    )
    def test_one_that_fails_is_told_and_the_others_go_on(
        self, fakes: Any, folder: Path, body: str, told: str
    ) -> None:
        fakes.bodies["one"] = body
        records = fakes.runner(folder).run([ONE, TWO])
        assert told in (records["one"].error or "")
        assert Record.read(folder, "one") == records["one"]
        assert records["two"].error is None

    def test_errors_do_not_tell_where_things_are(self, fakes: Any, folder: Path, home: Path) -> None:
        fakes.bodies["one"] = f"print('error: {home}/x and {folder}/y', file=sys.stderr); sys.exit(1)"
        record = fakes.runner(folder).run([ONE])["one"]
        assert (record.error or "").splitlines()[0] == "BITFRONT_HOME/x and results/y"

    def test_nor_do_notes(self, fakes: Any, folder: Path, home: Path) -> None:
        fakes.note = f"see {home}/x, {fakes.folder}/homes/{fakes.conditions.key}/y, {sys.prefix}/v and {folder}/z"
        found = fakes.runner(folder).run([ONE])["one"].found
        assert found is not None
        assert found.notes == ("see BITFRONT_HOME/x, BITFRONT_HOME/y, PYTHON/v and results/z",)

    def test_what_a_program_leaves_running_does_not_hold_it_up(self, fakes: Any, folder: Path) -> None:
        fakes.bodies["one"] = (
            "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
        )
        start = time.monotonic()
        assert fakes.runner(folder).run([ONE])["one"].error is None
        assert time.monotonic() - start < 30

    def test_pictures_of_an_earlier_result_go(self, fakes: Any, folder: Path) -> None:
        fakes.runner(folder).run([ONE])
        fakes.bodies["one"] = "print('error: no', file=sys.stderr); sys.exit(1)"
        (folder / "one-and-more-front.png").write_bytes(b"another benchmark's")
        fakes.conditions = fakes.conditions.model_copy(update={"sources": "cd" * 32})
        fakes.runner(folder).run([ONE])
        assert {path.name for path in folder.iterdir()} == {"one.json", "one-and-more-front.png"}

    def test_one_runner_at_a_time_in_a_home(self, fakes: Any, folder: Path, home: Path) -> None:
        (home / "bench").mkdir(parents=True)
        with (
            FileLock(home / "bench" / "results.lock"),
            pytest.raises(StorageError, match="another 'bitfront results"),
        ):
            fakes.runner(folder).run([ONE])

    def test_one_that_ends_while_its_pictures_are_taken_leaves_no_result_of_others(
        self, fakes: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fakes.runner(folder).run([ONE])
        fakes.conditions = fakes.conditions.model_copy(update={"sources": "cd" * 32})

        def killed(path: Path, content: bytes) -> None:
            path.write_bytes(b"half of it")
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("bitfront.experiments.results.runner.write_bytes", killed)
            with pytest.raises(KeyboardInterrupt):
                fakes.runner(folder).run([ONE])
        assert Record.read(folder, "one") is None
        assert fakes.runner(folder).run([ONE])["one"].error is None

    def test_what_benchmarks_share_is_of_the_same_conditions(self, fakes: Any, folder: Path) -> None:
        fakes.bodies["one"] = (
            "import os; home = pathlib.Path(os.environ['BITFRONT_HOME'])\n"
            "home.mkdir(parents=True, exist_ok=True)\n"
            "print('found', len(list(home.iterdir())), file=sys.stderr); (home / 'samples').touch()"
        )
        fakes.runner(folder).run([ONE])
        (folder / "one.json").unlink()
        fakes.runner(folder).run([ONE])
        fakes.conditions = fakes.conditions.model_copy(update={"versions": {"bitfront": "0.2.0"}})
        fakes.runner(folder).run([ONE])
        assert [line for line in fakes.said if line.startswith("found")] == ["found 0", "found 1", "found 0"]


class TestTogether:
    def test_as_many_at_once_as_are_asked_for_but_those_that_are_alone(self, fakes: Any, folder: Path) -> None:
        """Each waits until it has seen as many others at work as there should be."""
        waits = (
            "import os, time; here = pathlib.Path(sys.argv[2]).parent / 'at-work'; here.mkdir(exist_ok=True)\n"
            "mine = here / sys.argv[2].rpartition('/')[2]; mine.touch()\n"
            "most = 0; end = time.monotonic() + {seconds}\n"
            "while most < {wanted} and time.monotonic() < end:\n"
            "    most = max(most, len(list(here.iterdir()))); time.sleep(0.01)\n"
            "print('at once:', most, file=sys.stderr); mine.unlink()"
        )
        alone = Asked("alone", False, 3, alone=True)
        fakes.bodies = {
            "alone": waits.format(seconds=1, wanted=2),
            "one": waits.format(seconds=30, wanted=2),
            "two": waits.format(seconds=30, wanted=2),
        }
        records = fakes.runner(folder, jobs=2).run([ONE, alone, TWO])
        assert list(records) == ["one", "alone", "two"]
        assert {name: record.jobs for name, record in records.items()} == {"one": 2, "alone": 1, "two": 2}
        said = [line for line in fakes.said if "at once" in line]
        assert said[0] == "at once: 1"
        assert sorted(said[1:]) == ["one: at once: 2", "two: at once: 2"]

    def test_where_one_can_not_be_kept_the_others_stop(
        self, fakes: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fakes.bodies["two"] = "import time; time.sleep(600)"

        def full(self: Record, folder: Path) -> None:
            raise StorageError("the disk is full")

        monkeypatch.setattr(Record, "write", full)
        start = time.monotonic()
        with pytest.raises(StorageError, match="disk is full"):
            fakes.runner(folder, jobs=2).run([ONE, TWO])
        assert time.monotonic() - start < 60

    def test_pieces_that_have_not_begun_are_not_begun(self) -> None:
        begun: list[int] = []

        def piece(number: int, stop: Event) -> int:
            begun.append(number)
            if number == 1:
                raise ValueError("one")
            if number == 5:
                assert stop.wait(30)
            return number

        assert done_together([partial(piece, number) for number in (2, 3, 4)], 2) == [2, 3, 4]
        with pytest.raises(ValueError, match="one"):
            done_together([partial(piece, number) for number in (1, 5, 6)], 1)
        assert 6 not in begun


class TestConditions:
    def test_the_key_is_that_of_what_decides(self, here: Conditions) -> None:
        assert here.model_copy(update={"commit": "f" * 12}).key == here.key
        changes: list[dict[str, Any]] = [
            {"sources": "cd" * 32},
            {"versions": {}},
            {"machine": {**here.machine, "cores": 64}},
        ]
        for change in changes:
            other = here.model_copy(update=change)
            assert other.key != here.key
            assert list(here.changes_to(other))


class TestAgain:
    def test_what_is_there_is_not_run_again(self, fakes: Any, folder: Path) -> None:
        first = fakes.runner(folder).run([ONE, TWO])
        assert fakes.runner(folder).run([ONE, TWO]) == first
        assert (fakes.runs("one"), fakes.runs("two")) == (1, 1)
        assert any("delete it to have it run again" in line for line in fakes.said)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"sources": "cd" * 32}, "bitfront's code has changed since 0123456789ab"),
            ({"versions": {"bitfront": "0.2.0"}}, "bitfront was 0.1.0 and is 0.2.0"),
            ({"versions": {"bitfront": "0.1.0", "numpy": "2.0"}}, "numpy was absent and is 2.0"),
        ],
    )
    def test_other_conditions_make_it_outdated_unless_it_is_kept(
        self, fakes: Any, folder: Path, change: dict[str, Any], told: str
    ) -> None:
        first = fakes.runner(folder).run([ONE])["one"]
        fakes.conditions = fakes.conditions.model_copy(update=change)
        kept = fakes.runner(folder, keep=True).run([ONE])["one"]
        assert kept == first.model_copy(update={"kept": (told,)})
        assert Record.read(folder, "one") == kept
        assert fakes.runs("one") == 1
        again = fakes.runner(folder).run([ONE])["one"]
        assert (fakes.runs("one"), again.kept, again.conditions) == (2, (), fakes.conditions)
        assert any(line.startswith(f"one: run again, as {told}") for line in fakes.said)

    @pytest.mark.parametrize(
        ("part", "value"), [("cpu", "Another"), ("python", "3.12.1"), ("isa", ["neon"]), ("cores", 64)]
    )
    def test_another_machine_makes_it_outdated(self, fakes: Any, folder: Path, part: str, value: object) -> None:
        fakes.runner(folder).run([ONE])
        machine = {**fakes.conditions.machine, part: value}
        fakes.conditions = fakes.conditions.model_copy(update={"machine": machine})
        fakes.runner(folder).run([ONE])
        assert fakes.runs("one") == 2

    def test_another_commit_of_the_same_sources_does_not(self, fakes: Any, folder: Path) -> None:
        fakes.runner(folder).run([ONE])
        fakes.conditions = fakes.conditions.model_copy(update={"commit": "ffffffffffff"})
        fakes.runner(folder).run([ONE])
        assert fakes.runs("one") == 1

    @pytest.mark.parametrize("asked", [Asked("one", True, 3), Asked("one", False, 4)])
    def test_another_command_is_run_also_where_results_are_kept(
        self, fakes: Any, folder: Path, asked: Asked
    ) -> None:
        fakes.runner(folder).run([ONE])
        assert fakes.runner(folder, keep=True).run([asked])["one"].command == asked.command
        assert fakes.runs("one") == 2

    def test_what_failed_is_tried_again(self, fakes: Any, folder: Path) -> None:
        fakes.bodies["one"] = "sys.exit(3)"
        fakes.runner(folder, keep=True).run([ONE])
        fakes.bodies.clear()
        assert fakes.runner(folder, keep=True).run([ONE])["one"].error is None
        assert "one: run again, as it failed" in fakes.said

    @pytest.mark.parametrize("name", ["one.json", "one-front.png"])
    def test_what_was_damaged_is_run_again(self, fakes: Any, folder: Path, name: str) -> None:
        first = fakes.runner(folder).run([ONE])["one"]
        (folder / name).write_bytes((folder / name).read_bytes()[:-9])
        again = fakes.runner(folder).run([ONE])["one"]
        assert fakes.runs("one") == 2
        assert (again.found, again.pictures) == (first.found, first.pictures)


_INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for what they start in the background
from pathlib import Path
from bitfront.experiments.results.asked import Asked
from bitfront.experiments.results.runner import Runner
from bitfront.experiments.results.conditions import Conditions
from bitfront.experiments.termination import terminated_as_interrupted
program = '''{program}'''
here = Conditions.model_validate_json('''{here}''')
def program_of(asked, output):
    return [sys.executable, "-c", program if asked.bench == "two" else {works!r}, str(output), "{runs}"]
runner = Runner(Path("{folder}"), False, print, program_of, lambda bench: here)
with terminated_as_interrupted():
    runner.run([Asked("one", False, 3), Asked("two", False, 3)])
"""
_ENDLESS = """
import os, pathlib, subprocess, sys, time
started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[2] + ".pid").write_text(f"{{os.getpid()}} {{started.pid}} .")
while True:
    {says}
    time.sleep(0.05)
"""
_SAYS = 'print("still working", file=sys.stderr, flush=True)'


@pytest.mark.parametrize(
    ("number", "says"),
    [(signal.SIGKILL, ""), *((number, _SAYS) for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT))],
)
def test_a_killed_runner_goes_on_where_it_was(
    fakes: Any, folder: Path, tmp_path: Path, number: signal.Signals, says: str
) -> None:
    runs = tmp_path / "one.runs"
    works = fakes.program(ONE, tmp_path)[2]
    source = _INTERRUPTED.format(
        program=_ENDLESS.format(says=says),
        here=fakes.conditions.model_dump_json(),
        works=works,
        runs=runs,
        folder=folder,
    )
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    pids = _waited_for(runs.with_name("one.runs.pid"))
    os.kill(process.pid, number)
    process.wait(30)
    for pid in pids:
        _wait_until_gone(pid)
    assert (folder / "one.json").exists()
    assert not (folder / "two.json").exists()
    records = fakes.runner(folder).run([ONE, TWO])
    assert [record.error for record in records.values()] == [None, None]
    assert (fakes.runs("one"), fakes.runs("two")) == (1, 1)


def _waited_for(path: Path) -> list[int]:
    """The benchmark, and a process that it started."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith("."):
            return [int(pid) for pid in path.read_text().split()[:-1]]
        time.sleep(0.05)
    raise AssertionError(f"{path} was never written")


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("the benchmark outlived its runner")


def test_a_child_that_can_not_be_started_is_told(tmp_path: Path) -> None:
    ran = run_child(["/nowhere/program"], tmp_path / "log", lambda line: None)
    assert ran.code == 1
    assert ran.words.startswith("error: /nowhere/program can not be started: ")


def test_a_child_goes_on_where_nobody_listens_any_longer(tmp_path: Path) -> None:
    def gone(line: str) -> None:
        raise BrokenPipeError

    command = [
        sys.executable,
        "-c",
        "import sys; print('x' * 2**20, file=sys.stderr); print('end', file=sys.stderr)",
    ]
    ran = run_child(command, tmp_path / "log", gone)
    assert (ran.code, ran.words[-5:]) == (0, "\nend\n")


def test_a_child_has_no_input(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit(len(sys.stdin.read()))"]
    assert run_child(command, tmp_path / "log", lambda line: None).code == 0


def test_a_child_is_told_of_as_it_goes(tmp_path: Path) -> None:
    said: list[str] = []
    command = [sys.executable, "-c", "import sys; sys.stderr.buffer.write(b'a\\n\\xff\\n'); print('out')"]
    ran = run_child(command, tmp_path / "new" / "log", said.append)
    assert said == ["a", "\ufffd"]
    assert (ran.code, ran.words) == (0, "a\n\ufffd\n")
    assert (tmp_path / "new" / "log").read_text() == "a\n\ufffd\n"


class TestAsked:
    def test_each_benchmark_once_with_the_seeds_of_its_claim(self, claims: tuple[Claim, ...]) -> None:
        twice = (*claims, claims[0])
        assert [asked.command for asked in asked_of(twice, False)] == [
            "bitfront bench first --seeds 5",
            "bitfront bench second --seeds 5",
        ]
        (asked,) = asked_of(claims, True, ["second"])
        assert asked.command == "bitfront bench second --quick --seeds 1"

    def test_a_name_that_is_none(self, claims: tuple[Claim, ...]) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'first'"):
            asked_of(claims, False, ["frist"])

    def test_the_program_is_the_command(self, tmp_path: Path) -> None:
        program = ONE.program(tmp_path / "x.json")
        assert program[:3] == [sys.executable, "-m", "bitfront.experiments.cli"]
        assert program[3:] == ["bench", "one", "--seeds", "3", "-o", str(tmp_path / "x.json")]


def test_conditions_of_a_claims_benchmark_are_those_of_its_code() -> None:
    here = Runner(Path(), False, print).conditions_of(CLAIMS[0].bench)
    assert len(here.sources) == 64
    assert {"bitfront", "torch", "numpy"} <= set(here.versions)
    assert next(iter(here.versions)) == "bitfront"
    assert here.machine["cores"] >= 1
