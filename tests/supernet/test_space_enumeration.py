"""Every genome of two small spaces, restricted in several ways, against what the genomes build."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from bitfront.supernet.errors import InvalidGenomeError
from bitfront.supernet.genes import Genomes, Rule
from bitfront.supernet.layers import Block
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

Network = tuple[Block, ...]
LIKELY = 1e-3  # a p value below this, with a fixed seed, is taken as a bias


def one_stage() -> MBConvSpace:
    """One or two blocks, five formats in all."""
    stage = StageConfig(out_channels=4, stride=1, depths=(1, 2), widths=(2, 3), kernels=(3,))
    frame = MBConvConfig(
        1, 2, 4, 1, (stage,), 4, (4,), ("fp32", "int8", "int4"), ("int8", "int4"), ("fp32",)
    )  # fmt: skip
    return MBConvSpace("one stage", frame)


def two_stages() -> MBConvSpace:
    """A depth gene that adds two blocks at once, and a stage of fixed depth."""
    first = StageConfig(out_channels=4, stride=2, depths=(1, 3), widths=(2,), kernels=(3, 5))
    second = StageConfig(out_channels=6, stride=1, depths=(1,), widths=(2, 3), kernels=(3,))
    frame = MBConvConfig(1, 2, 4, 1, (first, second), 4, (4,), ("int8", "int4"), ("int8",), ("int8",))
    return MBConvSpace("two stages", frame)


EXECUTABLE = {
    "conv": {("fp32", "fp32"), ("int8", "int8")},
    "pointwise": {("fp32", "fp32"), ("fp32", "int8"), ("int8", "int8"), ("int4", "int8"), ("bf16", "bf16")},
    "depthwise": {("int4", "int8"), ("int4", "int4")},
    "linear": {("fp32", "fp32"), ("int8", "int8")},
}
SAME = frozenset((name, name) for name in ("fp32", "int8", "int4"))
BLOCK1_DEPTHWISE = "stage0.block1.depthwise.weight_format"
BLOCK1_POINTWISE = "stage0.block1.pointwise.weight_format"


def by_choice(space: MBConvSpace) -> MBConvSpace:
    return space.restrict({BLOCK1_DEPTHWISE: ["int4"]})


def by_depth(space: MBConvSpace) -> MBConvSpace:
    return space.restrict({"stage0.depth": [max(space.frame.stages[0].depths)]})


def by_formats(space: MBConvSpace) -> MBConvSpace:
    return space.restrict_formats(lambda op: EXECUTABLE[op])


def by_rules(space: MBConvSpace) -> MBConvSpace:
    """Formats again, and one more rule that joins the format genes of a block into one group of four."""
    return by_formats(space).restrict(rules=[Rule.pair(BLOCK1_POINTWISE, BLOCK1_DEPTHWISE, SAME)])


def _block1(network: Network) -> Block | None:
    return next((block for block in network if block.name == "stage0.block1"), None)


def allowed_by_choice(network: Network) -> bool:
    block = _block1(network)
    return block is None or block.layers[1].weight_format == "int4"


def allowed_by_formats(network: Network) -> bool:
    layers = [layer for block in network for layer in block.layers]
    return all((layer.weight_format, layer.activation_format) in EXECUTABLE[layer.op] for layer in layers)


def allowed_by_rules(network: Network) -> bool:
    block = _block1(network)
    alike = block is None or block.layers[0].weight_format == block.layers[1].weight_format
    return alike and allowed_by_formats(network)


RESTRICTIONS: dict[str, tuple[Callable[[MBConvSpace], MBConvSpace], Callable[[Network], bool]]] = {
    "whole": (lambda space: space, lambda network: True),
    "choice": (by_choice, allowed_by_choice),
    "depth": (by_depth, lambda network: _block1(network) is not None),
    "formats": (by_formats, allowed_by_formats),
    "rules": (by_rules, allowed_by_rules),
}
SPACES: dict[str, Callable[[], MBConvSpace]] = {"one": one_stage, "two": two_stages}


@dataclass(frozen=True)
class Enumerated:
    """A restricted space, all index vectors of its whole space, the networks they build, and which are allowed."""

    space: MBConvSpace
    genomes: Genomes
    networks: Sequence[Network]
    is_allowed: NDArray[np.bool_]

    @property
    def allowed_networks(self) -> set[Network]:
        return {network for network, allowed in zip(self.networks, self.is_allowed, strict=True) if allowed}

    @functools.cached_property
    def points(self) -> Genomes:
        """Canonical genomes of all allowed networks: the first in counting order, where inactive genes are 0."""
        first: dict[Network, int] = {}
        for i in np.flatnonzero(self.is_allowed).tolist():
            first.setdefault(self.networks[i], i)
        return self.genomes[list(first.values())]


@functools.cache
def _whole(name: str) -> tuple[MBConvSpace, Genomes, list[Network]]:
    space = SPACES[name]()
    genomes = np.array(list(itertools.product(*map(range, space.cardinalities))), dtype=np.uint8)
    return space, genomes, [space.blocks(genome) for genome in genomes]


@functools.cache
def _enumerated(name: str, restriction: str) -> Enumerated:
    space, genomes, networks = _whole(name)
    restrict, allows = RESTRICTIONS[restriction]
    return Enumerated(restrict(space), genomes, networks, np.array([allows(network) for network in networks]))


@pytest.fixture(params=list(itertools.product(SPACES, RESTRICTIONS)), ids="-".join)
def case(request: pytest.FixtureRequest) -> Enumerated:
    return _enumerated(*request.param)


def _rows(genomes: Genomes) -> set[bytes]:
    return {genome.tobytes() for genome in genomes}


def _p_value(space_points: Genomes, drawn: Genomes) -> float:
    index = {point.tobytes(): i for i, point in enumerate(space_points)}
    counts = np.bincount([index[genome.tobytes()] for genome in drawn], minlength=len(space_points))
    return float(chisquare(counts).pvalue) if len(counts) > 1 else 1.0


def test_size_counts_the_different_networks(case: Enumerated) -> None:
    assert case.space.size() == len(case.allowed_networks)


def test_two_canonical_genomes_are_equal_exactly_if_they_build_the_same_network(case: Enumerated) -> None:
    canonical = case.space.canonical(case.genomes)
    built: dict[bytes, Network] = {}
    for genome, network in zip(canonical, case.networks, strict=True):
        assert built.setdefault(genome.tobytes(), network) == network
    assert len(set(built.values())) == len(built)


def test_canonical_is_idempotent_and_builds_the_same(case: Enumerated) -> None:
    canonical = case.space.canonical(case.genomes)
    np.testing.assert_array_equal(case.space.canonical(canonical), canonical)
    for genome, network in list(zip(canonical, case.networks, strict=True))[::17]:
        assert case.space.blocks(genome) == network


def test_valid_knows_the_allowed_networks(case: Enumerated) -> None:
    np.testing.assert_array_equal(case.space.valid(case.genomes), case.is_allowed)


def test_check_accepts_canonical_genomes_of_allowed_networks_only(
    case: Enumerated, rng: np.random.Generator
) -> None:
    accepted = _rows(case.points)
    np.testing.assert_array_equal(case.space.check(case.points), case.points)
    for genome in rng.choice(case.genomes, 150):
        if genome.tobytes() in accepted:
            case.space.check(genome[None])
        else:
            with pytest.raises(InvalidGenomeError):
                case.space.check(genome[None])


def test_encoding_is_injective(case: Enumerated) -> None:
    encoded = case.space.encode(case.points)
    assert encoded.shape == (len(case.points), case.space.encoding_width)
    assert encoded.dtype == np.float32
    assert set(np.unique(encoded)) <= {0.0, 1.0}
    assert len({row.tobytes() for row in encoded}) == len(case.points)


def test_samples_of_points_are_uniform(case: Enumerated, rng: np.random.Generator) -> None:
    drawn = case.space.sample(12 * len(case.points), rng, uniform_over="points")
    assert drawn.dtype == np.uint8
    assert _p_value(case.points, drawn) > LIKELY


def test_samples_of_genes_are_allowed_points(case: Enumerated, rng: np.random.Generator) -> None:
    assert _rows(case.space.sample(5000, rng)) <= _rows(case.points)


def test_samples_of_genes_are_uniform_for_depth_and_every_group(
    case: Enumerated, rng: np.random.Generator
) -> None:
    space, points = case.space, case.points
    drawn = space.sample(20000, rng)
    of_points, of_drawn = space.active(points), space.active(drawn)
    for group in space.groups:
        member = group.members[0]
        possible = np.unique(points[of_points[:, member]][:, group.members], axis=0)
        seen = drawn[of_drawn[:, member]][:, group.members]
        assert _p_value(possible, np.ascontiguousarray(seen)) > LIKELY


def test_same_seed_same_sample(case: Enumerated) -> None:
    first, second = (case.space.sample(50, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != case.space.sample(50, np.random.default_rng(8))).any()


def test_repair_gives_allowed_points_and_leaves_those_alone(case: Enumerated) -> None:
    repaired = case.space.repair(case.genomes)
    assert _rows(repaired) == _rows(case.points)
    np.testing.assert_array_equal(case.space.repair(case.points), case.points)
    kept = case.is_allowed
    np.testing.assert_array_equal(repaired[kept], case.space.canonical(case.genomes[kept]))


def test_repair_changes_the_fewest_genes(case: Enumerated, rng: np.random.Generator) -> None:
    """Among all points of the repaired depth (repair moves depth only where its value is not allowed)."""
    depths = [i for i, gene in enumerate(case.space.genes) if gene.kind == "depth"]
    broken = case.space.canonical(case.genomes[~case.is_allowed])
    for genome in rng.choice(broken, min(60, len(broken)), replace=False) if len(broken) else ():
        repaired = case.space.repair(genome[None])[0]
        alike = case.points[(case.points[:, depths] == repaired[depths]).all(1)]
        fewest = (alike != genome).sum(1).min()
        assert (repaired != genome).sum() == fewest


def test_repair_keeps_an_allowed_depth(case: Enumerated) -> None:
    position = case.space.position["stage0.depth"]
    allowed = set(case.points[:, position])
    wanted = case.genomes[np.isin(case.genomes[:, position], list(allowed))]
    np.testing.assert_array_equal(case.space.repair(wanted)[:, position], wanted[:, position])


def test_restriction_keeps_hash_and_encoding(case: Enumerated) -> None:
    whole = case.space.__class__(case.space.name, case.space.frame)
    assert case.space.hash() == whole.hash()
    np.testing.assert_array_equal(case.space.encode(case.points), whole.encode(case.points))


def test_extremes_are_allowed_points(case: Enumerated) -> None:
    assert _rows(case.space.extremes()) <= _rows(case.points)
