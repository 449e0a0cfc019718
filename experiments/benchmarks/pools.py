"""Real pairs for benchmarks of predictors: candidates of a supernet, measured once and then found again.

They are kept in the home like an experiment's, by the supernet that they were measured with, so that other weights
mean other pairs, and an interrupted measurement goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from bitfront.experiments.reporter import Reporter
from bitfront.experiments.run import Run
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages.measuring import Wanted, measured_accuracy
from bitfront.experiments.stages.samples import draw, draw_float
from bitfront.experiments.stages.supernet import trained_supernet
from bitfront.experiments.store.home import home, open_store
from bitfront.experiments.store.statuses import Status
from bitfront.predictors.dataset import Pairs
from bitfront.supernet.assets import shipped
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace

_DATA = {"digits": "digits", "fashion": "fashion_mnist"}
_SPEC = "{{name: bench-pool-{name}, space: {name}, data: {data}, device: bitfusion, supernet: {supernet}}}"
_QUICK_TRAINING = "{warmup_epochs: 2, elastic_epochs: 6, quantized_epochs: 3}"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many pairs of each kind there are."""

    fp32: int
    fp32_held_out: int
    quantized: int
    quantized_held_out: int


FULL, QUICK = Sizes(1000, 300, 400, 300), Sizes(100, 50, 60, 60)


@dataclass(frozen=True, slots=True)
class Pool:
    """Pairs of one supernet, drawn as experiments draw their samples, with top-1 on the validation split."""

    space: SearchSpace
    fp32: Pairs
    fp32_held_out: Pairs
    quantized: Pairs
    quantized_held_out: Pairs


def pool(name: str, reporter: Reporter, quick: bool = False) -> Pool:
    """The pairs of ``digits`` or of ``fashion``, measured where they are not known yet.

    ``quick`` takes fewer of them, and a barely trained supernet of digits.

    Raises:
        MissingFileError: the data set, or the weights of fashion, which take hours to train, are not here.
    """
    with _running(name, reporter, quick) as run:
        run.stage("measuring pairs")
        return _measured(run, *trained_supernet(run, _space(run, name), run.dataset()), QUICK if quick else FULL)


def trained(name: str, reporter: Reporter, quick: bool = False) -> tuple[Supernet, Dataset]:
    """The supernet that `pool` measures, and its data.

    Raises:
        MissingFileError: as `pool`.
    """
    with _running(name, reporter, quick) as run:
        return trained_supernet(run, _space(run, name), run.dataset())[1], run.dataset()


@contextmanager
def _running(name: str, reporter: Reporter, quick: bool) -> Iterator[Run]:
    """An experiment of its own in the bench's home; it ends COMPLETED or FAILED."""
    training = _QUICK_TRAINING if quick and name == "digits" else "{}"
    spec = parse_spec(_SPEC.format(name=name, data=_DATA[name], supernet=training))
    folder = home() / "bench"  # apart from people's experiments
    with open_store(folder) as store:
        experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        store.claim(experiment.id)
        run = Run(store, folder, experiment.id, spec, reporter)
        try:
            with closing(run):
                yield run
        except BaseException as error:
            store.set_status(experiment.id, Status.FAILED, f"{type(error).__name__}: {error}")
            raise
        store.set_status(experiment.id, Status.COMPLETED)


def _space(run: Run, name: str) -> SearchSpace:
    space = run.space()
    if name == "fashion" and shipped(space.hash(), run.dataset().hash) is None:
        raise MissingFileError(
            "no weights of fashion on fashion_mnist come with this bitfront: "
            "train experiments/recipes/fashion.yaml"
        )
    return space


def _measured(run: Run, supernet_id: str, supernet: Supernet, sizes: Sizes) -> Pool:
    space = supernet.space
    real = draw_float(space, sizes.fp32 + sizes.fp32_held_out, run.rng("fp32 samples"))
    quantized = draw(space, sizes.quantized + sizes.quantized_held_out, run.rng("quantized samples"))
    wanted = [Wanted(real, "validation", "fp32"), Wanted(quantized, "validation", "quantized")]
    top1 = measured_accuracy(run, supernet_id, supernet, wanted, "measuring pairs")
    parts = [Pairs(genomes, accuracy) for genomes, accuracy in zip((real, quantized), top1, strict=True)]
    return Pool(space, *_cut(parts[0], sizes.fp32_held_out), *_cut(parts[1], sizes.quantized_held_out))


def _cut(pairs: Pairs, held_out: int) -> Iterator[Pairs]:
    """The last ones drawn are held out."""
    n = len(pairs) - held_out
    yield Pairs(pairs.genomes[:n], pairs.accuracy[:n])
    yield Pairs(pairs.genomes[n:], pairs.accuracy[n:])
