"""What is paid once for all devices: the supernet, the samples and the predictor."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bitfront.experiments.benchmarks.spending import Meter, Spent
from bitfront.experiments.pace import duration
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.run import Run
from bitfront.experiments.spec import Spec
from bitfront.experiments.stages.predicting import fitted_predictor
from bitfront.experiments.stages.samples import collected_samples
from bitfront.experiments.stages.supernet import trained_supernet
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.statuses import Status
from bitfront.search.executors.local import one_thread


@dataclass(frozen=True)
class Once:
    """What each of them cost in this run.

    ``training_seconds`` is how long the supernet's training took by its own record, on whatever machine that was.
    """

    supernet: Spent
    samples: Spent
    predictor: Spent
    training_seconds: float

    @property
    def trained_here(self) -> bool:
        """Whether the training was paid in this run: else getting the supernet took less than training it did."""
        return self.supernet.seconds >= self.training_seconds

    @property
    def words(self) -> str:
        """Who paid for the supernet."""
        if self.trained_here:
            return f"The supernet was trained in this run, in {duration(self.training_seconds)}."
        return (
            f"The supernet was trained before, in {duration(self.training_seconds)} by its own record: that was "
            "not paid in this run."
        )

    def figures(self) -> dict[str, float]:
        """By name."""
        parts = {"supernet": self.supernet, "samples": self.samples, "predictor": self.predictor}
        figures = {
            "once_training_recorded_seconds": self.training_seconds,
            "once_training_in_this_run": float(self.trained_here),
        }
        for name, spent in parts.items():
            figures |= {
                f"once_{name}_seconds": spent.seconds,
                f"once_{name}_cpu_seconds": spent.cpu_seconds,
                f"once_{name}_joules": spent.joules,
            }
        return figures


def paid_once(folder: Path, store: Store, spec: Spec, meter: Meter, reporter: Reporter) -> Once:
    """Make in a home what its experiments have in common; the data set is read along with the supernet."""
    experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
    store.claim(experiment.id)
    run = Run(store, folder, experiment.id, spec, reporter)
    with one_thread(), closing(run):
        run.stage("what is paid once")
        begun = meter.read()
        supernet_id, supernet = trained_supernet(run, run.space(), run.dataset())
        made = meter.since(begun)
        begun = meter.read()
        samples = collected_samples(run, supernet_id, supernet)
        sampled = meter.since(begun)
        begun = meter.read()
        fitted_predictor(run, supernet_id, supernet.space, samples)
        fitted = meter.since(begun)
    store.set_status(experiment.id, Status.COMPLETED)
    record = store.supernet(supernet_id)
    assert record is not None
    return Once(made, sampled, fitted, sum(float(epoch["seconds"]) for epoch in record.metrics["history"]))
