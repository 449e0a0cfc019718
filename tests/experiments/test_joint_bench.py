"""When a gain of joint search counts, and which test images networks are right about."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.experiments.benchmarks import joint
from bitfront.experiments.benchmarks.joint import Compared
from bitfront.experiments.benchmarks.right_answers import right_answers
from bitfront.experiments.reporter import Reporters
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace

N = 1000

Rights = NDArray[np.bool_]


def compared(ours: Rights, theirs: Rights) -> Compared:
    """One point; which images (n_seeds, n_images) are named rightly."""
    names = {"joint": ours, "sequential": theirs}
    return Compared(
        np.array([1.0]),
        {name: right.mean(axis=1)[:, None] for name, right in names.items()},
        {name: right.mean(axis=0)[None] for name, right in names.items()},
    )


def right_about(*images: range, seeds: int = 1) -> Rights:
    """Rows (n_seeds, N), all the same."""
    right = np.zeros(N, np.bool_)
    for each in images:
        right[each] = True
    return np.tile(right, (seeds, 1))


class TestGain:
    def test_one_image_is_none_however_often_it_is_found(self) -> None:
        found = compared(right_about(range(901), seeds=5), right_about(range(900), seeds=5))
        assert found.gain.mean() == pytest.approx(0.001)
        assert found.points_where_joint_is_better == 0

    def test_it_is_held_against_the_images_on_which_the_two_differ(self) -> None:
        theirs = right_about(range(900), seeds=5)
        alike = compared(right_about(range(920), seeds=5), theirs)
        others = compared(right_about(range(100, 900), range(880, N), seeds=5), theirs)
        assert alike.gain.mean() == pytest.approx(others.gain.mean() + 0.02)
        assert alike.half_over_images[0] == pytest.approx(1.96 * np.sqrt(0.02 * 0.98 / N), rel=1e-2)
        assert others.half_over_images[0] == pytest.approx(1.96 * np.sqrt(0.2 / N), rel=1e-2)
        assert alike.points_where_joint_is_better == 1
        assert others.points_where_joint_is_better == 0

    def test_it_is_held_against_the_seeds(self) -> None:
        theirs = right_about(range(500), seeds=2)
        one, other = right_about(range(500)), right_about(range(540))
        assert compared(np.concatenate([one, other]), theirs).points_where_joint_is_better == 0
        assert compared(np.concatenate([other, other]), theirs).points_where_joint_is_better == 1

    def test_figures_tell_both_intervals(self) -> None:
        figures = joint._figures("a", compared(right_about(range(920), seeds=2), right_about(range(900), seeds=2)))
        assert figures["a_joint_gain_1_half_interval"] == pytest.approx(0.0, abs=1e-12)
        assert figures["a_joint_gain_1_over_images_half_interval"] > 0
        assert figures["a_points_where_joint_is_better"] == 1.0


def test_right_answers_add_up_to_the_accuracy(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    evaluator = Evaluator(Supernet(tiny_space), tiny_data, 32)
    genomes = tiny_space.sample(4, np.random.default_rng(0))
    told: list[tuple[int, int]] = []
    right = right_answers(evaluator, genomes, "test", lambda done, total: told.append((done, total)))
    assert right.shape == (4, len(tiny_data.test))
    top1 = [one.top1 for one in evaluator.evaluate(genomes, "test")]
    np.testing.assert_allclose(right.mean(axis=1), top1, atol=1.5 / len(tiny_data.test))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_each_seed_and_point_has_the_answers_of_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Network i is right about image i alone."""
    asked: list[list[int]] = []

    def right(evaluator: Any, genomes: NDArray[np.uint8], split: str, progress: Any) -> Rights:
        asked.append(genomes[:, 0].tolist())
        return np.eye(4, dtype=np.bool_)[genomes[:, 0]]

    monkeypatch.setattr(joint, "right_answers", right)
    studied: Any = SimpleNamespace(ground=SimpleNamespace(evaluator=None))
    ours, theirs = np.array([[[3], [0]], [[3], [1]]], np.uint8), np.array([[[0], [0]], [[1], [2]]], np.uint8)
    found = joint._right(studied, {"joint": ours, "sequential": theirs}, Reporters())
    np.testing.assert_array_equal(found["joint"], [[0, 0, 0, 1], [0.5, 0.5, 0, 0]])
    np.testing.assert_array_equal(found["sequential"], [[0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0]])
    assert asked == [[0, 1, 2, 3]], "each is asked once"
