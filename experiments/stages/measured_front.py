"""Stage 6: what the front promises, measured: accuracy on data, latency where the device is at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bitfront.experiments.networks import ONE, networks_of, policy_owners
from bitfront.experiments.rows import read_front
from bitfront.experiments.run import Run
from bitfront.experiments.stages.devices_at_hand import measured
from bitfront.experiments.stages.measuring import Wanted, measured_accuracy
from bitfront.experiments.store.records import FrontMember, Measurement, Split
from bitfront.latency_lut.device import Device, MeasuringDevice
from bitfront.search.constraints import qualified
from bitfront.search.front import Front
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet


def measure_front(
    run: Run, front: Front, supernet_id: str, supernet: Supernet, devices: Mapping[str, Device]
) -> None:
    """Choose members spread over the predicted front, measure them, and mark those that others dominate.

    ``devices``: by their names in the spec.
    """
    if not run.store.front(run.experiment_id):
        chosen = front.ids[front.spread(run.spec.front.measure)]
        run.store.add_front_members(run.experiment_id, [int(i) for i in chosen], run.owner)
    members = run.store.front(run.experiment_id)
    networks = _networks(run, supernet, members)
    _measure_accuracy(run, members, networks, supernet_id, supernet)
    for name, device in devices.items():
        if isinstance(device, MeasuringDevice):
            _measure_latency(run, supernet, name, device)
    _mark_dominated(run)


def _networks(run: Run, supernet: Supernet, members: Sequence[FrontMember]) -> dict[str, Genomes]:
    genomes = np.stack([member.candidate.array for member in members])
    return networks_of(supernet.space, policy_owners(run.spec.as_json()), genomes)


def _measure_accuracy(
    run: Run,
    members: Sequence[FrontMember],
    networks: Mapping[str, Genomes],
    supernet_id: str,
    supernet: Supernet,
) -> None:
    splits: tuple[Split, ...] = ("validation", "test")
    found = measured_accuracy(
        run,
        supernet_id,
        supernet,
        [Wanted(genomes, split, "quantized") for genomes in networks.values() for split in splits],
        "measuring the front on validation and test data",
    )
    for owner, valid, test in zip(networks, found[::2], found[1::2], strict=True):
        run.store.measure_front_members(
            run.experiment_id,
            [
                _accuracy(member.candidate.id, owner, float(one), float(other))
                for member, one, other in zip(members, valid, test, strict=True)
            ],
            run.owner,
        )


def _accuracy(candidate_id: int, owner: str, valid: float, test: float) -> Measurement:
    if owner == ONE:
        return Measurement(candidate_id, valid, test)
    return Measurement(candidate_id, by_device={f"top1@{owner}": valid, f"top1_test@{owner}": test})


def _measure_latency(run: Run, supernet: Supernet, name: str, device: MeasuringDevice) -> None:
    metric = None if run.spec.device else qualified("latency_ms", name)
    missing = [
        member
        for member in run.store.front(run.experiment_id)
        if (metric not in member.by_device if metric else member.latency_ms is None)
    ]
    if not missing:
        return
    evaluator = Evaluator(supernet, run.dataset(), run.spec.supernet.calibration_images)
    by_owner = _networks(run, supernet, missing)
    genomes = by_owner[name if name in by_owner else ONE]
    networks = []
    progress = run.progress(f"building {len(missing)} networks for {name}")
    for number, genome in enumerate(genomes):
        networks.append(evaluator.subnet(supernet.space.blocks(genome)).fold())
        progress(number + 1, len(missing))
    latencies = measured(run, name, device, networks, run.rng(f"front {metric or 'latency'}"))
    run.store.measure_front_members(
        run.experiment_id,
        [
            Measurement(member.candidate.id, by_device={metric: float(latency)})
            if metric
            else Measurement(member.candidate.id, latency_ms=float(latency))
            for member, latency in zip(missing, latencies, strict=True)
        ],
        run.owner,
    )


def _mark_dominated(run: Run) -> None:
    front = read_front(run.store, run.experiment_id)
    run.store.measure_front_members(
        run.experiment_id,
        [
            Measurement(int(candidate), dominated=bool(dominated))
            for candidate, dominated in zip(front.ids, front.dominated, strict=True)
        ],
        run.owner,
    )
