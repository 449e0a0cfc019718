"""APQ's space: geometry and counts by hand, sampling against brute force on a cut-down copy."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from bitfront.supernet.errors import InvalidGenomeError
from bitfront.supernet.genes import Choice, Genomes
from bitfront.supernet.layers import Layer
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig
from bitfront.supernet.spaces.proxyless import kernel_rules, proxyless

SPACE = proxyless()


def largest() -> Any:
    return SPACE.extremes()[1]


class TestGeometry:
    def test_blocks_stand_where_proxylessnas_has_them(self) -> None:
        blocks = SPACE.blocks(largest())
        stem, *searched, head = blocks
        assert [layer.name for layer in stem.layers] == ["stem", "stem.depthwise", "stem.project"]
        assert [layer.out_channels for layer in stem.layers] == [32, 32, 16]
        assert len(searched) == 21
        ins = [16, *[24] * 4, *[40] * 4, *[80] * 4, *[96] * 4, *[192] * 4]
        outs = [*[24] * 4, *[40] * 4, *[80] * 4, *[96] * 4, *[192] * 4, 320]
        sizes = [112, *[56] * 4, *[28] * 4, *[14] * 4, *[14] * 4, *[7] * 4]
        for block, channels, out, size in zip(searched, ins, outs, sizes, strict=True):
            assert (block.layers[0].in_channels, block.layers[0].in_size) == (channels, size)
            assert block.layers[-1].out_channels == out
        assert [layer.out_channels for layer in head.layers] == [1280, 1000]

    def test_hidden_channels_go_from_four_to_six_times_the_input(self) -> None:
        counts = {16: 5, 24: 7, 40: 11, 80: 21, 96: 25, 192: 49}
        for place in SPACE.places:
            (gene,) = (gene for gene in SPACE.genes if gene.name == f"{place.name}.width")
            assert len(gene.choices) == counts[place.in_channels]
            assert (gene.choices[0], gene.choices[-1]) == (4 * place.in_channels, 6 * place.in_channels)
            assert {int(b) - int(a) for a, b in itertools.pairwise(gene.choices)} == {8}

    def test_ends_stay_at_8_bits(self) -> None:
        for genome in SPACE.sample(20, np.random.default_rng(0)):
            stem, *_, head = SPACE.blocks(genome)
            for layer in (*stem.layers, *head.layers):
                assert (layer.weight_format, layer.activation_format) == ("int8", "int8")

    def test_both_pointwise_convolutions_share_their_bits(self) -> None:
        for genome in SPACE.sample(20, np.random.default_rng(0)):
            for block in SPACE.blocks(genome)[1:-1]:
                expand, _, project = block.layers
                assert expand.weight_format == project.weight_format
                assert expand.activation_format == project.activation_format


class TestCounts:
    def test_there_are_about_ten_to_the_75_networks(self) -> None:
        def block(widths: int) -> int:
            return widths * (3 * 81 - 27)  # kernels x bits, without 7x7 at 4-bit depthwise activations

        total = block(49)
        for first, rest in ((5, 7), (7, 11), (11, 21), (21, 25), (25, 49)):
            total *= sum(block(first) * block(rest) ** (depth - 1) for depth in (2, 3, 4))
        assert SPACE.size() == total
        assert math.log10(SPACE.size()) == pytest.approx(74.9, abs=0.05)

    def test_the_encoding_has_apqs_inputs(self) -> None:
        kinds = Counter[str]()
        for gene in SPACE.genes:
            if "block" in gene.name:
                kinds["bits" if gene.is_policy else "architecture"] += len(gene.choices)
        assert kinds == {"architecture": 520, "bits": 252}


class TestRule:
    def test_7x7_with_4_bit_depthwise_activations_is_forbidden(self) -> None:
        choices: dict[str, Choice] = {
            "stage1.block0.kernel": 7,
            "stage1.block0.depthwise.activation_format": "int4",
        }
        with pytest.raises(InvalidGenomeError, match="not allowed"):
            SPACE.genome(choices)
        SPACE.genome({**choices, "stage1.block0.kernel": 5})

    def test_samples_obey_it_without_rejection(self) -> None:
        genomes = SPACE.sample(500, np.random.default_rng(0))
        assert SPACE.valid(genomes).all()
        for genome in genomes[:50]:
            for layer in SPACE.layers(genome):
                assert (layer.op, layer.kernel, layer.activation_format) != ("depthwise", 7, "int4")

    def test_one_in_twelve_uniform_draws_would_be_valid(self) -> None:
        """Nine combinations a block, one of them forbidden, 21 blocks; fewer where depth is drawn as well."""
        rng = np.random.default_rng(0)
        drawn = rng.integers(0, SPACE.cardinalities, (40_000, SPACE.n_genes)).astype(np.uint8)
        deepest = drawn.copy()
        for i, gene in enumerate(SPACE.genes):
            if gene.kind == "depth":
                deepest[:, i] = len(gene.choices) - 1
        assert SPACE.valid(deepest).mean() == pytest.approx((8 / 9) ** 21, abs=0.004)
        stage = sum((8 / 9) ** depth for depth in (2, 3, 4)) / 3
        assert SPACE.valid(SPACE.canonical(drawn)).mean() == pytest.approx(stage**5 * 8 / 9, abs=0.006)


FORMATS = ("int8", "int4")


def cut_down() -> MBConvSpace:
    """One stage of up to two blocks in the same form and with the same rules; few enough networks to count."""
    frame = MBConvConfig(
        in_channels=1,
        classes=2,
        stem_channels=8,
        stem_stride=1,
        stages=(StageConfig(4, 1, (1, 2), (16, 24), (5, 7), first_widths=(16,)),),
        head_channels=4,
        resolutions=(8,),
        weight_formats=("int8",),
        activation_formats=FORMATS,
        end_formats=("int8",),
        first_block_channels=4,
    )
    return MBConvSpace("cut down", frame, tuple(kernel_rules(frame)))


def forbidden(layers: tuple[Layer, ...]) -> bool:
    """What the published table of BitFusion lacks, said of layers and not of genes."""
    return any((layer.op, layer.kernel, layer.activation_format) == ("depthwise", 7, "int4") for layer in layers)


class TestBruteForce:
    """All index vectors of the cut-down copy, and the networks that they build."""

    space = cut_down()
    every = np.array(list(itertools.product(*map(range, space.cardinalities))), dtype=np.uint8)
    valid = np.array([not forbidden(layers) for layers in map(space.layers, every)])

    def points(self) -> Genomes:
        return np.unique(self.space.canonical(self.every[self.valid]), axis=0)

    def test_forbidden_pairs_are_what_validity_says(self) -> None:
        np.testing.assert_array_equal(self.space.valid(self.every), self.valid)
        for genome, valid in zip(self.space.canonical(self.every), self.valid, strict=True):
            if not valid:
                with pytest.raises(InvalidGenomeError, match="not allowed"):
                    self.space.check(genome[None])

    def test_size_is_the_number_of_different_networks(self) -> None:
        networks = {self.space.blocks(genome) for genome in self.every[self.valid]}
        assert self.space.size() == len(networks) == len(self.points())
        block = 2 * 2 * 2 - 2  # kernels, formats of both activations; a forbidden pair beside either of the others
        assert self.space.size() == block + block * 2 * block

    def test_encodings_are_one_hot_in_the_order_of_genes_architecture_first(self) -> None:
        genes = sorted(self.space.genes, key=lambda gene: gene.is_policy)
        for genome, encoded in zip(self.points(), self.space.encode(self.points()), strict=True):
            chosen = self.space.decode(genome)
            expected = [float(chosen.get(gene.name) == choice) for gene in genes for choice in gene.choices]
            assert encoded.tolist() == expected
        assert len(np.unique(self.space.encode(self.points()), axis=0)) == self.space.size()

    @pytest.mark.parametrize("way", ["genes", "points"])
    def test_sampling_is_uniform_over_the_valid_ones(self, way: Any) -> None:
        points, n = self.points(), 40_000
        counts = Counter(map(bytes, self.space.sample(n, np.random.default_rng(0), way)))
        assert set(counts) == set(map(bytes, points))
        deep = {bytes(genome) for genome in points if self.space.decode(genome)["stage0.depth"] == 2}
        share = len(deep) / len(points) if way == "points" else 0.5
        for members, part in ((deep, share), (set(counts) - deep, 1 - share)):
            expected = n * part / len(members)
            assert chisquare([counts[one] for one in members]).pvalue > 1e-3
            assert max(abs(counts[one] - expected) for one in members) < 5 * math.sqrt(expected)


class TestFrame:
    def test_older_spaces_keep_their_hash(self) -> None:
        assert digits().hash() == "b20c4ce20eb32768d7f077a726e2c51016760122a98a84fc89aaa503ca2db0d2"

    def test_a_first_block_makes_the_input_of_the_next_signed(self) -> None:
        assert SPACE.blocks(largest())[1].layers[0].signed_input
        assert not digits().blocks(digits().extremes()[1])[1].layers[0].signed_input

    def test_a_classifier_can_have_formats_of_its_own(self) -> None:
        frame = replace(cut_down().frame, classifier_formats=(("int8", "int4"), ("int8", "fp32")))
        space = MBConvSpace("own classifier", frame)
        genome = space.genome({"classifier.weight_format": "int4", "classifier.activation_format": "fp32"})
        mix, classifier = space.blocks(genome)[-1].layers
        assert (mix.weight_format, mix.activation_format) == ("int8", "int8")
        assert (classifier.weight_format, classifier.activation_format) == ("int4", "fp32")
        only = space.restrict_formats(
            lambda op: {("int4", "fp32")} if op == "linear" else {("int8", "int8"), ("int8", "int4")}
        )
        assert {only.layers(g)[-1].weight_format for g in only.sample(20, np.random.default_rng(0))} == {"int4"}
