"""The picture of a predictor, and its metrics in words."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bitfront.experiments.metric_words import metric_line, metric_lines
from bitfront.experiments.plot_predictor import PredictorPicture, predictor_figure_png, write_predictor_plot
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.fitting import Judgement
from bitfront.predictors.metrics import judged
from bitfront.predictors.predictor import Prediction
from bitfront.supernet.errors import StorageError

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def judgement(measured: list[float], mean: list[float], half: list[float] | float = 0.02) -> Judgement:
    truth = np.array(measured)
    said = Prediction(np.array(mean), np.broadcast_to(np.array(half), truth.shape).astype(float))
    return Judgement(Pairs(np.zeros((len(truth), 3), np.uint8), truth), said, judged(said, truth))


def picture(one: Judgement, title: str = "mlp, transferred") -> PredictorPicture:
    said = one.prediction
    return PredictorPicture(title, one.held_out.accuracy, said.mean, said.half_width, one.metrics)


def pixels(one: Judgement, title: str = "mlp, transferred") -> NDArray[np.int16]:
    image = Image.open(io.BytesIO(predictor_figure_png(picture(one, title))))
    assert image.format == "PNG"
    assert image.size == (1120, 1120)
    return np.asarray(image.convert("RGB")).astype(np.int16)


def marks(image: NDArray[np.int16], colour: tuple[int, int, int]) -> int:
    """Pixels of a colour, right of and below the legend."""
    part = image[250:, 400:]
    return int((np.abs(part - np.array(colour)).max(axis=2) <= 12).sum())


def test_intervals_that_miss_are_of_another_colour() -> None:
    measured = [0.5, 0.6, 0.7, 0.8, 0.9]
    held = pixels(judgement(measured, measured))
    assert marks(held, BLUE) > 50
    assert marks(held, ORANGE) == 0
    missed = pixels(judgement(measured, [0.45, 0.66, 0.75, 0.74, 0.85]))
    assert marks(missed, ORANGE) > 50
    assert marks(missed, BLUE) == 0


def test_a_long_interval_is_a_long_line() -> None:
    measured = [0.3, 0.5, 0.6, 0.7, 0.9]
    short, long = (
        pixels(judgement(measured, measured, [0.001, 0.001, half, 0.001, 0.001])) for half in (0.001, 0.3)
    )

    def tallest(image: NDArray[np.int16]) -> int:
        bluish = (image[:, :, 2] - image[:, :, 0] > 40)[150:1000, 450:900]
        return int(bluish.sum(axis=0).max())

    assert tallest(long) > tallest(short) + 300


@pytest.mark.parametrize(
    ("measured", "mean", "half"),
    [
        ([0.7, 0.7], [0.7, 0.7], 0.0),
        ([0.0, 1.0], [-0.2, 1.3], 0.5),
        ([0.1, 0.2], [0.1, 0.2], 1e3),
        (np.linspace(0.2, 0.9, 3000).tolist(), np.linspace(0.25, 0.85, 3000).tolist(), 0.1),
    ],
    ids=["one point", "beyond 0 and 1", "endless intervals", "many"],
)
def test_odd_input_is_drawn(measured: list[float], mean: list[float], half: float) -> None:
    image = pixels(judgement(measured, mean, half), "$\\alpha$ {odd} 名前")
    assert (np.abs(image - 255).max(axis=2) > 100).sum() > 1000


@pytest.mark.parametrize("title", ["my-board: " + "gradient_boosting " * 5, "fashion-" + "n" * 60])
def test_a_long_title_is_not_cut_off(title: str) -> None:
    ink = np.abs(pixels(judgement([0.5, 0.6], [0.5, 0.6]), title) - 255).max(axis=2) > 60
    assert ink[:60].any()
    assert not ink[:60, :8].any()
    assert not ink[:60, -8:].any()


def test_written_beside_what_is_there(tmp_path: Path) -> None:
    one = judgement([0.5, 0.6], [0.5, 0.7])
    write_predictor_plot(tmp_path / "new" / "p.png", "ridge", one)
    assert (tmp_path / "new" / "p.png").read_bytes() == predictor_figure_png(picture(one, "ridge"))
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"p\.png"):
        write_predictor_plot(tmp_path / "file" / "p.png", "ridge", one)


def test_every_metric_is_said_once() -> None:
    metrics = judgement([0.5, 0.6, 0.7, 0.8], [0.5, 0.7, 0.6, 0.81]).metrics
    assert dict(metric_lines(metrics)) == {
        "held-out pairs": "4",
        "Kendall tau": "0.667",
        "Spearman": "0.800",
        "pairwise accuracy": "0.833",
        "RMSE": "0.0709",
        "top-1 regret": "0.0000",
        "90% intervals": "hold 50.0%, plus or minus 0.0200",
    }


def test_older_records_lack_some() -> None:
    assert metric_line({"kendall_tau": 0.71, "from": "ab12"}) == "Kendall tau 0.710"
    assert metric_line({}) == ""
