"""Benchmarks: their results, and the command that runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from bitfront.experiments.benchmarks.result import BenchResult, Goal
from bitfront.experiments.reporter import Reporter
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.registry import Registry

Call = Callable[..., Result]

PNG = b"\x89PNG\r\n\x1a\n..."


class TestResult:
    @pytest.mark.parametrize(
        ("goal", "holds"),
        [
            ("tau >= 0.6", True),
            ("tau > 0.6", False),
            ("tau <= 0.6", True),
            ("tau < 0.6", False),
            (" tau>=7e-1", False),
        ],
    )
    def test_goals_are_judged(self, goal: str, holds: bool) -> None:
        assert BenchResult.of("b", 1, {"tau": 0.6}, [goal]).goals[0].holds is holds

    def test_one_line_of_json(self) -> None:
        result = BenchResult.of("transfer", 5, {"gain": 0.25}, ["gain > 0"])
        assert result.goals == (Goal("gain", "> 0", 0.25, True),)
        line = result.json_line()
        assert "\n" not in line
        values = json.loads(line)
        assert list(values) == ["bench", "machine", "versions", "seeds", "figures", "goals", "notes"]
        assert values["goals"] == [{"figure": "gain", "goal": "> 0", "value": 0.25, "holds": True}]
        assert values["machine"]["cores"] >= 1
        assert {"bitfront", "torch", "numpy"} <= set(values["versions"])

    @pytest.mark.parametrize("goal", ["gian > 0", "gain", "gain > ", "gain ~ 3"])
    def test_goal_that_is_none(self, goal: str) -> None:
        with pytest.raises(ValueError, match="FIGURE"):
            BenchResult.of("b", 1, {"gain": 1.0}, [goal])

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_no_figure(self, value: float) -> None:
        with pytest.raises(NumericalError, match="'gain'"):
            BenchResult.of("b", 1, {"gain": value}, [])

    def test_pictures_are_no_part_of_the_line(self) -> None:
        plain = BenchResult.of("b", 1, {"gain": 1.0}, [])
        drawn = BenchResult.of("b", 1, {"gain": 1.0}, [], {"gain-1": PNG})
        assert drawn.json_line() == plain.json_line()
        assert drawn.pictures == {"gain-1": PNG}

    def test_notes_are_part_of_the_line(self) -> None:
        noted = BenchResult.of("b", 1, {"gain": 1.0}, [], notes=["A rival is left out."])
        assert json.loads(noted.json_line())["notes"] == ["A rival is left out."]

    @pytest.mark.parametrize(("name", "image"), [("a/b", PNG), ("..", PNG), ("", PNG), ("a", b"<svg/>")])
    def test_picture_that_is_none(self, name: str, image: bytes) -> None:
        with pytest.raises(ValueError, match="must be a PNG"):
            BenchResult.of("b", 1, {"gain": 1.0}, [], {name: image})


def fake(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """A benchmark for these tests."""
    reporter.say("benching")
    figures = {"quick": quick, "tau": 0.5}
    return BenchResult.of("fake", seeds, figures, ["tau >= 0.6"], {"tau": PNG}, ["Nothing is real."])


class TestCommand:
    @pytest.fixture(autouse=True)
    def _registered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = Registry[object]("benchmark", {"fake": f"{__name__}:fake"})
        monkeypatch.setattr("bitfront.experiments.benchmarks.BENCHMARKS", registry)
        monkeypatch.setattr(registry, "get", lambda name: fake if name == "fake" else Registry.get(registry, name))

    def test_json_is_all_that_is_on_stdout_and_missed_goals_are_no_error(self, call: Call) -> None:
        result = call("bench", "fake")
        assert result.exit_code == 0
        (line,) = result.stdout.splitlines()
        assert json.loads(line)["seeds"] == 5
        assert json.loads(line)["goals"][0]["holds"] is False
        assert "benching" in result.stderr
        assert "missed" in result.stderr
        assert "note: Nothing is real." in result.stderr

    def test_quick_and_seeds(self, call: Call) -> None:
        quick = json.loads(call("bench", "fake", "--quick").stdout)
        assert (quick["figures"]["quick"], quick["seeds"]) == (1.0, 2)
        assert json.loads(call("bench", "fake", "--seeds", 7).stdout)["seeds"] == 7
        assert call("bench", "fake", "--seeds", 0).exit_code == 2

    def test_written_to_a_file_too(self, call: Call, tmp_path: Path) -> None:
        result = call("bench", "fake", "-o", tmp_path / "new" / "fake.json")
        assert json.loads((tmp_path / "new" / "fake.json").read_text()) == json.loads(result.stdout)

    def test_pictures_lie_beside_the_file(self, call: Call, tmp_path: Path, home: Path) -> None:
        result = call("bench", "fake", "-o", tmp_path / "new" / "mine.json")
        path = tmp_path / "new" / "mine-tau.png"
        assert path.read_bytes() == PNG
        assert f"picture: {path}" in result.stderr.splitlines()
        assert not home.exists()

    def test_pictures_without_a_file_lie_in_the_home(self, call: Call, home: Path) -> None:
        result = call("bench", "fake")
        path = home / "bench" / "fake-tau.png"
        assert path.read_bytes() == PNG
        assert str(path) in result.stderr

    def test_names(self, call: Call) -> None:
        assert call("bench").stdout == "fake\n"
        result = call("bench", "fkae")
        assert result.exit_code == 1
        assert result.stderr == "error: unknown benchmark 'fkae': did you mean 'fake'? Known are: fake\n"
