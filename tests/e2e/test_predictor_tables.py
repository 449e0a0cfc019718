"""A table of one's own at the real command line: from measurements to predictions, in processes of their own."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from bitfront.predictors.fitting import is_fp32
from bitfront.supernet.spaces.digits import digits

SPACE = digits()
QUICK = ("--option", "epochs=5", "--option", "steps=60", "--option", "hidden=64")


def bitfront(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bitfront.experiments.cli", "predictor", *arguments],
        cwd=folder,
        env={**os.environ, "BITFRONT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rows(seed: int) -> list[dict[str, Any]]:
    """Sixty fp32 candidates and sixty others: wide networks in many bits are better."""
    drawn = SPACE.sample(130, np.random.default_rng(seed), "sizes")
    real = SPACE.assign(drawn[:60], {"weight_format": "fp32", "activation_format": "fp32"})
    genomes = np.concatenate([real, drawn[~is_fp32(SPACE, drawn)][:60]])
    policy = np.array([gene.is_policy for gene in SPACE.genes])
    top1 = 0.6 + 0.005 * genomes[:, ~policy].sum(axis=1) - 0.002 * genomes[:, policy].sum(axis=1)
    return [
        {**SPACE.decode(genome), "top1": round(a, 4)} for genome, a in zip(genomes, top1.tolist(), strict=True)
    ]


def write(path: Path, cells: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*SPACE.position, "top1"])
        writer.writeheader()
        writer.writerows(cells)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and the predictor that was fitted to it."""
    place = tmp_path_factory.mktemp("tables")
    write(place / "mine.csv", rows(0))
    ran = bitfront(place, "fit", "--space", "digits", "--csv", "mine.csv", *QUICK, "--plot", "mine.png", "--json")
    assert ran.returncode == 0, ran.stderr
    (place / "fitted.json").write_text(ran.stdout)
    return place


def test_a_fit_leaves_a_file_its_manifest_and_a_picture(folder: Path) -> None:
    facts = json.loads((folder / "fitted.json").read_text())
    assert (facts["path"], facts["kind"], facts["how"]) == ("mine.predictor.safetensors", "mlp", "transferred")
    assert facts["metrics"]["kendall_tau"] > 0.3
    assert json.loads((folder / "mine.predictor.json").read_text())["metrics"] == facts["metrics"]
    assert (folder / "mine.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "home").exists()


def test_predictions_follow_what_another_table_measured(folder: Path) -> None:
    later = rows(1)[60:]
    write(folder / "later.csv", later)
    given = ("mine.predictor.safetensors", "--space", "digits", "--csv", "later.csv")
    predicted = list(csv.DictReader(io.StringIO(bitfront(folder, "predict", *given).stdout)))
    tau = kendalltau([float(row["mean"]) for row in predicted], [row["top1"] for row in later]).statistic
    judged = json.loads(bitfront(folder, "eval", *given, "--json").stdout)
    assert judged["held_out"] == 60
    assert judged["kendall_tau"] == pytest.approx(tau)
    assert tau > 0.3


def test_a_closed_pipe_is_no_crash(folder: Path) -> None:
    given = "mine.predictor.safetensors --space digits --csv mine.csv"
    command = f"{sys.executable} -m bitfront.experiments.cli predictor predict {given} | head -1"
    ran = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=120, check=True
    )
    assert ran.stdout == "line,mean,half_width,genome\n"
    assert "Traceback" not in ran.stderr
    assert "error" not in ran.stderr


def test_a_bad_row_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    cells = rows(0)
    cells[1]["top1"], cells[4]["resolution"] = "nan", 224
    write(tmp_path / "bad.csv", cells)
    ran = bitfront(tmp_path, "fit", "--space", "digits", "--csv", "bad.csv")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[:3] == [
        "error: bad.csv can not be used (nothing was):",
        "  line 3: top1 is missing",
        "  line 6: gene 'resolution' is '224', but must be one of 6, 8, 12",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("eval", "mine.predictor.safetensors", "--space", "fashion", "--csv", "mine.csv"), "genes that differ: "),
        (("eval", "mine.csv", "--space", "digits", "--csv", "mine.csv"), "mine.csv is not a bitfront tensor file"),
        (("fit", "--space", "digits", "--csv", "mine.csv", "--metric", "top5"), "'top5': did you mean 'top1'?"),
        (("fit", "--space", "digits", "--csv", "mine.csv", "--option", "epoch=3"), "did you mean 'epochs'?"),
    ],
)
def test_what_can_not_be_is_one_error(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    ran = bitfront(folder, *arguments)
    assert (ran.returncode, ran.stdout) == (1, "")
    (line,) = ran.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
