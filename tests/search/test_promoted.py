"""Networks of one device in the formats of another, against all that it executes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfront.latency_lut.devices import DEVICES
from bitfront.search.promoted import promoted
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.genes import Genomes, Rule
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace

Pair = tuple[str, str]
_FORMATS = ("fp32", "int8", "int6", "int4")
_PAIRS = st.frozensets(st.tuples(st.sampled_from(_FORMATS), st.sampled_from(_FORMATS)))


def bits(pair: Pair) -> tuple[int, int]:
    weights, activations = pair
    return FORMATS.get(weights).storage_bits, FORMATS.get(activations).storage_bits


def cheapest(pair: Pair, executed: frozenset[Pair]) -> tuple[int, int]:
    """(Bits lost, bits in all) of what a layer becomes, by the definition alone."""
    return min((lost(pair, one), sum(bits(one))) for one in executed)


def lost(before: Pair, after: Pair) -> int:
    return sum(max(a - b, 0) for a, b in zip(bits(before), bits(after), strict=True))


def of_layers(space: SearchSpace, genomes: Genomes) -> Iterator[list[Pair]]:
    """What each pair of format genes is in those networks where it is active."""
    active = space.active(genomes)
    for pair in space.format_pairs:
        genes = [space.position[name] for name in (pair.weight_gene, pair.activation_gene)]
        choices = [space.genes[gene].choices for gene in genes]
        chosen = genomes[active[:, genes[0]]][:, genes]
        yield [(str(choices[0][w]), str(choices[1][a])) for w, a in chosen]


def drawn(space: SearchSpace, n: int, seed: int = 0) -> Genomes:
    return space.sample(n, np.random.default_rng(seed), "sizes")


@given(executed=_PAIRS, seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_each_layer_becomes_the_cheapest_that_loses_no_more_bits_than_it_must(
    space: SearchSpace, executed: frozenset[Pair], seed: int
) -> None:
    executed |= {("int8", "int8")}  # stem and head have no formats below
    before = drawn(space, 30, seed)
    after = promoted(space.restrict_formats(lambda op: executed), before)
    layers = zip(space.format_pairs, of_layers(space, before), of_layers(space, after), strict=True)
    for genes, old, new in layers:
        for one, another in zip(old, new, strict=True):
            assert another in executed
            if genes.weight_gene.startswith("stage"):  # all formats are among the choices
                assert (lost(one, another), sum(bits(another))) == cheapest(one, executed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("int4", "int4"), ("int8", "int8")),
        (("int4", "int8"), ("int8", "int8")),
        (("int8", "fp32"), ("fp32", "fp32")),
        (("int6", "fp32"), ("fp32", "fp32")),
        (("fp32", "fp32"), ("fp32", "fp32")),
    ],
)
def test_a_cpu_of_8_bits_and_reals(space: SearchSpace, before: Pair, after: Pair) -> None:
    other = space.restrict_formats(lambda op: {("fp32", "fp32"), ("int8", "int8")})
    genomes = space.assign(drawn(space, 5), {"weight_format": before[0], "activation_format": before[1]})
    inner = [pair.weight_gene.startswith("stage") for pair in space.format_pairs]
    found = list(of_layers(space, promoted(other, genomes)))
    assert {one for is_inner, pairs in zip(inner, found, strict=True) if is_inner for one in pairs} == {after}


def test_an_accelerator_of_integers_loses_as_little_of_fp32_as_it_can(space: SearchSpace) -> None:
    genomes = space.assign(drawn(space, 5), {"weight_format": "fp32", "activation_format": "fp32"})
    found = promoted(DEVICES.get("bitfusion")().restrict(space), genomes)
    assert {one for pairs in of_layers(space, found) for one in pairs} == {("int8", "int8")}


@pytest.mark.parametrize("name", ["bitfusion", "roofline", "host-onnxruntime"])
def test_of_every_device(space: SearchSpace, name: str) -> None:
    """What is executed already stays; architectures stay; once is enough; the order of networks is kept."""
    other = DEVICES.get(name)().restrict(space)
    own, foreign = drawn(other, 100), drawn(space, 100)
    np.testing.assert_array_equal(promoted(other, own), own)
    found = promoted(other, foreign)
    other.check(found)
    np.testing.assert_array_equal(promoted(other, found), found)
    architecture = [i for i, gene in enumerate(space.genes) if not gene.is_policy]
    np.testing.assert_array_equal(found[:, architecture], foreign[:, architecture])
    np.testing.assert_array_equal(promoted(other, foreign[::-1]), found[::-1])
    assert promoted(other, foreign[:0]).shape == (0, space.n_genes)


def test_an_architecture_that_is_executed_in_no_format_is_named(space: SearchSpace) -> None:
    kernel = next(gene for gene in space.genes if gene.kind == "kernel" and gene.active_if is None)
    other = space.restrict({kernel.name: kernel.choices[:1]})
    genomes = drawn(space, 50)
    with pytest.raises(UnsupportedError, match=f"{kernel.name}.*leave such networks out"):
        promoted(other, genomes)


def test_a_rule_over_architecture_and_formats_moves_the_formats_alone(space: SearchSpace) -> None:
    """Large depthwise kernels in 8 bits only, as of a device whose buffers are small."""
    kernel = next(gene for gene in space.genes if gene.kind == "kernel" and gene.active_if is None)
    block = kernel.name.removesuffix(".kernel")
    format_gene = f"{block}.depthwise.activation_format"
    small, *large = kernel.choices
    allowed = {(small, name) for name in _FORMATS} | {(size, "int8") for size in large}
    other = space.restrict(rules=[Rule((kernel.name, format_gene), frozenset(allowed))])
    before = drawn(space, 200)
    after = promoted(other, before)
    other.check(after)
    place, size = space.position[format_gene], before[:, space.position[kernel.name]]
    changed = (before != after).any(axis=0)
    assert np.flatnonzero(changed).tolist() == [place]
    np.testing.assert_array_equal(after[size == 0], before[size == 0])
    assert {space.genes[place].choices[i] for i in after[size > 0, place]} == {"int8"}
