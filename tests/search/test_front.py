from __future__ import annotations

import numpy as np
import pytest

from bitfront.search.front import Front
from bitfront.search.problem import InvalidObjectivesError
from bitfront.supernet.errors import UnknownNameError

NAN = np.nan


@pytest.fixture
def front() -> Front:
    """Three candidates, given in another order than that of their top1."""
    return Front.of(
        ("top1", "latency_ms"),
        np.arange(6, dtype=np.uint8).reshape(3, 2),
        {
            "top1": np.array([0.8, 0.9, 0.7]),
            "latency_ms": np.array([2.0, 3.0, 1.0]),
            "size_bytes": np.array([20.0, 30.0, 10.0]),
        },
        ids=np.array([10, 11, 12]),
    )


def test_is_sorted_by_its_objectives(front: Front) -> None:
    assert front.ids.tolist() == [11, 10, 12]
    np.testing.assert_allclose(front.F, [[0.1, 3.0], [0.2, 2.0], [0.3, 1.0]])
    assert front.genomes.tolist() == [[2, 3], [0, 1], [4, 5]]
    assert front.objectives == ("top1", "latency_ms")


def test_predicted_and_measured_stand_side_by_side(front: Front) -> None:
    measured = front.with_measured({"top1": np.array([0.85, NAN, 0.72]), "latency_ms": np.array([3.5, 2.2, NAN])})
    candidates = list(measured)
    assert [c.id for c in candidates] == [11, 10, 12]
    assert candidates[0].predicted == {"top1": 0.9, "latency_ms": 3.0, "size_bytes": 30.0}
    assert candidates[0].measured == {"top1": 0.85, "latency_ms": 3.5, "size_bytes": None}
    assert candidates[1].measured == {"top1": None, "latency_ms": 2.2, "size_bytes": None}
    assert measured.best_known["top1"].tolist() == [0.85, 0.8, 0.72]
    assert measured.is_measured.tolist() == [True, False, False]
    assert all(c.measured == dict.fromkeys(c.predicted) for c in front)


def test_a_measurement_shows_who_is_dominated(front: Front) -> None:
    assert not front.dominated.any()
    worse = front.with_measured({"top1": np.array([0.79, 0.8, 0.7])})
    assert worse.is_measured.all()
    assert worse.dominated.tolist() == [True, False, False]
    assert [c.dominated for c in worse] == [True, False, False]


def test_a_prediction_does_not_beat_a_measurement(front: Front) -> None:
    """The candidate of 3 ms is predicted at 0.9, but it was not measured: it says nothing about the others."""
    partly = front.with_measured({"latency_ms": np.array([0.5, NAN, NAN]), "top1": np.array([0.6, NAN, NAN])})
    assert partly.dominated.tolist() == [False, False, False]
    both = front.with_measured({"latency_ms": np.array([0.5, 2.0, NAN]), "top1": np.array([0.85, 0.8, NAN])})
    assert both.dominated.tolist() == [False, True, False]


def test_queries_speak_of_the_best_known_values(front: Front) -> None:
    measured = front.with_measured({"top1": np.array([0.79, NAN, NAN])})
    assert measured.query("top1 >= 0.8").ids.tolist() == [10]
    assert measured.query("predicted_top1 >= 0.8").ids.tolist() == [11, 10]
    assert measured.query("measured_top1 > 0").ids.tolist() == [11]
    assert measured.query("latency_ms <= 2 and size_bytes < 15").ids.tolist() == [12]
    assert measured.query("not dominated and top1 > 2").ids.tolist() == []
    assert len(measured.query("top1 > 2").query("latency_ms < 1")) == 0
    with pytest.raises(UnknownNameError, match="did you mean 'latency_ms'"):
        front.query("latency <= 2")
    with pytest.raises(UnknownNameError, match="measured_top1"):
        front.query("measured_top1 > 0")


def test_to_pandas(front: Front) -> None:
    frame = front.with_measured({"top1": np.array([0.79, NAN, 0.7])}).to_pandas()
    assert frame["id"].tolist() == [11, 10, 12]
    assert frame["top1"].tolist() == [0.79, 0.8, 0.7]
    assert frame["predicted_top1"].tolist() == [0.9, 0.8, 0.7]
    assert frame["measured_top1"].isna().tolist() == [False, True, False]
    assert frame["genome"].tolist() == [(2, 3), (0, 1), (4, 5)]
    assert frame["dominated"].dtype == bool
    assert front.take(np.empty(0, dtype=np.intp)).to_pandas().empty


def test_hypervolume_is_that_of_what_is_known(front: Front) -> None:
    reference = np.array([1.0, 4.0])
    assert front.hypervolume(reference) == pytest.approx(0.9 * 0.25 + 0.8 * 0.25 + 0.7 * 0.25)
    measured = front.with_measured({"top1": np.array([0.8, 0.8, 0.7])})
    assert measured.hypervolume(reference) == pytest.approx(0.8 * 0.5 + 0.7 * 0.25)


def test_spread_takes_the_extremes(front: Front) -> None:
    assert front.spread(2).tolist() == [0, 2]
    assert front.spread(5).tolist() == [0, 1, 2]


def test_refuses_what_does_not_fit() -> None:
    genomes, one = np.zeros((2, 3), dtype=np.uint8), np.ones(2)
    with pytest.raises(UnknownNameError, match="unknown metric 'speed'"):
        Front.of(("speed",), genomes, {"macs": one})
    with pytest.raises(InvalidObjectivesError, match="comes twice"):
        Front.of(("macs", "macs"), genomes, {"macs": one})
    with pytest.raises(ValueError, match="without a prediction"):
        Front.of(("macs", "top1"), genomes, {"macs": one})
    with pytest.raises(ValueError, match=r"macs of 2 candidates must have shape \(2,\), got \(3,\)"):
        Front.of(("macs",), genomes, {"macs": np.ones(3)})
    with pytest.raises(ValueError, match="measured macs of 2 candidates"):
        Front.of(("macs",), genomes, {"macs": one}).with_measured({"macs": np.ones(1)})
