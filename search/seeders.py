"""What the first generation of a search begins with. A new seeder is one function and one line here.

A seeder is called with (problem, rng, n) and returns canonical, valid genomes (k, n_genes); the first ``n``
different ones of them are scored, and random ones fill up what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from bitfront.supernet.genes import Genomes
from bitfront.supernet.registry import Registry
from bitfront.supernet.space import SearchSpace

if TYPE_CHECKING:
    from bitfront.search.problem import Problem

SEEDERS: Registry[Callable[[Problem, np.random.Generator, int], Genomes]] = Registry(
    "seeder",
    {
        "ilp": "bitfront.search.policy_sweep:policy_seeds",
        "none": "bitfront.search.seeders:none",
        "uniform": "bitfront.search.seeders:uniform",
    },
)


def none(problem: Problem, rng: np.random.Generator, n: int) -> Genomes:
    """Nothing."""
    return np.empty((0, problem.space.n_genes), dtype=np.uint8)


def uniform(problem: Problem, rng: np.random.Generator, n: int) -> Genomes:
    """Corners of the space in uniform formats, see `uniform_policies`."""
    return uniform_policies(problem.space)


def uniform_policies(space: SearchSpace) -> Genomes:
    """The smallest and the largest architecture in every number format that the space has, where it has it."""
    corners = space.extremes()
    formats = dict.fromkeys(choice for gene in space.genes if gene.is_policy for choice in gene.choices)
    uniform = [space.assign(corners, {"weight_format": name, "activation_format": name}) for name in formats]
    return space.repair(np.concatenate([corners, *uniform]))
