"""True evaluations for benchmarks of searches: a supernet's candidates, each measured once and then found again.

They are kept in the home like an experiment's, by the supernet that they were measured with, so that a benchmark
that is run again, or goes on after an interruption, looks up what it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.reporter import Reporter
from bitfront.experiments.run import Run
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages.measuring import Wanted, measured_accuracy
from bitfront.experiments.stages.supernet import trained_supernet
from bitfront.experiments.stages.tables import compiled_costs
from bitfront.experiments.store.home import home, open_store
from bitfront.experiments.store.records import Split
from bitfront.experiments.store.statuses import Status
from bitfront.latency_lut.cost_model import CostModel
from bitfront.search.devices import restrict_to_all
from bitfront.search.executors.local import one_thread
from bitfront.search.problem import Problem
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace

_SPEC = "{{name: bench-search-digits, space: digits, data: digits, device: bitfusion, supernet: {supernet}}}"
_QUICK_TRAINING = "{warmup_epochs: 2, elastic_epochs: 6, quantized_epochs: 3}"
_OBJECTIVES = ("top1", "latency_ms")


@dataclass(frozen=True)
class TrueEvaluations:
    """Candidates of one supernet on one device: accuracy is measured, costs are the device's."""

    space: SearchSpace
    costs: CostModel
    run: Run
    supernet_id: str
    supernet: Supernet

    def top1(self, genomes: Genomes, split: Split) -> NDArray[np.float64]:
        """Accuracy (n,) of canonical genomes (n, n_genes) on a whole split."""
        wanted = Wanted(genomes, split, "quantized")
        label = f"measuring on the {split} split"
        return measured_accuracy(self.run, self.supernet_id, self.supernet, [wanted], label)[0]

    def problem(self, objectives: Sequence[str] = _OBJECTIVES) -> Problem:
        """Each `predict` measures on the validation split; the test split is for what a search found."""
        return Problem(self.space, objectives, lambda genomes: self.top1(genomes, "validation"), self.costs.cost)


@contextmanager
def true_evaluations(reporter: Reporter, quick: bool = False) -> Iterator[TrueEvaluations]:
    """Those of digits on a modelled accelerator whose latency depends on bits; ``quick``: barely trained."""
    spec = parse_spec(_SPEC.format(supernet=_QUICK_TRAINING if quick else "{}"))
    folder = home() / "bench"  # apart from people's experiments
    with one_thread(), open_store(folder) as store:
        experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        store.claim(experiment.id)
        run = Run(store, folder, experiment.id, spec, reporter)
        try:
            with closing(run):
                run.stage("searching with true evaluations")
                yield _ready(run)
        except BaseException as error:
            store.set_status(experiment.id, Status.FAILED, f"{type(error).__name__}: {error}")
            raise
        store.set_status(experiment.id, Status.COMPLETED)


def _ready(run: Run) -> TrueEvaluations:
    space, devices = run.space(), run.devices()
    supernet_id, supernet = trained_supernet(run, space, run.dataset())
    (costs,) = compiled_costs(run, devices, space).values()
    return TrueEvaluations(restrict_to_all(space, devices), costs, run, supernet_id, supernet)
