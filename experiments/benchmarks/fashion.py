"""What the shipped Fashion-MNIST supernet is worth, on the test split: in real numbers, quantized, and against
networks of the same shape trained from scratch.

From scratch each network has as many epochs of its own as the supernet had, and its batch size, rate and
augmentation: hours on one core. So what they reached is recorded (`recorded`): a record comes with bitfront, and
what is trained here is added to one in the home, from where an interrupted bench also goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from bitfront.experiments.benchmarks.inheritance_plot import inheritance_figure
from bitfront.experiments.benchmarks.recorded import SHIPPED, Recorded
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.scratch import alone, from_scratch
from bitfront.experiments.machine import this_machine, versions
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.store.home import home
from bitfront.search.executors.local import one_thread
from bitfront.supernet.assets import shipped
from bitfront.supernet.data import load_dataset
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.fashion import fashion
from bitfront.supernet.training import TrainingSettings
from bitfront.supernet.training.sampling import real
from bitfront.supernet.training.trained import load_weights

_QUICK_EPOCHS = 1
_NETWORKS, _QUICK_NETWORKS = 10, 3
_CALIBRATION_IMAGES = 1024
_UNIFORM = {"w8a8": "int8", "w6a6": "int6", "w4a4": "int4"}
_GOALS = (
    "largest_top1 >= 0.925",
    "smallest_top1 >= 0.89",
    "largest_w8a8_lost <= 0.003",
    "largest_w4a4_lost <= 0.02",
    "mean_inheritance_gap <= 0.015",
    "inheritance_kendall_tau >= 0.6",
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Setup:
    supernet: Supernet
    training: dict[str, Any]
    dataset: Dataset
    genomes: Genomes


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Networks are drawn by seed 0; each is trained from scratch once per seed, and its accuracy averaged."""
    with one_thread():
        setup = _setup(_QUICK_NETWORKS if quick else _NETWORKS, reporter)
        figures = _accuracies(setup, reporter)
        inherited = _top1(setup.supernet, setup.dataset, setup.genomes, reporter)
        epochs = _QUICK_EPOCHS if quick else TrainingSettings(**setup.training).epochs
        scratch = _from_scratch(setup, alone(setup.training, epochs), seeds, reporter)
    figures |= {
        "mean_inheritance_gap": float((scratch - inherited).mean()),
        "largest_inheritance_gap": float((scratch - inherited).max()),
        "inheritance_kendall_tau": float(kendalltau(inherited, scratch).statistic),
        "mean_inherited_top1": float(inherited.mean()),
        "mean_scratch_top1": float(scratch.mean()),
    }
    return BenchResult.of(
        "fashion", seeds, figures, _GOALS, {"inheritance": inheritance_figure(inherited, scratch)}
    )


def _setup(networks: int, reporter: Reporter) -> _Setup:
    space, dataset = fashion(), load_dataset("fashion_mnist", reporter.progress("decoding images"))
    folder = shipped(space.hash(), dataset.hash)
    if folder is None:
        raise MissingFileError(
            "no weights of fashion on fashion_mnist come with this bitfront: "
            "train experiments/recipes/fashion.yaml"
        )
    supernet = Supernet(space)
    training = load_weights(supernet, folder)["training"]
    genomes = real(space, space.sample(networks, np.random.default_rng(0), "sizes"))
    return _Setup(supernet, training, dataset, genomes)


def _accuracies(setup: _Setup, reporter: Reporter) -> dict[str, float]:
    """Smallest and largest network on the test split, in fp32 and with one format throughout."""
    ends = setup.supernet.space.extremes()
    policies = {"top1": real(setup.supernet.space, ends)}
    policies |= {name: _uniform(setup.supernet.space, ends, format_name) for name, format_name in _UNIFORM.items()}
    found = _top1(setup.supernet, setup.dataset, np.concatenate(list(policies.values())), reporter)
    figures: dict[str, float] = {}
    for name, (smallest, largest) in zip(policies, found.reshape(-1, 2), strict=True):
        figures |= {f"smallest_{name}": float(smallest), f"largest_{name}": float(largest)}
    for name in _UNIFORM:
        for end in ("smallest", "largest"):
            figures[f"{end}_{name}_lost"] = figures[f"{end}_top1"] - figures[f"{end}_{name}"]
    return figures


def _uniform(space: SearchSpace, genomes: Genomes, format_name: str) -> Genomes:
    """One format for weights and activations throughout; int8 in stem and head, which have none below."""
    integer = space.assign(genomes, {"weight_format": "int8", "activation_format": "int8"})
    return space.assign(integer, {"weight_format": format_name, "activation_format": format_name})


def _top1(supernet: Supernet, dataset: Dataset, genomes: Genomes, reporter: Reporter) -> Floats:
    evaluator = Evaluator(supernet, dataset, _CALIBRATION_IMAGES)
    measured = evaluator.evaluate(genomes, "test", reporter.progress("measuring on the test split"))
    return np.array([one.top1 for one in measured])


def _from_scratch(setup: _Setup, settings: TrainingSettings, seeds: int, reporter: Reporter) -> Floats:
    """Mean test accuracy over the seeds, one per network."""
    folder = home() / "bench" / "fashion"
    recorded = Recorded.of(_about(setup, settings), folder, SHIPPED)
    found = np.zeros((seeds, len(setup.genomes)))
    known = 0
    for seed in range(seeds):
        for i, genome in enumerate(setup.genomes):
            top1 = recorded.top1(genome, seed)
            known += top1 is not None
            if top1 is None:
                label = f"network {i + 1} of {len(setup.genomes)} from scratch, seed {seed}"
                top1 = _trained(setup, genome, settings, seed, folder, reporter, label)
                recorded.add(genome, seed, top1, {"machine": this_machine().to_json(), "versions": versions()})
                recorded.write(folder)
            found[seed, i] = top1
    if known:
        reporter.say(
            f"{known} of {found.size} networks from scratch were recorded before, in {folder} or {SHIPPED}"
        )
    means: Floats = found.mean(0)
    return means


def _about(setup: _Setup, settings: TrainingSettings) -> dict[str, Any]:
    """All that decides what a network reaches, but its genome and seed."""
    return {
        "space": setup.supernet.space.hash(),
        "data": setup.dataset.hash,
        "augmentation": asdict(setup.dataset.augmentation),
        "settings": asdict(settings),
    }


def _trained(
    setup: _Setup,
    genome: NDArray[np.uint8],
    settings: TrainingSettings,
    seed: int,
    folder: Path,
    reporter: Reporter,
    label: str,
) -> float:
    """Test accuracy of one network."""
    kept = folder / f"{genome.tobytes().hex()}-{settings.epochs}-epochs-seed-{seed}"
    progress = reporter.progress(label)
    network = from_scratch(setup.supernet.space, genome, setup.dataset, settings, seed, kept, progress)
    return float(_top1(network, setup.dataset, genome[None], reporter)[0])
