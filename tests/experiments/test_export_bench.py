"""What the benchmark of exports compares: points of mixed policies, forms with their network, models."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from bitfront.experiments.benchmarks import export
from bitfront.experiments.benchmarks.export import summarised
from bitfront.experiments.benchmarks.exported_forms import Network, differing, run_in, run_in_integers
from bitfront.experiments.benchmarks.exported_latency import of_batch
from bitfront.experiments.benchmarks.front_points import mixed
from bitfront.experiments.results.claims_of_parts import EXPORT
from bitfront.search.front import Front
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.export.onnx_graph import INPUT, onnx_model
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.targets.base import ExportOptions, RuntimeName
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace


@pytest.fixture
def network(tiny_space: MBConvSpace, tiny_data: Dataset) -> Network:
    drawn = tiny_space.sample(1, np.random.default_rng(0))
    genome = tiny_space.assign(drawn, {"weight_format": "int8", "activation_format": "int8"})[0]
    return Network.of(Evaluator(Supernet(tiny_space), tiny_data, 32), genome, 1000.0, 10)


def with_another(genomes: Genomes, space: MBConvSpace, gene: str) -> Genomes:
    """The first genome, (1, n_genes), with the next choice of a gene."""
    other = genomes[:1].copy()
    place = next(i for i, each in enumerate(space.genes) if each.name == gene)
    other[0, place] = (other[0, place] + 1) % len(space.genes[place].choices)
    return space.canonical(other)


def front_of(genomes: Genomes) -> Front:
    return Front.of(("top1",), genomes, {"top1": np.arange(len(genomes), dtype=np.float64)})


def test_points_of_one_format_are_left_out(tiny_space: MBConvSpace) -> None:
    one = tiny_space.assign(tiny_space.extremes(), {"weight_format": "int8", "activation_format": "int8"})
    ends = [with_another(one, tiny_space, f"{end}.weight_format") for end in ("stem", "head")]
    other = with_another(one, tiny_space, "stage0.block0.pointwise.weight_format")
    found = mixed(front_of(np.concatenate([one, *ends, other])), tiny_space)
    np.testing.assert_array_equal(found.genomes, other)
    with pytest.raises(NumericalError, match="none of the 2 members of the front has layers of different formats"):
        mixed(front_of(one), tiny_space)


def test_a_form_that_answers_as_the_network_agrees_with_it(network: Network) -> None:
    assert network.images.shape[0] == len(network.labels) == len(network.answers) == 10
    logits = np.eye(network.folded.classes)[network.answers]
    assert network.compared("same", logits) == {"same_agreement": 1.0, "same_top1_difference": 0.0}


def test_a_form_that_answers_otherwise_does_not(network: Network) -> None:
    others = (network.answers + 1) % network.folded.classes
    found = network.compared("other", np.eye(network.folded.classes)[others])
    own, top1 = (np.mean(each == network.labels) for each in (network.answers, others))
    assert found == {"other_agreement": 0.0, "other_top1_difference": abs(top1 - own)}


def test_size_errors_are_shares_of_what_was_promised(network: Network) -> None:
    assert [network.size_error(size) for size in (900, 1000, 1200)] == pytest.approx([0.1, 0.0, 0.2])


def test_both_files_of_a_network_are_held_against_its_size(network: Network) -> None:
    runtimes: tuple[RuntimeName, ...] = ("onnxruntime", "openvino")
    row = {name: value for runtime in runtimes for name, value in run_in(runtime, network)[0].items()}
    for runtime in runtimes:
        files = TARGETS.get("onnx").files(network.folded, ExportOptions(runtime))
        told = TARGETS.get("onnx").described(network.folded, files)
        assert row[f"{runtime}_onnx_size_error"] == network.size_error(len(files["model.onnx"]))
        assert row[f"{runtime}_onnx_constants_error"] == network.size_error(told["size_bytes"])
        assert told["size_bytes"] < len(files["model.onnx"])


def test_the_worst_point_is_told() -> None:
    rows = [
        {"a_agreement": 0.9, "a_top1_difference": 0.01, "c_times_numpy": 60.0, "c_differs": 0.0},
        {"a_agreement": 0.7, "a_top1_difference": 0.03, "c_times_numpy": 40.0, "c_differs": 1.0},
    ]
    found = summarised("set", rows)
    assert found["set_points"] == 2
    assert (found["set_a_agreement_least"], found["set_a_top1_difference_most"]) == (0.7, 0.03)
    assert (found["set_c_times_numpy_least"], found["set_c_differs_most"]) == (40.0, 1.0)
    assert found["set_a_agreement_mean"] == pytest.approx(0.8)


def test_a_model_of_one_batch_is_the_same_model(network: Network) -> None:
    model = onnx_model(network.folded).SerializeToString()
    whole, fixed = (onnxruntime.InferenceSession(each) for each in (model, of_batch(model, 4)))
    assert fixed.get_inputs()[0].shape[0] == 4
    images = network.images[:4]
    np.testing.assert_array_equal(whole.run(None, {INPUT: images})[0], fixed.run(None, {INPUT: images})[0])


def test_every_form_is_run_and_every_goal_has_its_figure(network: Network) -> None:
    row = run_in_integers(network, 2)
    runtimes: tuple[RuntimeName, ...] = ("onnxruntime", "openvino")
    for runtime in runtimes:
        found, model = run_in(runtime, network)
        assert model == TARGETS.get("onnx").files(network.folded, ExportOptions(runtime))["model.onnx"]
        row |= found
    figures = summarised("bitfusion", [row, row])
    goals = [
        *export._GOALS,
        *(goal for name in export._LEAST_AGREEMENT for goal in export._model_goals("bitfusion", name)),
    ]
    assert {goal.split()[0] for goal in goals} <= set(figures)
    assert row["torch_differs"] == row["c_differs"] == row["c_bytes_differs"] == 0
    assert row["integer_agreement"] >= 0.8
    assert row["c_times_numpy"] > 1


@pytest.mark.parametrize("device", [export._MODELLED, *export._MEASURED])
def test_all_models_are_asked_the_same_size_and_a_reader_sees_labels(device: str) -> None:
    for runtime in export._LEAST_AGREEMENT:
        goals = export._model_goals(device.replace("-", "_"), runtime)
        bounds = {goal.partition("_onnx_")[2] for goal in goals if "_onnx_" in goal}
        assert bounds == {"size_error_most <= 0.05", "constants_error_most <= 0.05"}
        assert all(EXPORT.row(goal.split()[0]) for goal in goals)


def test_a_difference_is_counted_by_images() -> None:
    one = np.zeros((4, 10), np.int32)
    other = one.copy()
    other[1, 3:5] = 1
    assert differing(one, one) == 0
    assert differing(one, other) == 1
