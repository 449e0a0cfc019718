"""`bitfront predictor`: tables of one's own become predictors; what is wrong is told in words."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import Result
from PIL import Image

from bitfront.experiments.store.base import Store
from bitfront.predictors import PREDICTORS, load_predictor
from bitfront.predictors.fitting import is_fp32
from bitfront.predictors.metrics import judged
from bitfront.predictors.predictor import AccuracyPredictor, Prediction
from bitfront.supernet.files import save_tensors
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.digits import digits

Call = Callable[..., Result]
Find = Callable[[Store, str], None]
HEAVY = {"torch", "ray", "sklearn", "pandas", "numpy", "pyarrow", "matplotlib", "safetensors"}
SPACE = digits()
REAL, QUANTIZED = 40, 60


def measured(seed: int) -> tuple[Genomes, list[float]]:
    """Different fp32 candidates, then quantized ones, with accuracies that can be learned."""
    rng = np.random.default_rng(seed)
    drawn = SPACE.sample(200, rng, "sizes")
    real = np.unique(SPACE.assign(drawn, {"weight_format": "fp32", "activation_format": "fp32"}), axis=0)
    genomes = np.concatenate([real[rng.permutation(len(real))[:REAL]], drawn[~is_fp32(SPACE, drawn)][:QUANTIZED]])
    weights = np.random.default_rng(0).normal(0, 0.01, SPACE.encoding_width)
    return genomes, np.clip(0.8 + SPACE.encode(genomes) @ weights, 0, 1).round(4).tolist()


def rows(seed: int = 1) -> list[dict[str, Any]]:
    empty = dict.fromkeys(SPACE.position, "")
    return [{**empty, **SPACE.decode(g), "top1": a} for g, a in zip(*measured(seed), strict=True)]


def write(path: Path, cells: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path / "mine.csv", rows())


@pytest.fixture
def fit(call: Call, tmp_path: Path) -> Callable[..., Result]:
    """`predictor fit` of a ridge regression, into ``p.safetensors``."""

    def run(path: Path, *more: object) -> Result:
        to = tmp_path / "p.safetensors"
        return call("predictor", "fit", "--space", "digits", "--csv", path, "--kind", "ridge", "-o", to, *more)

    return run


@pytest.fixture
def stored(fit: Callable[..., Result], table: Path, tmp_path: Path) -> Path:
    assert fit(table).exit_code == 0
    return tmp_path / "p.safetensors"


def told(result: Result) -> str:
    return " ".join(result.stderr.split())


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1
    for word in words:
        assert word in told(result)


class TestFit:
    def test_for_people(self, fit: Callable[..., Result], table: Path) -> None:
        result = fit(table)
        assert result.exit_code == 0
        assert (
            f"learned from {0.8 * REAL:.0f} fp32 candidates, then transferred to {0.8 * QUANTIZED:.0f} quantized "
            f"ones; judged on {0.2 * QUANTIZED:.0f} quantized candidates that it has not seen"
        ) in told(result)
        before, after = result.stdout.split("p.safetensors")
        assert "before transfer, on fp32 candidates" in before
        assert re.search(rf"held-out pairs +{0.2 * REAL:.0f}\b", before)
        for words in (
            rf"held-out pairs +{0.2 * QUANTIZED:.0f}\b",
            r"Kendall tau +0\.\d{3}",
            r"Spearman +0\.\d{3}",
        ):
            assert re.search(words, after), words
        for words in (r"pairwise accuracy +0\.\d{3}", r"RMSE +0\.0\d{3}", r"top-1 regret +0\.\d{4}"):
            assert re.search(words, after), words
        assert re.search(r"90% intervals +hold \d+\.\d%, plus or minus 0\.\d{4}", after)

    def test_for_programs_it_is_what_the_file_says_and_does(
        self, fit: Callable[..., Result], table: Path, tmp_path: Path
    ) -> None:
        facts = json.loads(fit(table, "--json").stdout)
        path = tmp_path / "p.safetensors"
        assert (facts["path"], facts["kind"], facts["how"]) == (str(path), "ridge", "transferred")
        assert facts["learned"] == {"fp32": 32, "quantized": 48}
        manifest = json.loads(path.with_suffix(".json").read_text())
        assert manifest["metrics"] == facts["metrics"]
        assert manifest["space_hash"] == SPACE.hash()
        predictor = load_predictor(path, SPACE)
        genomes, accuracy = measured(1)
        learned = {genome.tobytes() for genome in predictor.pairs.genomes}
        out = np.array([g.tobytes() not in learned for g in genomes]) & ~is_fp32(SPACE, genomes)
        again = judged(predictor.predict(genomes[out]), np.array(accuracy)[out])
        assert facts["metrics"] == pytest.approx(again)
        assert facts["metrics"]["kendall_tau"] > 0.5

    def test_parquet_with_genomes_and_per_cent_says_the_same(
        self, call: Call, fit: Callable[..., Result], table: Path, tmp_path: Path
    ) -> None:
        genomes, accuracy = measured(1)
        path = tmp_path / "mine.parquet"
        pd.DataFrame({"genome": genomes.tolist(), "acc": [100 * a for a in accuracy]}).to_parquet(path)
        given = ("--space", "digits", "--parquet", path, "--metric", "acc", "--percent", "--kind", "ridge")
        found = json.loads(call("predictor", "fit", *given, "-o", tmp_path / "q.safetensors", "--json").stdout)
        assert found["metrics"] == pytest.approx(json.loads(fit(table, "--json").stdout)["metrics"], abs=1e-9)

    def test_the_seed_decides_what_is_held_out(self, fit: Callable[..., Result], table: Path) -> None:
        one, two, three = (json.loads(fit(table, "--json", "--seed", seed).stdout) for seed in (0, 0, 1))
        assert one == two
        assert one["metrics"] != three["metrics"]

    def test_options_and_from_scratch_count(self, fit: Callable[..., Result], table: Path, tmp_path: Path) -> None:
        facts = json.loads(fit(table, "--json", "--from-scratch", "--option", "alpha=3").stdout)
        assert facts["how"] == "from scratch"
        assert facts["fp32_metrics"] is None
        assert json.loads((tmp_path / "p.json").read_text())["options"]["alpha"] == 3.0

    def test_options_that_are_not_given_are_tuned(
        self, fit: Callable[..., Result], table: Path, tmp_path: Path, home: Path
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
        self, call: Call, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        before = table.read_text()
        assert call("predictor", "fit", "--space", "digits", "--csv", table, "--kind", "ridge").exit_code == 0
        assert load_predictor(tmp_path / "mine.predictor.safetensors", SPACE).kind == "ridge"
        assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
            "mine.csv", "mine.predictor.safetensors", "mine.predictor.json",
        }  # fmt: skip
        assert table.read_text() == before

    def test_repeats_are_averaged_counted_and_on_one_side(
        self, fit: Callable[..., Result], tmp_path: Path
    ) -> None:
        cells = rows()
        cells += [row | {"top1": min(1, row["top1"] + 0.01)} for row in cells[:7]] + cells[-3:]
        result = fit(write(tmp_path / "twice.csv", cells), "--json")
        assert "10 rows repeat genomes, and 7 genomes have different values (by up to 0.0100)" in told(result)
        facts = json.loads(result.stdout)
        assert facts["table"] == {
            "rows": REAL + QUANTIZED + 10, "merged": 10, "differing": 7, "left_out": [], "constant": [],
        }  # fmt: skip
        assert facts["learned"] == {"fp32": 32, "quantized": 48}

    def test_bad_rows_are_left_out_where_that_is_wanted(self, fit: Callable[..., Result], tmp_path: Path) -> None:
        cells = rows()
        cells[0]["top1"] = "nan"
        path = write(tmp_path / "bad.csv", cells)
        refused(fit(path), "line 2: top1 is missing", "--skip-bad-rows")
        facts = json.loads(fit(path, "--skip-bad-rows", "--json").stdout)
        assert facts["table"]["left_out"] == ["line 2: top1 is missing"]
        assert facts["table"]["rows"] == REAL + QUANTIZED - 1

    def test_fp32_alone_is_said_to_be_blind_to_formats(self, fit: Callable[..., Result], tmp_path: Path) -> None:
        result = fit(write(tmp_path / "real.csv", rows()[:REAL]))
        assert "no row is quantized, so it is blind to formats" in told(result)
        assert "genes never vary, so that nothing is learned about them: stem.weight_format" in told(result)

    def test_a_picture(self, fit: Callable[..., Result], table: Path, tmp_path: Path) -> None:
        result = fit(table, "--plot", tmp_path / "p.png")
        assert f"picture: {tmp_path / 'p.png'}" in result.stderr
        assert Image.open(tmp_path / "p.png").size == (1120, 1120)


class TestBlindToFormats:
    """A predictor of fp32 rows alone says so, wherever it meets others."""

    @pytest.fixture
    def blind(self, fit: Callable[..., Result], tmp_path: Path) -> Path:
        assert fit(write(tmp_path / "real.csv", rows()[:REAL])).exit_code == 0
        return tmp_path / "p.safetensors"

    def test_show(self, call: Call, blind: Path) -> None:
        text = call("predictor", "show", blind).stdout
        assert re.search(r"made +from fp32 pairs alone: it is blind to formats", text)
        assert "learned first" not in text

    def test_eval(self, call: Call, blind: Path, table: Path) -> None:
        result = call("predictor", "eval", blind, "--space", "digits", "--csv", table, "--json")
        left = f"{0.2 * REAL + QUANTIZED:.0f} candidates"
        assert f"warning: {QUANTIZED} of {left} not in fp32 throughout" in told(result)
        assert json.loads(result.stdout)["blind_to_formats"] == QUANTIZED

    def test_predict(self, call: Call, blind: Path, table: Path) -> None:
        arguments = ("predictor", "predict", blind, "--space", "digits", "--csv", table)
        result = call(*arguments, "--json")
        said = f"warning: {QUANTIZED} of {REAL + QUANTIZED} candidates not in fp32 throughout"
        assert said in told(result)
        genomes, _ = measured(1)
        found = [row["blind_to_formats"] for row in json.loads(result.stdout)]
        assert found == (~is_fp32(SPACE, genomes)).tolist()
        assert call(*arguments).stdout.startswith("line,mean,half_width,genome\n")

    def test_nothing_is_said_where_it_is_not_so(
        self, call: Call, blind: Path, fit: Callable[..., Result], table: Path, tmp_path: Path
    ) -> None:
        asked = ("predictor", "predict", blind, "--space", "digits", "--csv")
        assert "blind" not in told(call(*asked, tmp_path / "real.csv"))
        assert fit(table).exit_code == 0
        assert "blind" not in told(call(*asked, table))


def test_all_is_done_on_one_thread(
    fit: Callable[..., Result], call: Call, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, seen = PREDICTORS.get("ridge"), []
    predict = kind.predict

    def watched(predictor: AccuracyPredictor, genomes: Genomes) -> Prediction:
        seen.append(torch.get_num_threads())
        return predict(predictor, genomes)

    monkeypatch.setattr(kind, "predict", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        results = [fit(table)]
        for command in ("eval", "predict"):
            arguments = (tmp_path / "p.safetensors", "--space", "digits", "--csv", table)
            results.append(call("predictor", command, *arguments))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert [result.exit_code for result in results] == [0, 0, 0]
    assert len(seen) >= 3
    assert set(seen) == {1}


class TestReplacing:
    @pytest.mark.parametrize("name", ["p.safetensors", "p.json"])
    @pytest.mark.parametrize("content", [b'{"mine": 1}', b"[1]", b"no JSON \xff"])
    def test_a_file_of_another_use_is_not_replaced(
        self, fit: Callable[..., Result], table: Path, tmp_path: Path, name: str, content: bytes
    ) -> None:
        (tmp_path / name).write_bytes(content)
        refused(fit(table), f"{tmp_path / name}", "choose another name with --output, or move that file away")
        assert (tmp_path / name).read_bytes() == content
        assert not {"p.safetensors", "p.json"} - {name} & {path.name for path in tmp_path.iterdir()}

    def test_tensors_of_another_use_are_not_replaced(
        self, fit: Callable[..., Result], table: Path, tmp_path: Path
    ) -> None:
        save_tensors(tmp_path / "p.safetensors", {"w": torch.zeros(3)}, {"format": "mine"})
        before = (tmp_path / "p.safetensors").read_bytes()
        refused(fit(table), "p.safetensors is there and is no predictor")
        assert (tmp_path / "p.safetensors").read_bytes() == before

    def test_a_predictor_is_replaced(self, fit: Callable[..., Result], stored: Path, table: Path) -> None:
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
        self, fit: Callable[..., Result], tmp_path: Path, column: str, cell: str, words: str
    ) -> None:
        cells = rows()
        cells[3][column] = cell
        refused(fit(write(tmp_path / "bad.csv", cells)), words, "1 row of 100 wrong", "--skip-bad-rows")

    def test_a_misspelt_gene_column(self, fit: Callable[..., Result], tmp_path: Path) -> None:
        cells = [
            {name.replace("stage1.depth", "stage1.dept"): cell for name, cell in row.items()} for row in rows()
        ]
        refused(fit(write(tmp_path / "bad.csv", cells)), "'stage1.dept'", "did you mean 'stage1.depth'?")

    def test_a_constant_metric(self, fit: Callable[..., Result], tmp_path: Path) -> None:
        cells = [row | {"top1": 0.5} for row in rows()]
        refused(fit(write(tmp_path / "bad.csv", cells)), "column 'top1' is 0.5 in every row", "--metric")

    def test_too_few_rows(self, fit: Callable[..., Result], tmp_path: Path) -> None:
        result = fit(write(tmp_path / "few.csv", rows()[:11]))
        refused(result, "too few different genomes to fit a predictor, 9: measure at least 10", "2 are held out")

    def test_a_missing_table(self, fit: Callable[..., Result], tmp_path: Path) -> None:
        refused(fit(tmp_path / "none.csv"), f"table {tmp_path / 'none.csv'} is missing")

    def test_another_space(self, call: Call, table: Path) -> None:
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
        self, fit: Callable[..., Result], table: Path, arguments: tuple[str, ...], words: str
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
    def test_command_lines(
        self, fit: Callable[..., Result], table: Path, arguments: tuple[str, ...], words: str
    ) -> None:
        result = fit(table, *arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert words in re.sub(r"[\s│]+", " ", result.stderr)


class TestEval:
    def test_candidates_that_it_learned_from_are_left_out(self, call: Call, stored: Path, table: Path) -> None:
        result = call("predictor", "eval", stored, "--space", "digits", "--csv", table, "--json")
        assert f"left out: {0.8 * (REAL + QUANTIZED):.0f} candidates that it learned from" in told(result)
        fp32, quantized = 0.2 * REAL, 0.2 * QUANTIZED
        assert f"judged by {fp32:.0f} fp32 and {quantized:.0f} quantized candidates together" in told(result)
        predictor = load_predictor(stored, SPACE)
        assert predictor.earlier is not None
        learned = {genome.tobytes() for pairs in (predictor.pairs, predictor.earlier) for genome in pairs.genomes}
        genomes, accuracy = measured(1)
        out = np.array([genome.tobytes() not in learned for genome in genomes])
        assert out.sum() == fp32 + quantized
        expected = judged(predictor.predict(genomes[out]), np.array(accuracy)[out])
        assert json.loads(result.stdout) == pytest.approx({**expected, "blind_to_formats": 0})

    def test_what_fit_judged_by_is_judged_the_same(
        self, call: Call, stored: Path, table: Path, tmp_path: Path
    ) -> None:
        quantized = write(tmp_path / "quantized.csv", rows()[REAL:])
        result = call("predictor", "eval", stored, "--space", "digits", "--csv", quantized, "--json")
        metrics = json.loads(stored.with_suffix(".json").read_text())["metrics"]
        assert json.loads(result.stdout) == pytest.approx({**metrics, "blind_to_formats": 0})
        assert f"only {0.2 * QUANTIZED:.0f} pairs judge it" in told(result)
        assert "together" not in told(result)

    def test_another_table_and_a_picture(self, call: Call, stored: Path, tmp_path: Path) -> None:
        other, picture = write(tmp_path / "other.csv", rows(2)[REAL:]), tmp_path / "e.png"
        result = call("predictor", "eval", stored, "--space", "digits", "--csv", other, "--plot", picture)
        assert result.exit_code == 0
        assert re.search(rf"held-out pairs +{QUANTIZED}\b", result.stdout)
        genomes, accuracy = measured(2)
        said = load_predictor(stored, SPACE).predict(genomes[REAL:])
        tau = judged(said, np.array(accuracy[REAL:]))["kendall_tau"]
        assert re.search(rf"Kendall tau +{tau:.3f}\b", result.stdout)
        assert tau > 0.2
        assert Image.open(picture).size == (1120, 1120)

    def test_nothing_is_left_to_judge_by(self, call: Call, stored: Path, tmp_path: Path) -> None:
        earlier = load_predictor(stored, SPACE).earlier
        assert earlier is not None
        genomes = [" ".join(map(str, genome)) for genome in earlier.genomes]
        cells = [{"genome": g, "top1": a} for g, a in zip(genomes, earlier.accuracy, strict=True)]
        path = write(tmp_path / "real.csv", cells)
        result = call("predictor", "eval", stored, "--space", "digits", "--csv", path)
        refused(result, "0 held-out pairs are too few to judge a predictor by")

    def test_another_space_is_refused_with_genes_that_differ(self, call: Call, stored: Path, table: Path) -> None:
        result = call("predictor", "eval", stored, "--space", "fashion", "--csv", table)
        refused(result, "predicts for space 'digits', not for this 'fashion': genes that differ: resolution")

    @pytest.mark.parametrize("command", ["eval", "predict"])
    def test_a_file_that_is_no_predictor_is_not_to_be_deleted(self, call: Call, table: Path, command: str) -> None:
        result = call("predictor", command, table, "--space", "digits", "--csv", table)
        refused(
            result, "mine.csv is not a bitfront tensor file", "give a file that 'bitfront predictor fit' wrote"
        )
        assert "delete" not in result.stderr

    def test_a_damaged_file(self, call: Call, stored: Path, table: Path) -> None:
        content = bytearray(stored.read_bytes())
        content[-5] ^= 1
        stored.write_bytes(bytes(content))
        result = call("predictor", "eval", stored, "--space", "digits", "--csv", table)
        refused(result, "does not match its own digest: give a file that 'bitfront predictor fit' wrote")


class TestPredict:
    @pytest.fixture
    def asked(self, tmp_path: Path) -> Path:
        genomes, _ = measured(3)
        return write(
            tmp_path / "ask.csv", [{"genome": " ".join(map(str, g)), "id": i} for i, g in enumerate(genomes)]
        )

    def test_csv_and_json_are_what_the_predictor_says(self, call: Call, stored: Path, asked: Path) -> None:
        arguments = ("predictor", "predict", stored, "--space", "digits", "--csv", asked)
        result = call(*arguments)
        found = list(csv.DictReader(io.StringIO(result.stdout)))
        genomes, _ = measured(3)
        said = load_predictor(stored, SPACE).predict(genomes)
        assert [int(row["line"]) for row in found] == list(range(2, len(genomes) + 2))
        assert [float(row["mean"]) for row in found] == pytest.approx(said.mean.tolist())
        assert [float(row["half_width"]) for row in found] == pytest.approx(said.half_width.tolist())
        assert [list(map(int, row["genome"].split())) for row in found] == genomes.tolist()
        objects = json.loads(call(*arguments, "--json").stdout)
        assert [one["mean"] for one in objects] == [float(row["mean"]) for row in found]
        assert [one["genome"] for one in objects] == genomes.tolist()

    def test_its_output_is_a_table_again(self, call: Call, stored: Path, asked: Path, tmp_path: Path) -> None:
        first = call("predictor", "predict", stored, "--space", "digits", "--csv", asked).stdout
        (tmp_path / "again.csv").write_text(first)
        again = call("predictor", "predict", stored, "--space", "digits", "--csv", tmp_path / "again.csv")
        assert again.stdout == first

    def test_a_wrong_row(self, call: Call, stored: Path, tmp_path: Path) -> None:
        path = write(tmp_path / "bad.csv", [{"genome": "0 0 0"}, {"genome": " ".join(["0"] * SPACE.n_genes)}])
        arguments = ("predictor", "predict", stored, "--space", "digits", "--csv", path)
        refused(call(*arguments), "line 2: genome has 3 genes, but space 'digits' has 56")
        assert len(call(*arguments, "--skip-bad-rows").stdout.splitlines()) == 2


class TestShow:
    def test_for_people(self, call: Call, stored: Path) -> None:
        text = call("predictor", "show", stored).stdout
        for words in (
            r"kind +ridge",
            rf"space +digits, hash {SPACE.hash()[:12]}",
            r"genes +resolution, stage0\.depth, .* and 50 more",
            r"made +transferred to quantized pairs",
            r"learned first from +32 pairs, hash [0-9a-f]{12}",
            r"learned last from +48 pairs, hash [0-9a-f]{12}",
            r"alpha +1\b",
            r"held-out pairs +12\b",
            r"scikit-learn +\d+\.\d+",
        ):
            assert re.search(words, " ".join(text.split())), words

    def test_for_programs(self, call: Call, stored: Path) -> None:
        manifest = json.loads(stored.with_suffix(".json").read_text())
        assert json.loads(call("predictor", "show", stored, "--json").stdout) == manifest

    def test_a_missing_file(self, call: Call, tmp_path: Path) -> None:
        result = call("predictor", "show", tmp_path / "none.safetensors")
        refused(result, "none.safetensors is missing: 'bitfront predictor fit' writes such files")


class TestLs:
    def test_what_experiments_left(self, call: Call, store: Store, spec: dict[str, Any], find: Find) -> None:
        one = store.create_experiment("digits-host", spec, 0).id
        store.claim(one)
        find(store, one)
        found = json.loads(call("predictor", "ls", "--json").stdout)
        assert [(row["id"], row["kind"], row["space"], row["data"]) for row in found] == [
            ("real", "fp32", "digits", "digits"), ("moved", "transferred", "digits", "digits"),
        ]  # fmt: skip
        assert [row["metrics"] for row in found] == [{"kendall_tau": 0.71}, {"kendall_tau": 0.83}]
        assert [row["is_there"] for row in found] == [False, False]
        text = call("predictor", "ls").stdout
        assert re.search(
            r"^transferred +digits +digits +0\.830 +- +- +m\.safetensors \(gone\)", text, re.MULTILINE
        )

    def test_none(self, call: Call, home: Path) -> None:
        assert call("predictor", "ls", "--json").stdout == "[]\n"
        result = call("predictor", "ls")
        assert (result.exit_code, result.stdout) == (0, "")
        assert f"no predictors in {home}" in result.stderr
        assert not home.exists()


@pytest.mark.parametrize("command", [("predictor",), ("predictor", "fit"), ("predictor", "eval")])
def test_help_loads_nothing_heavy(command: tuple[str, ...]) -> None:
    line = ["-X", "importtime", "-m", "bitfront.experiments.cli", *command, "--help"]
    ran = subprocess.run([sys.executable, *line], capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    assert imported & HEAVY == set()
