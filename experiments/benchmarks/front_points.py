"""Members of a measured front, found by an experiment of a benchmark's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitfront.experiments.pipeline import run_experiment
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.rows import read_front
from bitfront.experiments.run import Run
from bitfront.experiments.spec import Spec
from bitfront.experiments.stages.supernet import supernet_folder
from bitfront.experiments.store.home import home, open_store
from bitfront.latency_lut.device import Device
from bitfront.search.front import Front
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.training.trained import load_weights

_ENDS = ("stem", "head")
"""Formats of their own are allowed there."""


@dataclass(frozen=True)
class FrontPoints:
    """Points of the front of an experiment with one device, and what makes networks of them.

    Attributes:
        front: the points, by their predicted objectives.
        evaluator: of the supernet that they are from.
        device: what they were searched for.
    """

    front: Front
    evaluator: Evaluator
    device: Device


def front_points(spec: Spec, most: int, reporter: Reporter) -> FrontPoints:
    """Run ``spec``, which has one device, in the home; up to ``most`` members of mixed policies of its front.

    They are spread over it. Samples and tables that an earlier run of the benchmark measured are found again; the
    search and the front's measurements are made anew.
    """
    folder = home() / "bench"  # apart from people's experiments
    with open_store(folder) as store:
        one = store.create_experiment(spec.name, spec.as_json(), spec.seed).id
        run_experiment(store, folder, one, reporter)
        run, supernet_id = Run(store, folder, one, spec, reporter), store.get(one).supernet_id
        assert supernet_id is not None
        supernet = Supernet(run.space())
        load_weights(supernet, supernet_folder(folder, supernet_id))
        front = mixed(read_front(store, one), supernet.space)
    evaluator = Evaluator(supernet, run.dataset(), spec.supernet.calibration_images)
    (device,) = run.devices().values()
    return FrontPoints(front.take(front.spread(most)), evaluator, device)


def mixed(front: Front, space: SearchSpace) -> Front:
    """Those members whose layers between stem and head do not all have the same formats.

    Raises:
        NumericalError: there are none, so that nothing of mixed policies can be looked at.
    """
    formats = [
        {
            (layer.weight_format, layer.activation_format)
            for layer in space.layers(genome)
            if layer.name.partition(".")[0] not in _ENDS
        }
        for genome in front.genomes
    ]
    found = front.take(np.array([len(each) > 1 for each in formats], dtype=np.bool_))
    if not len(found):
        raise NumericalError(
            f"none of the {len(front)} members of the front has layers of different formats: search for longer, "
            "or for a device that executes several"
        )
    return found
