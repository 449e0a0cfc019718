"""Rules over a few bare genes against brute force over all their combinations."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.genes import Gene, Rule
from bitfront.supernet.space import SearchSpace, Slot

NAMES = ("a", "b", "c", "d")
Values = frozenset[tuple[int, ...]]


class Bare(SearchSpace):
    """Four widths and nothing built from them."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        return ()

    @property
    def config(self) -> Any:
        return None


SIZES = (5, 6, 2, 3)
SPACE = Bare("bare", [Gene(name, "width", tuple(range(n))) for name, n in zip(NAMES, SIZES, strict=True)])
EVERY = np.array(list(itertools.product(*map(range, SIZES))), dtype=np.uint8)


def _values(*genes: int) -> st.SearchStrategy[Values]:
    return st.frozensets(st.tuples(*(st.integers(0, SIZES[gene] - 1) for gene in genes)), min_size=1)


Rules = dict[tuple[int, ...], Values]
RULES: st.SearchStrategy[Rules] = st.fixed_dictionaries(
    {(0, 1): _values(0, 1)}, optional={(1, 2): _values(1, 2), (3, 0, 1): _values(3, 0, 1), (2,): _values(2)}
)


def _obeys(genome: np.ndarray[Any, Any], rules: Rules) -> bool:
    return all(tuple(genome[list(genes)].tolist()) in values for genes, values in rules.items())


def _restricted(rules: Rules) -> Bare:
    return SPACE.restrict(rules=[Rule(tuple(NAMES[i] for i in genes), values) for genes, values in rules.items()])


@given(rules=RULES)
def test_rules_leave_what_obeys_them(rules: Rules) -> None:
    obeying = np.array([_obeys(genome, rules) for genome in EVERY])
    assume(obeying.any())
    space = _restricted(rules)
    assert space.size() == obeying.sum()
    np.testing.assert_array_equal(space.valid(EVERY), obeying)


@given(rules=RULES)
def test_repair_changes_the_fewest_genes_and_then_takes_the_smallest_steps(rules: Rules) -> None:
    points = EVERY[[_obeys(genome, rules) for genome in EVERY]]
    assume(len(points))
    for genome, repaired in zip(EVERY[::7], _restricted(rules).repair(EVERY[::7]), strict=True):
        steps = np.abs(points.astype(int) - genome.astype(int))
        best = min(zip((steps != 0).sum(1).tolist(), steps.sum(1).tolist(), strict=True))
        moved = np.abs(repaired.astype(int) - genome.astype(int))
        assert _obeys(repaired, rules)
        assert (int((moved != 0).sum()), int(moved.sum())) == best


@given(rules=RULES)
def test_what_contradicts_itself_is_refused(rules: Rules) -> None:
    if any(_obeys(genome, rules) for genome in EVERY):
        assert _restricted(rules).size() > 0
    else:
        tied = sorted({gene for genes in rules if len(genes) > 1 for gene in genes})
        with pytest.raises(UnsupportedError, match=f"no choice is left for {', '.join(NAMES[i] for i in tied)}:"):
            _restricted(rules)


def test_genes_without_rules_are_groups_of_their_own() -> None:
    tied = _restricted({(0, 1): frozenset({(0, 0), (4, 5)})})
    assert [group.members.tolist() for group in SPACE.groups] == [[0], [1], [2], [3]]
    assert sorted(group.members.tolist() for group in tied.groups) == [[0, 1], [2], [3]]
    assert math.prod(len(group.rows) for group in tied.groups) == tied.size() == 2 * 2 * 3
