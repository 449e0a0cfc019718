"""`bitfront predictor fit`: a table of one's own becomes a predictor; what is wrong is told in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import Result
from PIL import Image

from bitfront.predictors import load_predictor
from bitfront.predictors.fitting import is_fp32
from bitfront.predictors.metrics import judged
from bitfront.supernet.files import save_tensors

if TYPE_CHECKING:
    from tests.experiments.predictor_commands.conftest import Own

Call = Callable[..., Result]
Check = Callable[..., None]
Told = Callable[[Result], str]


class TestFit:
    def test_for_people(self, fit: Call, own: Own, told: Told, table: Path) -> None:
        result = fit(table)
        assert result.exit_code == 0
        assert (
            f"learned from {0.8 * own.real:.0f} fp32 candidates, then transferred to {0.8 * own.quantized:.0f} "
            f"quantized ones; judged on {0.2 * own.quantized:.0f} quantized candidates that it has not seen"
        ) in told(result)
        before, after = result.stdout.split("p.safetensors")
        assert "before transfer, on fp32 candidates" in before
        assert re.search(rf"held-out pairs +{0.2 * own.real:.0f}\b", before)
        for words in (
            rf"held-out pairs +{0.2 * own.quantized:.0f}\b",
            r"Kendall tau +0\.\d{3}",
            r"Spearman +0\.\d{3}",
        ):
            assert re.search(words, after), words
        for words in (r"pairwise accuracy +0\.\d{3}", r"RMSE +0\.0\d{3}", r"top-1 regret +0\.\d{4}"):
            assert re.search(words, after), words
        assert re.search(r"90% intervals +hold \d+\.\d%, plus or minus 0\.\d{4}", after)

    def test_for_programs_it_is_what_the_file_says_and_does(
        self, fit: Call, own: Own, table: Path, tmp_path: Path
    ) -> None:
        facts = json.loads(fit(table, "--json").stdout)
        path = tmp_path / "p.safetensors"
        assert (facts["path"], facts["kind"], facts["how"]) == (str(path), "ridge", "transferred")
        assert facts["learned"] == {"fp32": 32, "quantized": 48}
        manifest = json.loads(path.with_suffix(".json").read_text())
        assert manifest["metrics"] == facts["metrics"]
        assert manifest["space_hash"] == own.space.hash()
        predictor = load_predictor(path, own.space)
        genomes, accuracy = own.measured(1)
        learned = {genome.tobytes() for genome in predictor.pairs.genomes}
        out = np.array([g.tobytes() not in learned for g in genomes]) & ~is_fp32(own.space, genomes)
        again = judged(predictor.predict(genomes[out]), np.array(accuracy)[out])
        assert facts["metrics"] == pytest.approx(again)
        assert facts["metrics"]["kendall_tau"] > 0.5

    def test_parquet_with_genomes_and_per_cent_says_the_same(
        self, call: Call, fit: Call, own: Own, table: Path, tmp_path: Path
    ) -> None:
        genomes, accuracy = own.measured(1)
        path = tmp_path / "mine.parquet"
        pd.DataFrame({"genome": genomes.tolist(), "acc": [100 * a for a in accuracy]}).to_parquet(path)
        given = ("--space", "digits", "--parquet", path, "--metric", "acc", "--percent", "--kind", "ridge")
        found = json.loads(call("predictor", "fit", *given, "-o", tmp_path / "q.safetensors", "--json").stdout)
        assert found["metrics"] == pytest.approx(json.loads(fit(table, "--json").stdout)["metrics"], abs=1e-9)

    def test_the_seed_decides_what_is_held_out(self, fit: Call, table: Path) -> None:
        one, two, three = (json.loads(fit(table, "--json", "--seed", seed).stdout) for seed in (0, 0, 1))
        assert one == two
        assert one["metrics"] != three["metrics"]

    def test_options_and_from_scratch_count(self, fit: Call, table: Path, tmp_path: Path) -> None:
        facts = json.loads(fit(table, "--json", "--from-scratch", "--option", "alpha=3").stdout)
        assert facts["how"] == "from scratch"
        assert facts["fp32_metrics"] is None
        assert json.loads((tmp_path / "p.json").read_text())["options"]["alpha"] == 3.0

    def test_options_that_are_not_given_are_tuned(
        self, fit: Call, told: Told, table: Path, tmp_path: Path, home: Path
    ) -> None:
        given = ("--tune", 2, "--option", "features=one_hot", "--json")
        result = fit(table, *given)
        facts = json.loads(result.stdout)
        assert (facts["tuned"]["trials"], facts["tuned"]["known"]) == (2, 0)
        assert (
            facts["tuned"]["options"]
            == facts["options"]
            == json.loads((tmp_path / "p.json").read_text())["options"]
        )
        assert facts["options"]["features"] == "one_hot"
        assert "tuned in 2 trials" in told(result)
        assert (home / "tuning.sqlite").is_file()
        again = json.loads(fit(table, *given).stdout)
        assert again["tuned"]["known"] == 2
        assert again["metrics"] == facts["metrics"]
        assert json.loads(fit(table, "--json").stdout)["tuned"] is None

    def test_without_output_it_is_named_after_the_table(
        self, call: Call, own: Own, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        before = table.read_text()
        assert call("predictor", "fit", "--space", "digits", "--csv", table, "--kind", "ridge").exit_code == 0
        assert load_predictor(tmp_path / "mine.predictor.safetensors", own.space).kind == "ridge"
        assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
            "mine.csv", "mine.predictor.safetensors", "mine.predictor.json",
        }  # fmt: skip
        assert table.read_text() == before

    def test_repeats_are_averaged_counted_and_on_one_side(
        self, fit: Call, own: Own, told: Told, tmp_path: Path
    ) -> None:
        cells = own.rows()
        cells += [row | {"top1": min(1, row["top1"] + 0.01)} for row in cells[:7]] + cells[-3:]
        result = fit(own.write(tmp_path / "twice.csv", cells), "--json")
        assert "10 rows repeat genomes, and 7 genomes have different values (by up to 0.0100)" in told(result)
        facts = json.loads(result.stdout)
        assert facts["table"] == {
            "rows": own.real + own.quantized + 10, "merged": 10, "differing": 7, "left_out": [], "constant": [],
        }  # fmt: skip
        assert facts["learned"] == {"fp32": 32, "quantized": 48}

    def test_bad_rows_are_left_out_where_that_is_wanted(
        self, fit: Call, own: Own, refused: Check, tmp_path: Path
    ) -> None:
        cells = own.rows()
        cells[0]["top1"] = "nan"
        path = own.write(tmp_path / "bad.csv", cells)
        refused(fit(path), "line 2: top1 is missing", "--skip-bad-rows")
        facts = json.loads(fit(path, "--skip-bad-rows", "--json").stdout)
        assert facts["table"]["left_out"] == ["line 2: top1 is missing"]
        assert facts["table"]["rows"] == own.real + own.quantized - 1

    def test_fp32_alone_is_said_to_be_blind_to_formats(
        self, fit: Call, own: Own, told: Told, tmp_path: Path
    ) -> None:
        result = fit(own.write(tmp_path / "real.csv", own.rows()[: own.real]))
        assert "no row is quantized, so it is blind to formats" in told(result)
        assert "genes never vary, so that nothing is learned about them: stem.weight_format" in told(result)

    def test_a_picture(self, fit: Call, table: Path, tmp_path: Path) -> None:
        result = fit(table, "--plot", tmp_path / "p.png")
        assert f"picture: {tmp_path / 'p.png'}" in result.stderr
        assert Image.open(tmp_path / "p.png").size == (1120, 1120)


class TestReplacing:
    @pytest.mark.parametrize("name", ["p.safetensors", "p.json"])
    @pytest.mark.parametrize("content", [b'{"mine": 1}', b"[1]", b"no JSON \xff"])
    def test_a_file_of_another_use_is_not_replaced(
        self, fit: Call, refused: Check, table: Path, tmp_path: Path, name: str, content: bytes
    ) -> None:
        (tmp_path / name).write_bytes(content)
        refused(fit(table), f"{tmp_path / name}", "choose another name with --output, or move that file away")
        assert (tmp_path / name).read_bytes() == content
        assert not {"p.safetensors", "p.json"} - {name} & {path.name for path in tmp_path.iterdir()}

    def test_tensors_of_another_use_are_not_replaced(
        self, fit: Call, refused: Check, table: Path, tmp_path: Path
    ) -> None:
        save_tensors(tmp_path / "p.safetensors", {"w": torch.zeros(3)}, {"format": "mine"})
        before = (tmp_path / "p.safetensors").read_bytes()
        refused(fit(table), "p.safetensors is there and is no predictor")
        assert (tmp_path / "p.safetensors").read_bytes() == before

    def test_a_predictor_is_replaced(self, fit: Call, stored: Path, table: Path) -> None:
        before = stored.read_bytes()
        assert fit(table, "--seed", 1).exit_code == 0
        assert stored.read_bytes() != before


class TestFitRefuses:
    @pytest.fixture(autouse=True)
    def nothing_is_kept(self, tmp_path: Path) -> Any:
        yield
        assert not list(tmp_path.glob("*.safetensors"))
        assert not list(tmp_path.glob("*.png"))

    @pytest.mark.parametrize(
        ("column", "cell", "words"),
        [
            ("top1", "nan", "line 5: top1 is missing"),
            ("top1", "97.5", "line 5: top1 is 97.5, but must be a fraction from 0 to 1: per cent?"),
            ("top1", "good", "line 5: top1 is 'good', which is no number"),
            ("resolution", "224", "line 5: gene 'resolution' is '224', but must be one of 6, 8, 12"),
            ("resolution", "", "line 5: gene 'resolution' is missing"),
        ],
    )
    def test_a_wrong_cell(
        self, fit: Call, own: Own, refused: Check, tmp_path: Path, column: str, cell: str, words: str
    ) -> None:
        cells = own.rows()
        cells[3][column] = cell
        refused(fit(own.write(tmp_path / "bad.csv", cells)), words, "1 row of 100 wrong", "--skip-bad-rows")

    def test_a_misspelt_gene_column(self, fit: Call, own: Own, refused: Check, tmp_path: Path) -> None:
        cells = [
            {name.replace("stage1.depth", "stage1.dept"): cell for name, cell in row.items()} for row in own.rows()
        ]
        refused(fit(own.write(tmp_path / "bad.csv", cells)), "'stage1.dept'", "did you mean 'stage1.depth'?")

    def test_a_constant_metric(self, fit: Call, own: Own, refused: Check, tmp_path: Path) -> None:
        cells = [row | {"top1": 0.5} for row in own.rows()]
        refused(fit(own.write(tmp_path / "bad.csv", cells)), "column 'top1' is 0.5 in every row", "--metric")

    def test_too_few_rows(self, fit: Call, own: Own, refused: Check, tmp_path: Path) -> None:
        result = fit(own.write(tmp_path / "few.csv", own.rows()[:11]))
        refused(result, "too few different genomes to fit a predictor, 9: measure at least 10", "2 are held out")

    def test_a_missing_table(self, fit: Call, refused: Check, tmp_path: Path) -> None:
        refused(fit(tmp_path / "none.csv"), f"table {tmp_path / 'none.csv'} is missing")

    def test_another_space(self, call: Call, refused: Check, table: Path) -> None:
        result = call("predictor", "fit", "--space", "resnet50", "--csv", table)
        refused(
            result, "is no gene of space 'resnet50'", "Every gene of space 'resnet50' with choices needs a column"
        )

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--metric", "top_1"), "'top_1': did you mean 'top1'?"),
            (("--option", "alpa=3"), "unknown option of predictor 'ridge' 'alpa': did you mean 'alpha'?"),
            (("--option", "alpha=-1"), "alpha is -1.0: it must be "),
            (("--option", "alpha=much"), "alpha is 'much', but must be of the kind of its default, 1.0"),
            (("--kind", "rigde"), "unknown predictor 'rigde': did you mean 'ridge'?"),
            (("--space", "digit"), "unknown space 'digit': did you mean 'digits'"),
            (("--held-out", "20"), "held_out is 20.0: it must be a share between 0 and 1"),
            (("--percent",), "These look like fractions: leave --percent out"),
        ],
    )
    def test_arguments(
        self, fit: Call, refused: Check, table: Path, arguments: tuple[str, ...], words: str
    ) -> None:
        refused(fit(table, *arguments), words)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--parquet", "t.parquet"), "give one table, with --csv FILE or --parquet FILE"),
            (("--plot", "p.svg"), "p.svg must end in .png"),
            (("-o", "p.pt"), "p.pt must end in .safetensors"),
            (("--option", "alpha"), "must read NAME=VALUE"),
            (("--seed", "-1"), "--seed"),
        ],
    )
    def test_command_lines(self, fit: Call, table: Path, arguments: tuple[str, ...], words: str) -> None:
        result = fit(table, *arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert words in re.sub(r"[\s│]+", " ", result.stderr)
