from __future__ import annotations

import numpy as np
import pytest

from bitfront.search.operators import Mating
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


def repeated(genome: Genomes, n: int) -> Genomes:
    return np.repeat(genome, n, axis=0)


def test_children_are_canonical_and_valid(any_space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    for mutations in (0.5, 1.0, 20.0):
        mothers, fathers = any_space.sample(500, rng), any_space.sample(500, rng)
        children = Mating(any_space).children(mothers, fathers, rng, mutations)
        np.testing.assert_array_equal(any_space.check(children), children)


def test_same_seed_same_children(any_space: SearchSpace) -> None:
    mothers, fathers = (
        any_space.sample(50, np.random.default_rng(1)),
        any_space.sample(50, np.random.default_rng(2)),
    )
    first, second = (Mating(any_space).children(mothers, fathers, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_what_both_parents_have_a_child_has_without_mutation(any_space: SearchSpace) -> None:
    rng = np.random.default_rng(3)
    mothers, fathers = any_space.sample(400, rng), any_space.sample(400, rng)
    children = any_space.canonical(Mating(any_space).crossed(mothers, fathers, rng))
    in_mother, in_father = any_space.active(mothers), any_space.active(fathers)
    from_one = (children == mothers) & in_mother | (children == fathers) & in_father
    known = (in_mother | in_father) & any_space.active(children)
    assert from_one[known].all()
    same = in_mother & in_father & (mothers == fathers) & any_space.active(children)
    assert (children == mothers)[same].all()
    np.testing.assert_array_equal(Mating(any_space).crossed(mothers, mothers, rng)[in_mother], mothers[in_mother])


def test_genes_tied_by_rules_come_from_one_parent(any_space: SearchSpace) -> None:
    rng = np.random.default_rng(4)
    mothers, fathers = any_space.sample(300, rng), any_space.sample(300, rng)
    active = any_space.active(mothers) & any_space.active(fathers)
    children = Mating(any_space).crossed(mothers, fathers, rng)
    for group in any_space.groups:
        part = children[:, group.members]
        whole = (part == mothers[:, group.members]).all(1) | (part == fathers[:, group.members]).all(1)
        assert whole[active[:, group.members[0]]].all()


def test_crossover_takes_genes_blocks_and_runs_of_blocks(space: SearchSpace) -> None:
    """Parents that differ everywhere show where each gene came from."""
    mother = np.zeros((1, space.n_genes), dtype=np.uint8)
    father = (space.cardinalities - 1).astype(np.uint8)[None]
    deep = [space.position[name] for name in _DEEP]
    mother[:, deep] = father[:, deep]  # so that all blocks are active in both
    differs = (mother != father)[0]
    children = Mating(space, crossover_rate=1.0).crossed(
        repeated(mother, 4000), repeated(father, 4000), np.random.default_rng(5)
    )
    from_father = (children == father)[:, differs]
    np.testing.assert_allclose(from_father.mean(axis=0), 0.5, atol=0.17)  # runs favour the middle of the network
    owner = np.array([gene.name.rpartition(".")[0] or gene.name for gene in space.genes])[differs]
    owner = np.array([name.removesuffix(".pointwise").removesuffix(".depthwise") for name in owner])
    whole = np.array([from_father[:, owner == name].mean(axis=1) % 1 == 0 for name in set(owner)]).all(axis=0)
    assert 0.6 < whole.mean() < 0.75, "two thirds of the children exchange whole blocks"


def test_without_crossover_children_are_their_mothers(any_space: SearchSpace) -> None:
    rng = np.random.default_rng(6)
    mothers, fathers = any_space.sample(100, rng), any_space.sample(100, rng)
    children = Mating(any_space, crossover_rate=0.0).crossed(mothers, fathers, rng)
    both = any_space.active(mothers)
    np.testing.assert_array_equal(children[both], mothers[both])


def test_mutation_takes_every_other_combination_alike(any_space: SearchSpace) -> None:
    """From any start, a mutated group is uniform over its other valid rows: the ends as likely as the middle."""
    n, rng = 20000, np.random.default_rng(8)
    start = any_space.sample(1, rng)
    start[:, [any_space.position[name] for name in _DEEP]] = [2, 2, 1]
    start = any_space.repair(start)
    mutated = repeated(start, n)
    Mating(any_space).mutate(mutated, rng, float(len(any_space.groups)))  # each group once, as far as it can
    for group in any_space.groups:
        others = [tuple(row) for row in group.rows if tuple(row) != tuple(start[0, group.members])]
        counts = dict.fromkeys(others, 0)
        for row, count in zip(*np.unique(mutated[:, group.members], axis=0, return_counts=True), strict=True):
            if tuple(row) in counts:
                counts[tuple(row)] = int(count)
        expected = n / max(len(others), 1)
        for count in counts.values():
            assert abs(count - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize("mutations", [0.5, 1.0, 3.0])
def test_mutation_changes_as_many_groups_as_asked_in_shallow_and_deep_networks(
    any_space: SearchSpace, mutations: float
) -> None:
    rng = np.random.default_rng(9)
    for depth in (0, 1):
        start = any_space.sample(1, rng)
        start[:, [any_space.position[name] for name in _DEEP]] = depth
        before = repeated(any_space.repair(start), 5000)
        after = before.copy()
        Mating(any_space).mutate(after, rng, mutations)
        changed = sum((before[:, g.members] != after[:, g.members]).any(axis=1).mean() for g in any_space.groups)
        assert changed == pytest.approx(mutations, rel=0.08)


def test_a_block_that_comes_to_life_may_be_any(any_space: SearchSpace) -> None:
    """Both parents are shallow, so that all genes of the deeper blocks are 0 in both."""
    shallow = any_space.repair(np.zeros((1, any_space.n_genes), dtype=np.uint8))
    children = Mating(any_space).crossed(
        repeated(shallow, 8000), repeated(shallow, 8000), np.random.default_rng(10)
    )
    asleep = ~any_space.active(shallow)[0]
    for group in any_space.groups:
        if asleep[group.members[0]]:
            rows, counts = np.unique(children[:, group.members], axis=0, return_counts=True)
            assert len(rows) == len(group.rows)
            assert counts.min() > 8000 / len(rows) * 0.7
