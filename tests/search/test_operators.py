from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from bitfront.search.operators import CROSSOVERS, MUTATIONS, Mating, Ways
from bitfront.supernet.genes import Choice, Genomes, Rule
from bitfront.supernet.space import SearchSpace

_DEEP = ("stage0.depth", "stage1.depth", "stage2.depth")


def restricted(space: SearchSpace) -> SearchSpace:
    """Few format pairs, a fixed gene, and a rule that ties kernels to widths."""
    pairs = {("fp32", "fp32"), ("int8", "int8"), ("int4", "int8"), ("int4", "int4")}
    rule = Rule.pair(
        "stage0.block1.kernel", "stage0.block1.width", frozenset({(3, 8), (5, 8), (5, 40), (7, 40), (7, 32)})
    )
    fixed: dict[str, list[Choice]] = {
        "resolution": [8, 16],
        "stem.weight_format": ["int8"],
        "stage1.block0.kernel": [5],
    }
    return space.restrict_formats(lambda op: pairs).restrict(fixed, [rule])


def two_formats(space: SearchSpace) -> SearchSpace:
    return space.restrict_formats(lambda op: [("fp32", "fp32"), ("int8", "int8")])


@pytest.fixture(params=["whole", "two formats", "tangled"])
def any_space(request: pytest.FixtureRequest, space: SearchSpace) -> SearchSpace:
    if request.param == "whole":
        return space
    return two_formats(space) if request.param == "two formats" else restricted(space)


def ways(n: int, crossover: str = "group", mutation: str = "combination", mutations: float = 1.0) -> Ways:
    kinds = (np.full(n, CROSSOVERS.index(crossover)), np.full(n, MUTATIONS.index(mutation)))
    return Ways(*kinds, np.full(n, mutations))


def repeated(genome: Genomes, n: int) -> Genomes:
    return np.repeat(genome, n, axis=0)


def test_children_are_canonical_and_valid(any_space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    for mutations in (0.5, 1.0, 20.0):
        mothers, fathers = any_space.sample(500, rng), any_space.sample(500, rng)
        mating = Mating(any_space)
        children = mating.children(mothers, fathers, rng, mating.ways(500, rng, mutations))
        np.testing.assert_array_equal(any_space.check(children), children)


def test_same_seed_same_children(any_space: SearchSpace) -> None:
    mothers, fathers = (
        any_space.sample(50, np.random.default_rng(1)),
        any_space.sample(50, np.random.default_rng(2)),
    )
    mating, how = Mating(any_space), Mating(any_space).ways(50, np.random.default_rng(3))
    first, second = (mating.children(mothers, fathers, np.random.default_rng(7), how) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", CROSSOVERS)
def test_what_both_parents_have_a_child_has_without_mutation(any_space: SearchSpace, kind: str) -> None:
    rng = np.random.default_rng(3)
    mothers, fathers = any_space.sample(400, rng), any_space.sample(400, rng)
    children = any_space.canonical(Mating(any_space).crossed(mothers, fathers, rng, ways(400, kind).crossover))
    in_mother, in_father = any_space.active(mothers), any_space.active(fathers)
    from_one = (children == mothers) & in_mother | (children == fathers) & in_father
    known = (in_mother | in_father) & any_space.active(children)
    assert from_one[known].all()
    same = in_mother & in_father & (mothers == fathers) & any_space.active(children)
    assert (children == mothers)[same].all()
    same_parents = Mating(any_space).crossed(mothers, mothers, rng, ways(400, kind).crossover)
    np.testing.assert_array_equal(same_parents[in_mother], mothers[in_mother])


@pytest.mark.parametrize("kind", CROSSOVERS)
def test_genes_tied_by_rules_come_from_one_parent(any_space: SearchSpace, kind: str) -> None:
    rng = np.random.default_rng(4)
    mothers, fathers = any_space.sample(300, rng), any_space.sample(300, rng)
    active = any_space.active(mothers) & any_space.active(fathers)
    children = Mating(any_space).crossed(mothers, fathers, rng, ways(300, kind).crossover)
    for group in any_space.groups:
        part = children[:, group.members]
        whole = (part == mothers[:, group.members]).all(1) | (part == fathers[:, group.members]).all(1)
        assert whole[active[:, group.members[0]]].all()


_SEEDS, _CHILDREN = 40, 1000
_BLOCKS = ("", "stem", *(f"stage{s}.block{b}" for s, depth in enumerate((3, 3, 2)) for b in range(depth)), "head")
"""From the input on; what many blocks share stands before them."""


def block_of(gene: str) -> int:
    return max(number for number, block in enumerate(_BLOCKS) if gene.startswith(block))


def probable(n: int, p: float) -> tuple[float, float]:
    """Between which counts that of ``n`` draws with probability ``p`` lies, but for once in 10^9 times (exact)."""
    low, high = binom.interval(1 - 1e-9, n, p) if 0 < p < 1 else (n * p, n * p)
    return float(low), float(high)


def from_father(space: SearchSpace, kind: str) -> tuple[list[str], NDArray[np.bool_]]:
    """Genes in which the parents differ, and which of them each child has from its father, over many seeds.

    The parents differ in all but depths, and all their blocks are active: each gene shows where it is from.
    """
    mother = np.zeros((1, space.n_genes), dtype=np.uint8)
    father = (space.cardinalities - 1).astype(np.uint8)[None]
    deep = [space.position[name] for name in _DEEP]
    mother[:, deep] = father[:, deep]
    differs = (mother != father)[0]
    mating, parents = Mating(space, crossover_rate=1.0), (repeated(mother, _CHILDREN), repeated(father, _CHILDREN))
    crossover = ways(_CHILDREN, kind).crossover
    children = [mating.crossed(*parents, np.random.default_rng(seed), crossover) for seed in range(_SEEDS)]
    names = [gene.name for gene, differ in zip(space.genes, differs, strict=True) if differ]
    return names, (np.concatenate(children) == father)[:, differs]


def runs() -> list[tuple[int, int]]:
    """The block of the first gene of a run and that behind its last one, for all equally likely pairs of ends."""
    ends = range(len(_BLOCKS) + 1)
    return [(min(pair), max(pair)) for pair in itertools.product(ends, ends)]


@pytest.mark.parametrize("kind", CROSSOVERS)
def test_each_gene_comes_from_the_father_as_often_as_it_should(space: SearchSpace, kind: str) -> None:
    """A half of the time; in runs, as often as two drawn ends lie on both sides of its block."""
    names, taken = from_father(space, kind)
    for name, count in zip(names, taken.sum(axis=0), strict=True):
        p = 0.5
        if kind == "run":
            p = float(np.mean([first <= block_of(name) < end for first, end in runs()]))
        low, high = probable(len(taken), p)
        assert low <= count <= high, name


@pytest.mark.parametrize("kind", CROSSOVERS)
@pytest.mark.parametrize(("depth", "owners"), [(2, 8), (1, 3)])
def test_crossover_takes_groups_blocks_runs_and_stages_whole(
    space: SearchSpace, kind: str, depth: int, owners: int
) -> None:
    names, taken = from_father(space, kind)
    owner = np.array([".".join(name.split(".")[:depth]) for name in names])
    staged = sorted({name for name in owner if name.startswith("stage")})
    assert len(staged) == owners
    for name in staged:
        blocks = sorted({block_of(gene) for gene, own in zip(names, owner, strict=True) if own == name})
        inside = range(blocks[0], blocks[-1] + 1)
        p = {
            "group": 2.0 ** (1 - (owner == name).sum()),
            "block": 2.0 ** (1 - len(blocks)),
            "run": float(np.mean([len({first <= block < end for block in inside}) == 1 for first, end in runs()])),
            "stage": 1.0,
        }[kind]
        part = taken[:, owner == name]
        low, high = probable(len(taken), p)
        assert low <= (part.all(axis=1) | ~part.any(axis=1)).sum() <= high, name


def test_runs_are_runs_and_each_one_as_likely_as_any_other(space: SearchSpace) -> None:
    names, taken = from_father(space, "run")
    blocks = np.array([block_of(name) for name in names])
    by_block = np.stack([taken[:, blocks == number].all(axis=1) for number in range(len(_BLOCKS))], axis=1)
    np.testing.assert_array_equal(by_block[:, blocks], taken)
    edges = np.diff(by_block.astype(int), axis=1, prepend=0, append=0)
    assert ((edges == 1).sum(axis=1) <= 1).all()
    found = Counter(zip((edges == 1).argmax(axis=1).tolist(), (edges == -1).argmax(axis=1).tolist(), strict=True))
    possible = Counter((first, end) if first < end else (0, 0) for first, end in runs())
    assert found.keys() == possible.keys()
    for run, ways_to_it in possible.items():
        low, high = probable(len(taken), ways_to_it / possible.total())
        assert low <= found[run] <= high, run


def test_without_crossover_children_are_their_mothers(any_space: SearchSpace) -> None:
    rng = np.random.default_rng(6)
    mothers, fathers = any_space.sample(100, rng), any_space.sample(100, rng)
    children = Mating(any_space, crossover_rate=0.0).crossed(mothers, fathers, rng, ways(100).crossover)
    both = any_space.active(mothers)
    np.testing.assert_array_equal(children[both], mothers[both])


def test_mutation_takes_every_other_combination_alike(any_space: SearchSpace) -> None:
    """From any start, a mutated group is uniform over its other valid rows: the ends as likely as the middle."""
    n, rng = 20000, np.random.default_rng(8)
    start = any_space.sample(1, rng)
    start[:, [any_space.position[name] for name in _DEEP]] = [2, 2, 1]
    start = any_space.repair(start)
    mutated = repeated(start, n)
    Mating(any_space).mutate(
        mutated, rng, ways(n, mutations=float(len(any_space.groups)))
    )  # each group once, as far as it can
    for group in any_space.groups:
        others = [tuple(row) for row in group.rows if tuple(row) != tuple(start[0, group.members])]
        counts = dict.fromkeys(others, 0)
        for row, count in zip(*np.unique(mutated[:, group.members], axis=0, return_counts=True), strict=True):
            if tuple(row) in counts:
                counts[tuple(row)] = int(count)
        expected = n / max(len(others), 1)
        for count in counts.values():
            assert abs(count - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize("kind", MUTATIONS)
@pytest.mark.parametrize("mutations", [0.5, 1.0, 3.0])
def test_mutation_changes_as_many_groups_as_asked_in_shallow_and_deep_networks(
    any_space: SearchSpace, mutations: float, kind: str
) -> None:
    rng = np.random.default_rng(9)
    for depth in (0, 1):
        start = any_space.sample(1, rng)
        start[:, [any_space.position[name] for name in _DEEP]] = depth
        before = repeated(any_space.repair(start), 5000)
        after = before.copy()
        Mating(any_space).mutate(after, rng, ways(5000, mutation=kind, mutations=mutations))
        changed = sum((before[:, g.members] != after[:, g.members]).any(axis=1).mean() for g in any_space.groups)
        assert changed == pytest.approx(mutations, rel=0.08)


def test_a_block_that_comes_to_life_may_be_any(any_space: SearchSpace) -> None:
    """Both parents are shallow, so that all genes of the deeper blocks are 0 in both; mutation wakes some."""
    n, rng = 20000, np.random.default_rng(10)
    shallow = repeated(any_space.repair(np.zeros((1, any_space.n_genes), dtype=np.uint8)), n)
    children = Mating(any_space).children(shallow, shallow, rng, ways(n, mutations=float(len(any_space.groups))))
    alive, asleep = any_space.active(children), ~any_space.active(shallow)[0]
    for group in any_space.groups:
        if asleep[group.members[0]]:
            woken = children[alive[:, group.members[0]]][:, group.members]
            rows, counts = np.unique(woken, axis=0, return_counts=True)
            assert len(rows) == len(group.rows)
            expected = len(woken) / len(rows)
            assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("kind", ["gene", "neighbour"])
def test_one_gene_of_a_group_changes_and_stays_within_the_rules(any_space: SearchSpace, kind: str) -> None:
    n, rng = 3000, np.random.default_rng(11)
    before = any_space.sample(n, rng)
    after = before.copy()
    Mating(any_space).mutate(after, rng, ways(n, mutation=kind, mutations=1.0))
    assert any_space.valid(after).all()
    for group in any_space.groups:
        old, new = before[:, group.members], after[:, group.members]
        differ = (old != new).sum(axis=1)
        if {tuple(row) for row in group.rows} == set(np.ndindex(*group.sizes)):  # free: no gene is ever stuck
            assert differ.max(initial=0) <= 1
            if kind == "neighbour":
                step = np.abs(old.astype(int) - new).max(axis=1)
                assert np.isin(step, [0, 1, *(size - 1 for size in group.sizes)]).all()
        assert differ.any() or len(group.rows) == 1


@pytest.mark.parametrize("kind", MUTATIONS)
def test_mutated_again_and_again_ends_are_as_likely_as_middles(any_space: SearchSpace, kind: str) -> None:
    """The whole way from one start: every value of a free gene is reached alike, as rounding does not do."""
    n, rng, mating = 1000, np.random.default_rng(12), Mating(any_space)
    walkers = repeated(any_space.extremes()[1:], n)
    # Depths are left out: a deep network has more to change, so that each of its genes changes less often.
    depths = {i for i, gene in enumerate(any_space.genes) if gene.kind == "depth"}
    free = [g for g in any_space.groups if len(g.members) == 1 and len(g.rows) == g.sizes[0] > 2]
    for _ in range(30):
        mating.mutate(walkers, rng, ways(n, mutation=kind, mutations=30.0))
    always = any_space.active(np.zeros((1, any_space.n_genes), dtype=np.uint8))[0]
    checked = [g for g in free if always[g.members[0]] and g.members[0] not in depths]
    assert checked
    for group in checked:
        counts = np.bincount(walkers[:, group.members[0]], minlength=group.sizes[0])
        expected = n / group.sizes[0]
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
