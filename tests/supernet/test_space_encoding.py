"""What `encode` must reflect, on spaces too large to list."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvSpace

BITS = ("int4", "int6", "int8")
DIGITS = digits()


@pytest.fixture(params=["tiny", "digits"])
def space(request: pytest.FixtureRequest, tiny_space: MBConvSpace) -> MBConvSpace:
    return tiny_space if request.param == "tiny" else DIGITS


def _with(genomes: Genomes, gene: int, index: int) -> Genomes:
    changed = genomes.copy()
    changed[:, gene] = index
    return changed


def test_genomes_that_differ_in_one_active_format_gene_never_share_an_encoding(
    space: MBConvSpace, rng: np.random.Generator
) -> None:
    genomes = space.sample(200, rng)
    for i, gene in enumerate(space.genes):
        if not gene.is_policy:
            continue
        rows = genomes[space.active(genomes)[:, i]]
        assert len(rows) > 20
        encodings = [space.encode(_with(rows, i, index)) for index in range(len(gene.choices))]
        for one, other in itertools.combinations(encodings, 2):
            assert (one != other).any(1).all(), f"{gene.name} is lost in the encoding"


def test_each_bit_width_of_each_layer_shows_in_its_layers_and_in_the_encoding(
    space: MBConvSpace, rng: np.random.Generator
) -> None:
    """The reference implementation of the literature encoded every policy as 8-bit."""
    deepest = {gene.name: gene.choices[-1] for gene in space.genes if gene.kind == "depth"}
    base = space.genome(space.decode(space.sample(1, rng)[0]) | deepest)
    seen = set()
    for pair in space.format_pairs:
        for name, attribute in ((pair.weight_gene, "weight_format"), (pair.activation_gene, "activation_format")):
            bits = [b for b in BITS if b in space.genes[space.position[name]].choices]
            genomes = np.stack([space.genome(space.decode(base) | {name: b}) for b in bits])
            assert len({row.tobytes() for row in space.encode(genomes)}) == len(bits)
            prefix = name.removesuffix(".weight_format").removesuffix(".activation_format")
            for b, genome in zip(bits, genomes, strict=True):
                found = {getattr(layer, attribute) for layer in space.layers(genome) if _is_of(layer.name, prefix)}
                assert found == {b}
                seen |= {layer.name for layer in space.layers(genome) if _is_of(layer.name, prefix)}
    assert seen == {layer.name for layer in space.layers(base)}


def _is_of(layer: str, prefix: str) -> bool:
    """Whether a layer takes its formats from the genes of this prefix."""
    if prefix.endswith(".pointwise"):
        block = prefix.removesuffix(".pointwise")
        return layer in (f"{block}.expand", f"{block}.project")
    return layer == prefix or layer.startswith(f"{prefix}.")


def test_skipped_genes_do_not_show(space: MBConvSpace, rng: np.random.Generator) -> None:
    genomes = space.sample(300, rng)
    noise = np.stack([rng.integers(0, n, 300) for n in space.cardinalities], 1).astype(np.uint8)
    noisy = np.where(space.active(genomes), genomes, noise)
    assert (noisy != genomes).any()
    np.testing.assert_array_equal(space.encode(noisy), space.encode(genomes))


def test_architecture_columns_come_first_and_do_not_hear_of_the_policy(
    space: MBConvSpace, rng: np.random.Generator
) -> None:
    genomes, others = space.sample(300, rng), space.sample(300, rng)
    policy = np.array([gene.is_policy for gene in space.genes])
    mixed = space.canonical(np.where(policy, others, genomes))
    width = space.architecture_width
    assert 0 < width < space.encoding_width
    np.testing.assert_array_equal(space.encode(mixed)[:, :width], space.encode(genomes)[:, :width])
    changed = (mixed != genomes).any(1)
    assert (space.encode(mixed)[changed, width:] != space.encode(genomes)[changed, width:]).any(1).all()


def test_every_active_gene_is_one_hot(space: MBConvSpace, rng: np.random.Generator) -> None:
    genomes = space.sample(100, rng)
    encoded = space.encode(genomes)
    assert set(np.unique(encoded)) == {0.0, 1.0}
    np.testing.assert_array_equal(encoded.sum(1), space.active(genomes).sum(1))


def test_encodings_of_no_genomes(space: MBConvSpace) -> None:
    none = np.zeros((0, space.n_genes), dtype=np.uint8)
    assert space.encode(none).shape == (0, space.encoding_width)
    assert space.sample(0, np.random.default_rng(0)).shape == (0, space.n_genes)
    assert space.repair(none).shape == space.check(none).shape == none.shape


@given(seed=st.integers(0, 2**32), n=st.integers(1, 30))
def test_genomes_survive_decode_and_genome(seed: int, n: int) -> None:
    space = DIGITS
    for genome in space.sample(n, np.random.default_rng(seed)):
        np.testing.assert_array_equal(space.genome(space.decode(genome)), genome)
        np.testing.assert_array_equal(space.check(genome[None])[0], genome)


@given(data=st.data())
def test_two_genomes_share_an_encoding_only_if_they_build_the_same_network(data: st.DataObject) -> None:
    space = DIGITS
    index = st.tuples(*(st.integers(0, int(n) - 1) for n in space.cardinalities))
    first = np.array(data.draw(index), dtype=np.uint8)
    second = first.copy()
    for gene in data.draw(st.lists(st.integers(0, space.n_genes - 1), min_size=1, max_size=3)):
        second[gene] = data.draw(st.integers(0, int(space.cardinalities[gene]) - 1))
    encoded = space.encode(np.stack([first, second]))
    assert (encoded[0] == encoded[1]).all() == (space.blocks(first) == space.blocks(second))
