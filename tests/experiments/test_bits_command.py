"""`bitfront bits` and docs/bits.md, whose tables, scripts and commands are run."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bitfront.experiments.bit_tables import InvalidLimitError, parsed_limits
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.network import Supernet

Call = Callable[..., Result]
PAGE = (Path(__file__).parents[2] / "docs" / "bits.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's table, in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text(blocks("csv")[0])
    return tmp_path / "table.csv"


def test_the_page_is_true(
    call: Call,
    table: Path,
    shaken_supernet: Supernet,
    tiny_data: Dataset,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (command,) = blocks("shell")
    result = call(*shlex.split(command)[1:])
    assert result.exit_code == 0
    for text in ("block1.project", "limit", "10000", "60"):
        assert text in result.stdout
    genome = shaken_supernet.space.extremes()[0]
    given = {"supernet": shaken_supernet, "dataset": tiny_data, "genome": genome}
    first, second = blocks("python")
    exec(compile(first, "docs/bits.md", "exec"), {})
    assert capsys.readouterr().out.startswith("[0 0 1] 0.0113")
    exec(compile(second, "docs/bits.md", "exec"), given)
    assert "(9, 3) (9, 3)" in capsys.readouterr().out


def test_what_programs_read(call: Call, table: Path) -> None:
    facts = json.loads(call("bits", str(table), "--limit", "bytes <= 10000", "--json").stdout)
    assert facts["formats"] == {
        "stem": "int8",
        "block1.project": "int4",
        "block2.project": "int4",
        "classifier": "int8",
    }
    assert facts["totals"]["bytes"] == 432 + 2304 + 3456 + 2560
    assert facts["sensitivity"] == pytest.approx(0.0004 + 0.006 + 0.01 + 0.0001)
    assert facts["limits"] == {"bytes": 10000}
    assert facts["optimal"] is True
    rows = list(csv.DictReader(call("bits", str(table), "--csv").stdout.splitlines()))
    assert [row["format"] for row in rows] == ["int8", "int8", "int8", "fp32"]
    assert set(rows[0]) == {"layer", "format", "sensitivity", "bytes", "latency_us"}


def test_limits_out_of_reach_end_with_an_error_and_no_data(call: Call, table: Path) -> None:
    result = call("bits", str(table), "--limit", "bytes<=100", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "smallest total is 8536" in result.stderr


def test_columns_without_numbers_are_told(call: Call, table: Path) -> None:
    text = table.read_text().splitlines()
    table.write_text("\n".join([f"{text[0]},note", *(f"{line},good" for line in text[1:])]))
    result = call("bits", str(table), "--csv")
    assert result.exit_code == 0
    assert "not used, as they hold no numbers: note" in result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stem,,int8,0.1,1,1", "line 10: layer 'stem' has int8 in line 2 already"),
        ("stem,sum,int2,0.1,1,1", "line 10: layer 'stem' is in another group in line 2"),
        ("last,,int8,much,1,1", "line 10: its sensitivity is 'much', which is no finite number"),
        ("last,,int8,0.1,nan,1", "line 10: its bytes is 'nan', which is no finite number"),
        (",,int8,0.1,1,1", "line 10: its layer is empty"),
        ("last,,,0.1,1,1", "line 10: its format is empty"),
        ("last,,int8,0.1,1", "line 10 has 5 cells"),
        ("last,sum,fp32,0.1,1,1", "have no format in common"),
    ],
)
def test_bad_rows_are_named(call: Call, table: Path, line: str, message: str) -> None:
    table.write_text(f"{table.read_text()}{line}\n")
    result = call("bits", str(table))
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())


def test_a_missing_column_is_named(call: Call, table: Path) -> None:
    table.write_text("layer,bits,sensitivity\nstem,8,0.1\n")
    result = call("bits", str(table))
    assert result.exit_code == 1
    assert "column 'format' is missing: there are layer, bits, sensitivity" in " ".join(result.stderr.split())


@pytest.mark.parametrize("text", ["bytes < 3", "bytes <= much", "bytes <= inf", "<= 3", "bytes >= 3", ""])
def test_bad_limits_are_named(text: str) -> None:
    with pytest.raises(InvalidLimitError, match=f"can not read the limit {text!r}"):
        parsed_limits([text])


def test_two_limits_on_a_cost_are_refused() -> None:
    with pytest.raises(InvalidLimitError, match="bytes has two limits"):
        parsed_limits(["bytes <= 3", "bytes<=4"])
