"""The bit-width policies of one architecture as tables: what each layer can be, and what one change alone does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bitfront.search.constraints import Floats
from bitfront.supernet.genes import GeneGroup, Genomes
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace

Choices = NDArray[np.intp]

_MOST_OPTIONS = 16


@dataclass(frozen=True)
class PolicyChoices:
    """Genes of the policy that rules tie together, with the combinations that they can take beside each other.

    Attributes:
        space: where the architecture is from.
        base: the network that changes are made to, canonical and valid, (n_genes,).
        members: the genes of each place where a choice is left.
        options: their combinations, (n_options, n_members) each, at most 16; the first is that of ``base``.
    """

    space: SearchSpace
    base: NDArray[np.uint8]
    members: tuple[NDArray[np.intp], ...]
    options: tuple[Genomes, ...]

    @classmethod
    def of(cls, space: SearchSpace, base: NDArray[np.uint8]) -> Self:
        """Those of a network's active layers; where rules leave more than 16, as many are taken evenly."""
        active, policy = space.active(base[None])[0], policy_genes(space)
        found = [
            (group.members, _options(group, base, policy))
            for group in space.groups
            if active[group.members[0]] and policy[group.members].any()
        ]
        kept = [(members, options) for members, options in found if len(options) > 1]
        return cls(space, base, tuple(members for members, _ in kept), tuple(options for _, options in kept))

    @cached_property
    def changes(self) -> tuple[Choices, Choices]:
        """Place and option of each single change, (n_changes,) each."""
        place = np.repeat(np.arange(len(self.options)), [len(options) - 1 for options in self.options])
        options = [np.arange(1, len(options)) for options in self.options]
        return place, np.concatenate([np.empty(0, dtype=np.intp), *options]).astype(np.intp)

    def one_changed(self) -> Genomes:
        """``base``, and below it every network that differs from it in one place, (1 + n_changes, n_genes)."""
        place, option = self.changes
        choices = np.zeros((1 + len(place), len(self.options)), dtype=np.intp)
        choices[np.arange(1, len(choices)), place] = option
        return self.genomes(choices)

    def genomes(self, choices: Choices) -> Genomes:
        """Networks (n, n_genes) by their option in each place, (n, n_places)."""
        result = np.repeat(self.base[None], len(choices), axis=0)
        for i, (members, options) in enumerate(zip(self.members, self.options, strict=True)):
            result[:, members] = options[choices[:, i]]
        return result

    def table(self, values: Floats) -> Floats:
        """What each option adds to ``base``, (n_places, most options); NaN where there is none, or none is known.

        ``values`` are those of `one_changed`, in its order.
        """
        result = np.full((len(self.options), max(map(len, self.options), default=1)), np.nan)
        result[:, 0] = 0.0
        with np.errstate(invalid="ignore"):  # what failed is infinite
            above = values[1:] - values[0]
        result[self.changes] = np.where(np.isfinite(above), above, np.nan)
        return result

    def noise(self) -> Floats:
        """4^-bits summed over an option's formats, less that of ``base``, as in `table`: 6 dB a bit.

        A uniform quantizer's error falls so with its bits, relative to what it quantizes (Bennett 1948): it stands
        for sensitivity where nothing has been scored.
        """
        return self.table(_noise(self.space, self.one_changed()))


def policy_genes(space: SearchSpace) -> NDArray[np.bool_]:
    """Which genes belong to the bit-width policy, (n_genes,)."""
    return np.array([gene.is_policy for gene in space.genes])


def in_first_formats(space: SearchSpace, genomes: Genomes) -> Genomes:
    """The same architectures in the first formats that their layers can have, the finest by custom."""
    return space.repair(np.where(policy_genes(space), np.uint8(0), genomes).astype(np.uint8))


def _options(group: GeneGroup, base: NDArray[np.uint8], policy: NDArray[np.bool_]) -> Genomes:
    own, fixed = base[group.members], ~policy[group.members]
    rows = group.rows[(group.rows[:, fixed] == own[fixed]).all(axis=1)]
    others = rows[(rows != own).any(axis=1)]
    if len(others) >= _MOST_OPTIONS:
        others = others[np.linspace(0, len(others) - 1, _MOST_OPTIONS - 1).astype(np.intp)]
    return np.concatenate([own[None], others])


def _noise(space: SearchSpace, genomes: Genomes) -> Floats:
    total = np.zeros(len(genomes))
    for i, gene in enumerate(space.genes):
        if gene.is_policy:
            by_choice = np.array([4.0 ** -FORMATS.get(str(name)).storage_bits for name in gene.choices])
            total += by_choice[genomes[:, i]]
    return total
