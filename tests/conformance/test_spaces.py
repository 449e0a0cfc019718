"""What every search space must do: runs over everything registered."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.supernet.errors import InvalidGenomeError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace, Slot
from bitfront.supernet.spaces import SPACES

N = 300


@pytest.fixture(params=SPACES.names())
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def space(name: str) -> SearchSpace:
    return SPACES.get(name)()


@pytest.fixture
def genomes(space: SearchSpace, rng: np.random.Generator) -> Genomes:
    return space.sample(N, rng)


def _exists(slot: Slot, space: SearchSpace, genome: NDArray[np.uint8]) -> bool:
    return slot.active_if is None or genome[space.position[slot.active_if[0]]] >= slot.active_if[1]


class TestEverySpace:
    def test_goes_by_its_registry_name_and_is_always_the_same(self, name: str, space: SearchSpace) -> None:
        assert space.name == name
        assert SPACES.get(name)().hash() == space.hash()

    def test_genes_are_well_formed(self, space: SearchSpace) -> None:
        assert len({gene.name for gene in space.genes}) == space.n_genes
        for gene in space.genes:
            assert 1 <= len(gene.choices) <= 256
            assert len(set(gene.choices)) == len(gene.choices)
            if gene.kind in ("resolution", "depth", "width", "kernel"):
                assert list(gene.choices) == sorted(gene.choices), "extremes() relies on ascending order"
            else:
                assert all(choice in FORMATS.names() for choice in gene.choices)
                bits = [FORMATS.get(str(choice)).storage_bits for choice in gene.choices]
                assert bits == sorted(bits, reverse=True), "formats go from the widest to the narrowest"

    def test_all_its_networks_can_be_float_ones_or_none(self, space: SearchSpace) -> None:
        """The teacher of training is a float network; a space without any serves tables and searches alone."""
        formats = [gene.choices for gene in space.genes if gene.is_policy]
        assert all(choices[0] == "fp32" for choices in formats) or "fp32" not in itertools.chain(*formats)

    def test_samples_are_canonical_valid_and_repeatable(self, space: SearchSpace, genomes: Genomes) -> None:
        assert genomes.shape == (N, space.n_genes)
        assert genomes.dtype == np.uint8
        np.testing.assert_array_equal(space.check(genomes), genomes)
        np.testing.assert_array_equal(space.repair(genomes), genomes)
        np.testing.assert_array_equal(space.sample(N, np.random.default_rng(20240)), genomes)
        points = space.sample(N, np.random.default_rng(0), uniform_over="points")
        np.testing.assert_array_equal(space.check(points), points)

    def test_sampling_visits_every_choice_of_every_gene(
        self, space: SearchSpace, rng: np.random.Generator
    ) -> None:
        genomes = space.sample(3000, rng)
        active = space.active(genomes)
        for i, gene in enumerate(space.genes):
            assert len(set(genomes[active[:, i], i])) == len(gene.choices)

    def test_encodings_are_equal_exactly_if_genomes_are(self, space: SearchSpace, genomes: Genomes) -> None:
        encoded = space.encode(genomes)
        assert encoded.shape == (N, space.encoding_width)
        different_genomes = {genome.tobytes() for genome in genomes}
        assert len({row.tobytes() for row in encoded}) == len(different_genomes)
        assert len({space.blocks(genome) for genome in genomes}) == len(different_genomes)

    def test_genomes_one_format_apart_have_other_encodings_and_other_layers(
        self, space: SearchSpace, genomes: Genomes
    ) -> None:
        for genome in genomes[:3]:
            active = space.active(genome[None])[0]
            for i in np.flatnonzero([gene.is_policy for gene in space.genes] & active):
                variants = np.repeat(genome[None], len(space.genes[i].choices), axis=0)
                variants[:, i] = np.arange(len(variants))
                for one, other in itertools.combinations(variants, 2):
                    assert (space.encode(one[None]) != space.encode(other[None])).any()
                    assert space.layers(one) != space.layers(other)

    def test_blocks_form_a_chain_with_known_formats(self, space: SearchSpace, genomes: Genomes) -> None:
        for genome in genomes[:30]:
            layers = space.layers(genome)
            names = [layer.name for layer in layers]
            assert len(set(names)) == len(names)
            for layer, following in itertools.pairwise(layer for layer in layers if layer.source != "block"):
                assert layer.out_channels == following.in_channels
            for layer in layers:
                assert {layer.weight_format, layer.activation_format} <= set(FORMATS.names())
                assert min(layer.in_size, layer.out_size, layer.in_channels, layer.out_channels) >= 1

    def test_what_is_added_has_one_shape(self, space: SearchSpace, genomes: Genomes) -> None:
        for block in itertools.chain.from_iterable(map(space.blocks, genomes[:30])):
            first, tail, shortcut = block.layers[0], block.tail, block.shortcut
            if shortcut is not None:
                assert shortcut.in_channels == first.in_channels
                assert shortcut.in_size == -(-first.in_size // block.stride)
                assert (shortcut.out_channels, shortcut.out_size) == (tail.out_channels, tail.out_size)
            elif block.residual:
                assert (first.in_channels, first.in_size) == (tail.out_channels, tail.out_size)

    def test_slots_list_every_gene_that_shapes_their_block(self, space: SearchSpace, genomes: Genomes) -> None:
        """A gene outside a slot's list must not change the slot's block: cost models rely on it."""
        for genome in genomes[:10]:
            chosen = space.decode(genome)
            slots = [slot for slot in space.slots if _exists(slot, space, genome)]
            rebuilt = tuple(slot.build(tuple(chosen[gene] for gene in slot.genes)) for slot in slots)
            assert rebuilt == space.blocks(genome)

    def test_format_pairs_name_the_formats_of_all_layers(self, space: SearchSpace, genomes: Genomes) -> None:
        """Restricting all pairs to one format leaves networks whose every layer is in it."""
        first, *others = (gene.choices for gene in space.genes if gene.is_policy)
        kept = str(next(choice for choice in first if all(choice in choices for choices in others)))
        only = space.restrict_formats(lambda op: {(kept, kept)})
        for genome in only.repair(genomes)[:20]:
            formats = {(layer.weight_format, layer.activation_format) for layer in only.layers(genome)}
            assert formats == {(kept, kept)}
        assert only.hash() == space.hash()
        assert 1 < only.size() < space.size()

    def test_size_has_an_upper_bound(self, space: SearchSpace) -> None:
        assert 1 < space.size() <= math.prod(int(n) for n in space.cardinalities)

    def test_config_is_json(self, space: SearchSpace) -> None:
        assert json.loads(json.dumps(space.config, allow_nan=False))

    def test_a_genome_outside_the_space_is_refused(self, space: SearchSpace, genomes: Genomes) -> None:
        for i, gene in enumerate(space.genes):
            wrong = genomes[:1].copy()
            wrong[0, i] = len(gene.choices)
            with pytest.raises(InvalidGenomeError, match=gene.name):
                space.check(wrong)
