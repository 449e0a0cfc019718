"""Phases: which choices are open in each, what is sorted when, who teaches."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.genes import Genomes
from bitfront.supernet.network import Supernet
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.bottleneck import BottleneckSpace
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import EpochReport, Phase, Trainer, TrainingSettings, phases_of
from bitfront.supernet.training.phases import opened
from bitfront.supernet.training.sampling import NetworkSampler

SANDWICH = TrainingSettings(
    warmup_epochs=1, elastic_epochs=1, quantized_epochs=1, batch_size=80, subnets_per_step=1
)
PROGRESSIVE = dataclasses.replace(
    SANDWICH, schedule="progressive", kernel_epochs=1, depth_epochs=2, expand_epochs=2
)
EVERYTHING = {"resolution": 1.0, "kernel": 1.0, "depth": 1.0, "width": 1.0}
# Phase to the share of choices of each kind of gene that are drawn from; the others stay at their largest.
OPEN: Mapping[str, Mapping[str, float]] = {
    "warmup": {"resolution": 1.0},
    "elastic": EVERYTHING,
    "kernel": {"resolution": 1.0, "kernel": 1.0},
    "depth-1": {"resolution": 1.0, "kernel": 1.0, "depth": 0.5},
    "depth-2": {"resolution": 1.0, "kernel": 1.0, "depth": 1.0},
    "expand-1": EVERYTHING | {"width": 0.5},
    "expand-2": EVERYTHING,
    "quantized": EVERYTHING,
}


@pytest.fixture(params=["tiny", "gated", "bottlenecks", "restricted"])
def space(
    request: pytest.FixtureRequest,
    tiny_space: MBConvSpace,
    gated_space: MBConvSpace,
    bottleneck_space: BottleneckSpace,
) -> SearchSpace:
    restricted = tiny_space.restrict({"stage0.block0.width": [4, 8], "stage1.depth": [2]})
    spaces: dict[str, SearchSpace] = {
        "tiny": tiny_space, "gated": gated_space, "bottlenecks": bottleneck_space, "restricted": restricted,
    }  # fmt: skip
    return spaces[request.param]


def phase(name: str, settings: TrainingSettings | None = None) -> Phase:
    settings = settings or (SANDWICH if name == "elastic" else PROGRESSIVE)
    return next(one for one in phases_of(settings) if one.name == name)


def drawn(space: SearchSpace, name: str, steps: int, subnets: int = 3) -> list[Genomes]:
    """The networks of some steps of a phase."""
    sampler = NetworkSampler(space, phase(name), subnets)
    return [sampler.draw(np.random.default_rng([7, step])) for step in range(steps)]


def random_ones(name: str, genomes: Genomes) -> Genomes:
    """Without the largest and the smallest of a sandwich."""
    return genomes[2:] if name in ("elastic", "quantized") else genomes


# -- the order of phases -----------------------------------------------------------------------------------


def test_phases_in_their_order() -> None:
    assert [one.name for one in phases_of(SANDWICH)] == ["warmup", "elastic", "quantized"]
    shrinking = ["kernel", "depth-1", "depth-2", "expand-1", "expand-2"]
    assert [one.name for one in phases_of(PROGRESSIVE)] == ["warmup", *shrinking, "quantized"]
    once = dataclasses.replace(PROGRESSIVE, depth_epochs=1, expand_epochs=1)
    assert [one.name for one in phases_of(once)] == ["warmup", "kernel", "depth-2", "expand-2", "quantized"]


EPOCHS = st.integers(0, 5)


@given(st.sampled_from(["sandwich", "progressive"]), st.tuples(*[EPOCHS] * 6))
def test_phases_have_all_epochs_and_no_others(schedule: str, epochs: tuple[int, ...]) -> None:
    names = ("warmup", "elastic", "quantized", "kernel", "depth", "expand")
    given_ = {f"{name}_epochs": n for name, n in zip(names, epochs, strict=True)}
    settings = TrainingSettings(schedule=schedule, **given_)  # type: ignore[arg-type]
    phases = phases_of(settings)
    assert all(one.epochs > 0 for one in phases)
    assert sum(one.epochs for one in phases) == settings.epochs
    for name in names:
        used = name in ("warmup", "quantized") or (name == "elastic") == (schedule == "sandwich")
        mine = sum(one.epochs for one in phases if one.name.partition("-")[0] == name)
        assert mine == (given_[f"{name}_epochs"] if used else 0)


# -- what is drawn -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPEN)
def test_what_is_drawn_is_open_and_the_rest_at_its_largest(space: SearchSpace, name: str) -> None:
    for step in drawn(space, name, 20):
        genomes = random_ones(name, step)
        assert space.valid(genomes).all()
        for genome in genomes:
            choices = space.decode(genome)
            for gene in space.genes:
                if gene.is_policy or gene.name not in choices:
                    continue
                allowed = space.allowed_choices(gene.name)
                share = OPEN[name].get(gene.kind)
                kept = 1 if share is None else max(2, math.ceil(share * len(allowed)))
                assert choices[gene.name] in allowed[-kept:], (gene.name, choices[gene.name])


@pytest.mark.parametrize("name", OPEN)
def test_everything_open_is_drawn(space: SearchSpace, name: str) -> None:
    """At least two choices of every gene that is open at all, or all that it has."""
    genomes = np.concatenate([random_ones(name, step) for step in drawn(space, name, 150)])
    active = space.active(genomes)
    for i, gene in enumerate(space.genes):
        share = OPEN[name].get(gene.kind)
        if share is not None:
            allowed = space.allowed_choices(gene.name)
            kept = allowed[-max(2, math.ceil(share * len(allowed))) :]
            assert {gene.choices[index] for index in genomes[active[:, i], i]} == set(kept), gene.name


@pytest.mark.parametrize("name", OPEN)
def test_formats_are_real_but_in_the_quantized_phase(space: SearchSpace, name: str) -> None:
    used = {
        choice
        for step in drawn(space, name, 40)
        for genome in random_ones(name, step)
        for gene, choice in space.decode(genome).items()
        if gene.endswith("_format")
    }
    assert used == ({"fp32", "int8", "int6", "int4"} if name == "quantized" else {"fp32"})


@pytest.mark.parametrize("name", ["kernel", "depth-1", "depth-2", "expand-1", "expand-2"])
@pytest.mark.parametrize("subnets", [0, 1, 4])
def test_progressive_steps_have_random_networks_alone(tiny_space: MBConvSpace, name: str, subnets: int) -> None:
    """Also where no random network is asked for: a step trains something."""
    (step,) = drawn(tiny_space, name, 1, subnets)
    assert len(step) == max(1, subnets)
    assert phase(name).frozen_teacher
    assert not phase(name).sandwich


def test_the_same_step_draws_the_same(tiny_space: MBConvSpace) -> None:
    for name in OPEN:
        for one, other in zip(drawn(tiny_space, name, 3), drawn(tiny_space, name, 3), strict=True):
            assert np.array_equal(one, other)


def test_a_gene_of_one_choice_stays_open_with_it(tiny_space: MBConvSpace) -> None:
    one = tiny_space.restrict({"resolution": [8], "stage0.depth": [1]})
    smaller = opened(one, phase("depth-1"))
    assert smaller.allowed_choices("resolution") == (8,)
    assert smaller.allowed_choices("stage0.depth") == (1,)


# -- channels ----------------------------------------------------------------------------------------------


class _Sorting(Supernet):
    """Keeps in which epoch channels were sorted."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        self.epoch, self.sorted_in = 1, list[int]()

    def sort_channels(self) -> None:
        self.sorted_in.append(self.epoch)
        super().sort_channels()

    def after(self, report: EpochReport) -> None:
        self.epoch = report.epoch + 1


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        (SANDWICH, [2]),
        (dataclasses.replace(SANDWICH, warmup_epochs=0), [1]),
        (dataclasses.replace(SANDWICH, elastic_epochs=0), [2]),
        (PROGRESSIVE, [5]),
        (dataclasses.replace(PROGRESSIVE, expand_epochs=0), [5]),
        (dataclasses.replace(PROGRESSIVE, expand_epochs=0, quantized_epochs=0), []),
    ],
)
def test_channels_are_sorted_once_before_widths_become_elastic(
    tiny_space: MBConvSpace, tiny_data: Dataset, settings: TrainingSettings, epochs: list[int]
) -> None:
    supernet = _Sorting(tiny_space)
    Trainer(supernet, tiny_data, settings, seed=0, device="cpu").run(supernet.after)
    assert supernet.sorted_in == epochs


# -- the frozen teacher ------------------------------------------------------------------------------------


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t.clone() for name, t in state.items() if name.startswith(prefix)}


def test_the_teacher_stays_as_the_warm_up_left_it(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    trainer = Trainer(Supernet(tiny_space), tiny_data, PROGRESSIVE, seed=0, device="cpu")
    models: list[dict[str, Tensor]] = []
    teachers: list[dict[str, Tensor]] = []

    def after(report: EpochReport) -> None:
        tensors, _ = trainer.state()
        models.append(part(tensors, "model."))
        teachers.append(part(tensors, "teacher."))

    trainer.run(after)
    warm, shrinking = models[0], slice(1, 6)
    assert not teachers[0]
    assert not teachers[6]
    for model, teacher in zip(models[shrinking], teachers[shrinking], strict=True):
        assert teacher.keys() == warm.keys()
        assert all(torch.equal(teacher[name], warm[name]) for name in warm)
        assert any(not torch.equal(model[name], warm[name]) for name in warm)


def test_a_sandwich_has_no_frozen_teacher(tiny_space: MBConvSpace, tiny_data: Dataset) -> None:
    trainer = Trainer(Supernet(tiny_space), tiny_data, SANDWICH, seed=0, device="cpu")
    trainer.run(lambda report: None)
    assert not part(trainer.state()[0], "teacher.")
