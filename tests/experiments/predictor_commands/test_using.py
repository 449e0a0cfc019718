"""`bitfront predictor` with what was fitted: judged, asked, shown and listed."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

from bitfront.experiments.store.base import Store
from bitfront.predictors import PREDICTORS, load_predictor
from bitfront.predictors.fitting import is_fp32
from bitfront.predictors.metrics import judged
from bitfront.predictors.predictor import AccuracyPredictor, Prediction
from bitfront.supernet.genes import Genomes

if TYPE_CHECKING:
    from tests.experiments.predictor_commands.conftest import Own

Call = Callable[..., Result]
Check = Callable[..., None]
Told = Callable[[Result], str]
Find = Callable[[Store, str], None]
HEAVY = {"torch", "ray", "sklearn", "pandas", "numpy", "pyarrow", "matplotlib", "safetensors"}


class TestBlindToFormats:
    """A predictor of fp32 rows alone says so, wherever it meets others."""

    @pytest.fixture
    def blind(self, fit: Call, own: Own, tmp_path: Path) -> Path:
        assert fit(own.write(tmp_path / "real.csv", own.rows()[: own.real])).exit_code == 0
        return tmp_path / "p.safetensors"

    def test_show(self, call: Call, blind: Path) -> None:
        text = call("predictor", "show", blind).stdout
        assert re.search(r"made +from fp32 pairs alone: it is blind to formats", text)
        assert "learned first" not in text

    def test_eval(self, call: Call, own: Own, told: Told, blind: Path, table: Path) -> None:
        result = call("predictor", "eval", blind, "--space", "digits", "--csv", table, "--json")
        left = f"{0.2 * own.real + own.quantized:.0f} candidates"
        assert f"warning: {own.quantized} of {left} not in fp32 throughout" in told(result)
        assert json.loads(result.stdout)["blind_to_formats"] == own.quantized

    def test_predict(self, call: Call, own: Own, told: Told, blind: Path, table: Path) -> None:
        arguments = ("predictor", "predict", blind, "--space", "digits", "--csv", table)
        result = call(*arguments, "--json")
        said = f"warning: {own.quantized} of {own.real + own.quantized} candidates not in fp32 throughout"
        assert said in told(result)
        genomes, _ = own.measured(1)
        found = [row["blind_to_formats"] for row in json.loads(result.stdout)]
        assert found == (~is_fp32(own.space, genomes)).tolist()
        assert call(*arguments).stdout.startswith("line,mean,half_width,genome\n")

    def test_nothing_is_said_where_it_is_not_so(
        self, call: Call, blind: Path, fit: Call, told: Told, table: Path, tmp_path: Path
    ) -> None:
        asked = ("predictor", "predict", blind, "--space", "digits", "--csv")
        assert "blind" not in told(call(*asked, tmp_path / "real.csv"))
        assert fit(table).exit_code == 0
        assert "blind" not in told(call(*asked, table))


def test_all_is_done_on_one_thread(
    fit: Call, call: Call, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


class TestEval:
    def test_candidates_that_it_learned_from_are_left_out(
        self, call: Call, own: Own, told: Told, stored: Path, table: Path
    ) -> None:
        result = call("predictor", "eval", stored, "--space", "digits", "--csv", table, "--json")
        assert f"left out: {0.8 * (own.real + own.quantized):.0f} candidates that it learned from" in told(result)
        fp32, quantized = 0.2 * own.real, 0.2 * own.quantized
        assert f"judged by {fp32:.0f} fp32 and {quantized:.0f} quantized candidates together" in told(result)
        predictor = load_predictor(stored, own.space)
        assert predictor.earlier is not None
        learned = {genome.tobytes() for pairs in (predictor.pairs, predictor.earlier) for genome in pairs.genomes}
        genomes, accuracy = own.measured(1)
        out = np.array([genome.tobytes() not in learned for genome in genomes])
        assert out.sum() == fp32 + quantized
        expected = judged(predictor.predict(genomes[out]), np.array(accuracy)[out])
        assert json.loads(result.stdout) == pytest.approx({**expected, "blind_to_formats": 0})

    def test_what_fit_judged_by_is_judged_the_same(
        self, call: Call, own: Own, told: Told, stored: Path, table: Path, tmp_path: Path
    ) -> None:
        quantized = own.write(tmp_path / "quantized.csv", own.rows()[own.real :])
        result = call("predictor", "eval", stored, "--space", "digits", "--csv", quantized, "--json")
        metrics = json.loads(stored.with_suffix(".json").read_text())["metrics"]
        assert json.loads(result.stdout) == pytest.approx({**metrics, "blind_to_formats": 0})
        assert f"only {0.2 * own.quantized:.0f} pairs judge it" in told(result)
        assert "together" not in told(result)

    def test_another_table_and_a_picture(self, call: Call, own: Own, stored: Path, tmp_path: Path) -> None:
        other, picture = own.write(tmp_path / "other.csv", own.rows(2)[own.real :]), tmp_path / "e.png"
        result = call("predictor", "eval", stored, "--space", "digits", "--csv", other, "--plot", picture)
        assert result.exit_code == 0
        assert re.search(rf"held-out pairs +{own.quantized}\b", result.stdout)
        genomes, accuracy = own.measured(2)
        said = load_predictor(stored, own.space).predict(genomes[own.real :])
        tau = judged(said, np.array(accuracy[own.real :]))["kendall_tau"]
        assert re.search(rf"Kendall tau +{tau:.3f}\b", result.stdout)
        assert tau > 0.2
        assert Image.open(picture).size == (1120, 1120)

    def test_nothing_is_left_to_judge_by(
        self, call: Call, own: Own, refused: Check, stored: Path, tmp_path: Path
    ) -> None:
        earlier = load_predictor(stored, own.space).earlier
        assert earlier is not None
        genomes = [" ".join(map(str, genome)) for genome in earlier.genomes]
        cells = [{"genome": g, "top1": a} for g, a in zip(genomes, earlier.accuracy, strict=True)]
        path = own.write(tmp_path / "real.csv", cells)
        result = call("predictor", "eval", stored, "--space", "digits", "--csv", path)
        refused(result, "0 held-out pairs are too few to judge a predictor by")

    def test_another_space_is_refused_with_genes_that_differ(
        self, call: Call, refused: Check, stored: Path, table: Path
    ) -> None:
        result = call("predictor", "eval", stored, "--space", "fashion", "--csv", table)
        refused(result, "predicts for space 'digits', not for this 'fashion': genes that differ: resolution")

    @pytest.mark.parametrize("command", ["eval", "predict"])
    def test_a_file_that_is_no_predictor_is_not_to_be_deleted(
        self, call: Call, refused: Check, table: Path, command: str
    ) -> None:
        result = call("predictor", command, table, "--space", "digits", "--csv", table)
        refused(
            result, "mine.csv is not a bitfront tensor file", "give a file that 'bitfront predictor fit' wrote"
        )
        assert "delete" not in result.stderr

    def test_a_damaged_file(self, call: Call, refused: Check, stored: Path, table: Path) -> None:
        content = bytearray(stored.read_bytes())
        content[-5] ^= 1
        stored.write_bytes(bytes(content))
        result = call("predictor", "eval", stored, "--space", "digits", "--csv", table)
        refused(result, "does not match its own digest: give a file that 'bitfront predictor fit' wrote")


class TestPredict:
    @pytest.fixture
    def asked(self, tmp_path: Path, own: Own) -> Path:
        genomes, _ = own.measured(3)
        return own.write(
            tmp_path / "ask.csv", [{"genome": " ".join(map(str, g)), "id": i} for i, g in enumerate(genomes)]
        )

    def test_csv_and_json_are_what_the_predictor_says(
        self, call: Call, own: Own, stored: Path, asked: Path
    ) -> None:
        arguments = ("predictor", "predict", stored, "--space", "digits", "--csv", asked)
        result = call(*arguments)
        found = list(csv.DictReader(io.StringIO(result.stdout)))
        genomes, _ = own.measured(3)
        said = load_predictor(stored, own.space).predict(genomes)
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

    def test_a_wrong_row(self, call: Call, own: Own, refused: Check, stored: Path, tmp_path: Path) -> None:
        path = own.write(
            tmp_path / "bad.csv", [{"genome": "0 0 0"}, {"genome": " ".join(["0"] * own.space.n_genes)}]
        )
        arguments = ("predictor", "predict", stored, "--space", "digits", "--csv", path)
        refused(call(*arguments), "line 2: genome has 3 genes, but space 'digits' has 56")
        assert len(call(*arguments, "--skip-bad-rows").stdout.splitlines()) == 2


class TestShow:
    def test_for_people(self, call: Call, own: Own, stored: Path) -> None:
        text = call("predictor", "show", stored).stdout
        for words in (
            r"kind +ridge",
            rf"space +digits, hash {own.space.hash()[:12]}",
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

    def test_a_missing_file(self, call: Call, refused: Check, tmp_path: Path) -> None:
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
