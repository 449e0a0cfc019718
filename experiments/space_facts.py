"""What is known of a space, as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bitfront.experiments.gene_patterns import gene_patterns
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.genes import Rule
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.figures import figure_genomes, network_figures
from bitfront.supernet.spaces.settings import SpaceSettings, load_space, space_options


def listed_spaces() -> Iterator[dict[str, Any]]:
    """Every space that has a name, JSON-able: name, about, genes, log10_networks, resolutions, options, problem.

    ``problem`` says why a space can not be built, and then the rest is not known; else it is None.
    """
    for name in SPACES.names():
        row: dict[str, Any] = {"name": name, "about": "", "genes": None, "log10_networks": None}
        try:
            space, options = load_space(name), space_options(SpaceSettings(name))
        except Exception as error:  # a third party's module may raise anything
            problem = f"{error}" if isinstance(error, BitfrontError) else repr(error)
            yield row | {"resolutions": [], "options": {}, "problem": problem}
            continue
        yield {
            "name": name,
            "about": about(name),
            "genes": space.n_genes,
            "log10_networks": math.log10(space.size()),
            "resolutions": resolutions(space),
            "options": options,
            "problem": None,
        }


def about(name: str) -> str:
    """The first sentence of what a registered space's function says of itself; empty for a file."""
    if name not in SPACES.names():
        return ""
    return " ".join((SPACES.get(name).__doc__ or "").split("\n\n")[0].replace("`", "").split())


def resolutions(space: SearchSpace) -> list[int]:
    """The sides in pixels that images can have, ascending."""
    return [int(choice) for gene in space.genes if gene.kind == "resolution" for choice in gene.choices]


def space_details(settings: SpaceSettings, samples: int, seed: int) -> dict[str, Any]:
    """A space as one JSON-able object.

    ``networks`` is exact, and text, as it exceeds what many programs take for a number. ``figures`` give least,
    median and most over ``samples`` networks whose genes were drawn uniformly; least and most also count the
    smallest and the largest network, in their widest and narrowest formats.
    """
    space = load_space(settings)
    genomes = figure_genomes(space, samples, np.random.default_rng(seed))
    figures = network_figures(space, genomes)
    return {
        "name": space.name,
        "about": about(space.name),
        "hash": space.hash(),
        "options": {**space_options(settings), **settings.options},
        "networks": str(space.size()),
        "log10_networks": math.log10(space.size()),
        "n_genes": space.n_genes,
        "encoding": {
            "architecture": space.architecture_width,
            "policy": space.encoding_width - space.architecture_width,
        },
        "rules": [_rule(space, rule) for rule in (*space.rules, *_restrictions(space))],
        "genes": gene_patterns(space.genes),
        "samples": samples,
        "seed": seed,
        "figures": {
            name: {
                "least": float(values.min()),
                "median": float(np.median(values[:samples])),
                "most": float(values.max()),
            }
            for name, values in figures.items()
        },
    }


def _restrictions(space: SearchSpace) -> Iterator[Rule]:
    for gene in space.genes:
        if (kept := space.allowed_choices(gene.name)) != gene.choices:
            yield Rule((gene.name,), frozenset((choice,) for choice in kept))


def _rule(space: SearchSpace, rule: Rule) -> dict[str, Any]:
    genes = [space.genes[space.position[name]] for name in rule.genes]
    combinations = math.prod(len(gene.choices) for gene in genes)
    return {"genes": list(rule.genes), "allowed": len(rule.rows_of(genes)), "combinations": combinations}
