"""docs/tutorial.md, as a newcomer goes through it: every block in order, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from bitfront.experiments.spec import spec_from

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
TEXT = PAGE.read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FOLDER = "/home/you/first"
"""Where the page was made."""
MOST_CPU_SECONDS = 300.0
"""Its five minutes; processor time is what other work on a machine changes least."""
CHOSEN = re.compile(r"--candidate (\d+)")
ARCHITECTURE = re.compile(r"\br\d+( \dw\d+(\.\dw\d+)*\|?)+")
MASKS = (
    (ARCHITECTURE, "ARCHITECTURE"),
    (re.compile(r"\b([a-z]+)-[0-9a-f]{6}\b"), r"\1-ID"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "HASH"),
    (re.compile(r"\d[\d,.]*(e[+-]?\d+)?"), "N"),
    (re.compile(r"\bN (min N )?s\b"), "TIME"),
    (re.compile(r"─+"), "─"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True)
class Block:
    """A fenced block of the page: what it is, and its text."""

    language: str
    text: str


BLOCKS = [Block(*found) for found in BLOCK.findall(TEXT)]
INSTALLING, *FOLLOWED = BLOCKS


def masked(text: str) -> list[str]:
    """Its lines, in which what differs from machine to machine is alike."""
    lines = text.splitlines()
    for pattern, instead in MASKS:
        lines = [pattern.sub(instead, line) for line in lines]
    return [line.strip() for line in lines if line.strip()]


def missing(shown: str, printed: str) -> list[str]:
    """The lines of the page that were not printed, in this order, but for numbers."""
    left: Iterator[str] = iter(masked(printed))
    return [line for line in masked(shown) if line != "…" and line not in left]


class Terminal:
    """What a newcomer has: an empty folder, a shell of 100 columns, and no home of bitfront."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("BITFRONT")}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # Another folder of temporary files, so that it waits for nobody else who measures here.
        temporary = folder.parent / "temporary"
        temporary.mkdir()
        self.environment |= {"PATH": programs, "COLUMNS": "100", "TMPDIR": str(temporary)}
        self.environment["BITFRONT_CACHE"] = str(temporary / "cache")

    def run(self, *command: str) -> str:
        """What it prints."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, check=False, timeout=1500,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout.replace(str(self.folder), FOLDER)

    def follow(self, block: Block) -> str:
        """Do what the block says; what it prints."""
        if block.language == "yaml":
            (self.folder / block.text.split()[1]).write_text(block.text)
            return ""
        if block.language == "python":
            return self.run("python", "-W", "error", "-c", block.text)
        return self.run("bash", "-euo", "pipefail", "-c", CHOSEN.sub(self._choose, block.text))

    def _choose(self, _: re.Match[str]) -> str:
        """The first candidate that this machine's own front has, in place of the page's."""
        rows = json.loads(self.run("bitfront", "front", "latest", "--json"))
        return f"--candidate {rows[0]['candidate']}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_page_is_followed(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    terminal = Terminal(tmp_path / "first")
    printed, before = "", os.times()
    for block in FOLLOWED:
        if block.language == "text":
            assert not missing(block.text, printed), printed
        else:
            printed = terminal.follow(block)
    assert (tmp_path / "first" / ".bitfront" / "bitfront.sqlite").is_file()
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert 1 < spent < MOST_CPU_SECONDS


def test_what_is_left_out_only_installs() -> None:
    assert INSTALLING.language == "sh"
    for line in INSTALLING.text.splitlines():
        assert re.match(r"(python3 -m venv|source|pip install|mkdir) ", line), line
    assert (PAGE.parents[1] / "constraints.txt").is_file()


def test_the_page_is_made_of_what_can_be_followed() -> None:
    assert len(FOLLOWED) == len(re.findall(r"^```\w", TEXT, re.MULTILINE)) - 1 > 10
    assert {block.language for block in FOLLOWED} == {"sh", "yaml", "python", "text"}
    for block in FOLLOWED:
        if block.language == "yaml":
            assert re.match(r"# \w+\.yaml\n", block.text)
            spec_from(yaml.safe_load(block.text))


def test_the_chosen_candidate_is_on_the_page() -> None:
    chosen = CHOSEN.findall(TEXT)
    assert chosen
    for number in chosen:
        assert re.search(rf"^ *{number} +r\d+ ", TEXT, re.MULTILINE)


def test_what_is_named_for_later_is_there() -> None:
    from typer.main import get_command

    from bitfront.experiments.cli import app

    later = TEXT.partition("\n## Where to go next\n")[2]
    links, commands = re.findall(r"\]\(([^)#:]+)\)", later), re.findall(r"`bitfront (\w+)", later)
    assert len(links) > 5
    assert all((PAGE.parent / link).exists() for link in links)
    known = get_command(app)
    assert commands
    assert set(commands) <= set(known.commands)  # type: ignore[attr-defined]


def test_outputs_are_compared() -> None:
    printed = "one 12.5 s\n  4836  r12 5w16.5w16| 7w48  w9.5\nlast line\n"
    assert not missing("one 3 s\n…\n 7 r8 5w8| 3w48.5w4 w8.0\n", printed)
    assert missing("last line\none 3 s\n", printed) == ["one TIME"]
    assert missing("two 3 s\n", printed) == ["two TIME"]
