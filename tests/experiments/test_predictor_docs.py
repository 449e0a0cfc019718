"""docs/predictors.md: its tables are read, its scripts and commands run, and it has all options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from bitfront.experiments.space_files import space_of
from bitfront.experiments.spec import parse_spec
from bitfront.predictors import PREDICTORS
from bitfront.predictors.baselines.base import BaselineOptions
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.fitting import is_fp32
from bitfront.predictors.pair_tables import read_pairs
from bitfront.predictors.predictor import Suggests
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.digits import digits

Call = Callable[..., Result]
PAGE = (Path(__file__).parents[2] / "docs" / "predictors.md").read_text()
SPACE = digits()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def some(seed: int) -> Genomes:
    drawn = SPACE.sample(120, np.random.default_rng(seed), "sizes")
    return np.concatenate(
        [SPACE.assign(drawn[:60], {"weight_format": "fp32", "activation_format": "fp32"}), drawn]
    )


def write_by_the_script(seed: int) -> None:
    """Run the page's first script with measurements of ours."""
    measurements = [(genome, round(0.6 + 0.001 * float(genome.sum()), 4)) for genome in some(seed)]
    exec(compile(blocks("python")[0], "docs/predictors.md", "exec"), {"measurements": measurements})


def test_the_table_is_read_in_its_space(tmp_path: Path) -> None:
    (document,) = (text for text in blocks("yaml") if text.startswith("# small.yaml"))
    (tmp_path / "small.yaml").write_text(document)
    (tmp_path / "t.csv").write_text(blocks("csv")[0])
    space = space_of(str(tmp_path / "small.yaml"))
    assert sum(len(gene.choices) > 1 for gene in space.genes) == 3
    table = read_pairs(tmp_path / "t.csv", space, "accuracy", percent=True)
    kernel, pointwise, depthwise = (
        space.position[f"stage0.block0.{name}"]
        for name in ("kernel", "pointwise.weight_format", "depthwise.weight_format")
    )
    assert table.genomes[:, [kernel, pointwise, depthwise]].tolist() == [
        [0, 0, 0],
        [1, 0, 0],
        [1, 1, 0],
        [0, 1, 1],
    ]
    assert table.accuracy.tolist() == [0.9125, 0.935, 0.9275, 0.9]
    assert table.unused == ("seconds",)


def test_the_scripts_and_commands_run(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in ((1, "candidates.csv"), (2, "later.csv"), (0, "mine.csv")):
        write_by_the_script(seed)
        if name != "mine.csv":
            Path("mine.csv").rename(name)
    table = read_pairs(Path("mine.csv"), SPACE)
    assert (table.genomes == some(0)).all()
    assert is_fp32(SPACE, table.genomes).sum() >= 60
    for line in blocks("bash")[0].splitlines():
        program, *arguments = shlex.split(line)
        assert program == "bitfront"
        # Ridge regression learns in an instant; all else is as it is written.
        quick = ["--kind", "ridge"] if "fit" in arguments else []
        result = call(*arguments, *quick)
        assert result.exit_code == 0, result.output
    assert Path("mine.png").is_file()
    assert Path("later.png").is_file()
    exec(compile(blocks("python")[2], "docs/predictors.md", "exec"), {"rng": np.random.default_rng(0)})
    assert re.fullmatch(r"\d\.\d+ plus or minus 0\.\d+\n", capsys.readouterr().out)


def test_a_file_of_another_space_is_refused_in_these_words(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_by_the_script(0)
    call("predictor", "fit", "--space", "digits", "--csv", "mine.csv", "--kind", "ridge", "-o", "mine.safetensors")
    result = call("predictor", "predict", "mine.safetensors", "--space", "fashion", "--csv", "mine.csv")
    (promised,) = re.findall(r"```\n(error: .*)\.\.\.\n```", PAGE)
    assert result.stderr.startswith(promised)


def test_the_section_of_a_spec_is_one() -> None:
    sections = [text for text in blocks("yaml") if text.startswith("predictor:")]
    specs = [parse_spec(f"space: digits\ndata: digits\ndevice: bitfusion\n{section}") for section in sections]
    assert specs[0].predictor.options == {"members": 5, "ranking": 0.3}
    assert (specs[1].predictor.kind, specs[1].predictor.tune) == ("svr", 40)


def test_the_script_that_tunes_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = blocks("python")[1]
    assert "Tuning(40, " in script
    fp32, quantized = (
        Pairs(genomes, 0.5 + genomes.sum(axis=1) / 1000) for genomes in (some(0)[:40], some(0)[60:100])
    )
    values: dict[str, Any] = {
        "space": SPACE, "Path": Path, "rng": np.random.default_rng(0),
        "fp32_pairs": fp32, "quantized_pairs": quantized,
    }  # fmt: skip
    exec(compile(script.replace("Tuning(40, ", "Tuning(2, "), "docs/predictors.md", "exec"), values)
    assert values["predictor"].how == "transferred"
    assert values["tuned"].trials == 2


class Ranges(Suggests):
    """Writes down what is asked for, as the page says it."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.found[name] = f"{low:g} | {high:g}"
        return low

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        self.found[name] = f"{low} | {high}"
        return low

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        numbers = not any(isinstance(choice, str) for choice in choices)
        self.found[name] = f"{', '.join(f'{choice:g}' for choice in choices) if numbers else 'each choice'} |"
        return choices[0]


@pytest.mark.parametrize("kind", PREDICTORS.names())
def test_every_option_that_is_tuned_is_told_with_its_range(kind: str) -> None:
    ranges, chosen = Ranges(), PREDICTORS.get(kind)
    chosen.suggest(ranges)
    table = PAGE.partition("| options that are tuned |")[2].partition("\n\n")[0]
    told = {
        name: said.strip()
        for name, said in re.findall(rf"^\| `{kind}` \| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    }
    if issubclass(chosen.Options, BaselineOptions):
        (names, said) = re.findall(r"^\| all of scikit-learn's \| (.*?) \| (.*) \|$", table, re.MULTILINE)[0]
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names), said.strip())
    assert told == ranges.found


@pytest.mark.parametrize("kind", PREDICTORS.names())
def test_every_option_is_told_with_its_default(kind: str) -> None:
    options = PREDICTORS.get(kind).Options
    shared = {field.name for field in fields(BaselineOptions)} if issubclass(options, BaselineOptions) else set()
    table = PAGE.partition("**`mlp`**")[2].partition("## Choosing")[0]
    of_mlp, _, others = table.partition("The others are")
    for field in fields(options):
        default = str(field.default).lower() if isinstance(field.default, bool) else field.default
        own = f"| `{kind}` " if not (kind == "mlp" or field.name in shared) else ""
        assert f"{own}| `{field.name}` | {default} |" in (of_mlp if kind == "mlp" else others)
    told = (
        re.findall(r"^\| `(\w+)` \|", of_mlp, re.MULTILINE)
        if kind == "mlp"
        else [
            *re.findall(r"^\| `(\w+)` \| \w+ \|", others, re.MULTILINE),
            *re.findall(rf"^\| `{kind}` \| `(\w+)` \|", others, re.MULTILINE),
        ]
    )
    assert sorted(told) == sorted(field.name for field in fields(options))
