"""The seven stages on a page. Read this first.

Every stage leaves what it made in the store or in a file before the next one begins, and looks there first: an
experiment that was killed at any moment goes on from where it was, with the same numbers.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from bitfront.experiments.concluding import concluded
from bitfront.experiments.places import log_path
from bitfront.experiments.reporter import LogReporter, Reporter, Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.stages.exporting import export_picked
from bitfront.experiments.stages.measured_front import measure_front
from bitfront.experiments.stages.plotting import write_plots
from bitfront.experiments.stages.predicting import fitted_predictor
from bitfront.experiments.stages.samples import collected_samples
from bitfront.experiments.stages.searching import measuring, predicting, searched_front
from bitfront.experiments.stages.supernet import trained_supernet
from bitfront.experiments.stages.tables import compiled_costs, searched_space
from bitfront.experiments.stages.uploaded import uploaded_predictor
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment
from bitfront.search.executors.local import one_thread


def run_stages(run: Run) -> None:
    """From a spec to exported models."""
    run.stage("1 space")
    space, dataset, devices = run.space(), run.dataset(), run.devices()
    searched = searched_space(run, space, devices)
    run.reporter.say(f"{space.name}: {float(space.size()):.3g} networks, {float(searched.size()):.3g} searched")

    run.stage("2 supernet")
    supernet_id, supernet = trained_supernet(run, space, dataset)

    if run.spec.search.accuracy == "measured":
        run.stage("4 device table")
        costs = compiled_costs(run, devices, space)
        problem = measuring(run, searched, supernet_id, supernet, costs)
    elif run.spec.predictor.uploaded is not None:
        run.stage("4 predictor and device table")
        predictor = uploaded_predictor(run, supernet_id, space)
        problem = predicting(run, searched, predictor, compiled_costs(run, devices, space))
    else:
        run.stage("3 measured samples")
        samples = collected_samples(run, supernet_id, supernet)
        run.stage("4 predictor and device table")
        predictor = fitted_predictor(run, supernet_id, space, samples)
        problem = predicting(run, searched, predictor, compiled_costs(run, devices, space))

    run.stage("5 search")
    front = searched_front(run, problem)

    run.stage("6 measured front")
    measure_front(run, front, supernet_id, supernet, devices)
    write_plots(run)

    run.stage("7 export")
    export_picked(run)


def run_experiment(store: Store, home: Path, experiment_id: str, reporter: Reporter) -> None:
    """Claim a QUEUED experiment, run it, and leave it COMPLETED, CANCELLED, INTERRUPTED or FAILED with a reason.

    Raises:
        StatusError: it is not QUEUED.
        BitfrontError: what made it fail, after that was stored.
        KeyboardInterrupt: it was interrupted, after that was stored.
    """
    experiment = store.claim(experiment_id)
    with concluded(store, experiment_id, LogReporter(log_path(home, experiment_id))):
        run_claimed(store, home, experiment, reporter)


def run_claimed(store: Store, home: Path, experiment: Experiment, reporter: Reporter) -> None:
    """Run an experiment that this process holds; how it ends is told by `concluding`."""
    log = LogReporter(log_path(home, experiment.id))
    run = Run(
        store, home, experiment.id, spec_from(experiment.spec, home=home, is_stored=True), Reporters(reporter, log)
    )
    # Torch's threads wait for each other at every operator: on shared cores two are slower than one.
    with one_thread(), closing(run):
        run_stages(run)
