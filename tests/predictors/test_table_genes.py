"""Genomes out of cells: all ways to write them say the same; what is wrong is named by row, gene and value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.predictors.table_files import PairTableError, RawTable
from bitfront.predictors.table_genes import ReadGenomes, read_genomes
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.digits import digits
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig
from bitfront.supernet.spaces.proxyless import proxyless

SPACE = digits()
RULED = proxyless()


def table(columns: dict[str, list[object]], unit: str = "line") -> RawTable:
    rows = len(next(iter(columns.values())))
    return RawTable("t.csv", columns, unit, list(range(2, rows + 2)))


def gene_columns(genomes: Genomes) -> dict[str, list[object]]:
    """Choice values as a CSV file has them."""
    return {gene.name: [str(gene.choices[index]) for index in genomes[:, i]] for i, gene in enumerate(SPACE.genes)}


def small_space() -> MBConvSpace:
    """One resolution, and ends in fp32."""
    frame = MBConvConfig(
        in_channels=1, classes=10, stem_channels=4, stem_stride=1,
        stages=(StageConfig(out_channels=6, stride=2, depths=(1, 2), widths=(4, 8)),),
        head_channels=16, resolutions=(8,), weight_formats=("fp32", "int8"), activation_formats=("fp32", "int8"),
        end_formats=("fp32",),
    )  # fmt: skip
    return MBConvSpace("small", frame)


def words(found: ReadGenomes) -> list[tuple[int, str]]:
    return sorted(found.problems)


@pytest.fixture(scope="module")
def genomes() -> Genomes:
    return SPACE.sample(20, np.random.default_rng(1), "sizes")


WRITTEN: dict[str, Callable[[list[int]], object]] = {
    "list": lambda genome: genome,
    "bytes": bytes,
    "json": json.dumps,
    "spaces": lambda genome: " ".join(map(str, genome)),
    "commas": lambda genome: ", ".join(map(str, genome)),
    "semicolons": lambda genome: ";".join(map(str, genome)),
    "hexadecimal": lambda genome: bytes(genome).hex(),
    "0x": lambda genome: f"0x{bytes(genome).hex()}",
}


class TestWays:
    @pytest.mark.parametrize("way", WRITTEN)
    def test_whole_genomes(self, genomes: Genomes, way: str) -> None:
        found = read_genomes(
            table({"genome": [WRITTEN[way](one) for one in genomes.tolist()], "x": [0] * 20}), SPACE
        )
        assert not found.problems
        assert found.used == ("genome",)
        assert (found.genomes == genomes).all()

    def test_a_column_for_each_gene(self, genomes: Genomes) -> None:
        found = read_genomes(table(gene_columns(genomes)), SPACE)
        assert not found.problems
        assert (found.genomes == genomes).all()
        assert not found.skipped.any()

    def test_numbers_are_read_as_they_are_meant(self, genomes: Genomes) -> None:
        columns = gene_columns(genomes)
        typed: dict[str, list[object]] = {
            name: [float(str(cell)) if str(cell).isdigit() else f" {cell} " for cell in cells]
            for name, cells in columns.items()
        }
        found = read_genomes(table(typed), SPACE)
        assert not found.problems
        assert (found.genomes == genomes).all()

    def test_genes_of_skipped_blocks_may_hold_anything(self, genomes: Genomes) -> None:
        active = SPACE.active(genomes)
        assert not active.all()
        for filling, counted in ((None, False), ("", False), ("none", False), ("what?", True)):
            columns = gene_columns(genomes)
            for row, gene in np.argwhere(~active):
                columns[SPACE.genes[gene].name][row] = filling
            found = read_genomes(table(columns), SPACE)
            assert not found.problems
            assert (found.genomes == genomes).all()
            assert (found.skipped == ((~active).any(axis=1) & counted)).all()

    @given(st.integers(0, 2**32))
    def test_what_a_space_forbids_is_what_is_refused(self, seed: int) -> None:
        raw = np.random.default_rng(seed).integers(0, RULED.cardinalities, (6, RULED.n_genes))
        canonical = RULED.canonical(raw.astype(np.uint8))
        found = read_genomes(table({"genome": raw.tolist()}), RULED)
        assert {row for row, _ in found.problems} == set(np.flatnonzero(~RULED.valid(canonical)).tolist())
        assert (found.genomes == canonical).all()


class TestWrongCells:
    def test_a_value_that_is_no_choice(self, genomes: Genomes) -> None:
        columns = gene_columns(genomes)
        columns["resolution"][4] = "7"
        columns["stem.weight_format"][9] = "int3"
        columns["stage0.depth"][2] = ""
        gene = SPACE.genes[SPACE.position["stem.weight_format"]]
        assert words(read_genomes(table(columns), SPACE)) == [
            (2, "gene 'stage0.depth' is missing: it must be one of 1, 2, 3"),
            (4, "gene 'resolution' is '7', but must be one of 6, 8, 12"),
            (9, f"gene 'stem.weight_format' is 'int3', but must be one of {', '.join(map(str, gene.choices))}"),
        ]

    @pytest.mark.parametrize("index", [3, 255, 256, 10**12, -1, -7])
    def test_an_index_out_of_range(self, genomes: Genomes, index: int) -> None:
        cells = genomes.tolist()
        cells[7][0] = index
        ((row, text),) = read_genomes(table({"genome": cells}), SPACE).problems
        assert row == 7
        assert text == f"gene 'resolution' has index {index}, but must have an index from 0 to 2 (of 6, 8, 12)"

    @pytest.mark.parametrize(
        ("cell", "said"),
        [
            ("", "genome is missing"),
            (None, "genome is missing"),
            (float("nan"), "genome is missing"),
            ("0 1 2", "genome has 3 genes, but space 'digits' has 56"),
            ([0.5] * 56, "which is no list of whole numbers"),
            ([True] * 56, "which is no list of whole numbers"),
            ("[0, 1", "which is no list of whole numbers"),
            ("[" * 100_000, "which is no list of whole numbers"),
            ("[" + "0, " * 55 + "0.5]", "which is no list of whole numbers"),
            ("digits-17", "genome is 'digits-17', which is no list of whole numbers"),
            (5, "which is no list of whole numbers"),
        ],
    )
    def test_what_is_no_genome(self, genomes: Genomes, cell: object, said: str) -> None:
        cells: list[object] = list(genomes.tolist())
        cells[3] = cell
        ((row, text),) = read_genomes(table({"genome": cells}), SPACE).problems
        assert row == 3
        assert said in text

    def test_a_forbidden_combination_names_its_genes(self) -> None:
        good = RULED.sample(1, np.random.default_rng(0))[0]
        group = next(group for group in RULED.groups if len(group.members) > 1 and not group.valid.all())
        for indices in np.ndindex(*(len(RULED.genes[i].choices) for i in group.members)):
            bad = good.copy()
            bad[list(group.members)] = indices
            if not RULED.valid(RULED.canonical(bad[None]))[0]:
                break
        ((row, text),) = read_genomes(table({"genome": [good.tolist(), bad.tolist()]}), RULED).problems
        assert row == 1
        assert "is not allowed in space 'proxyless'" in text
        for i in group.members:
            assert f"{RULED.genes[i].name} {RULED.genes[i].choices[bad[i]]}" in text
        mended = bad.copy()
        for name, choice in re.findall(
            r"(\S+) ([^\s,]+)", text.partition(": with ")[2].removesuffix(" it would be")
        ):
            place = RULED.position[name]
            mended[place] = [str(one) for one in RULED.genes[place].choices].index(choice)
        assert (mended != bad).any()
        assert RULED.valid(RULED.canonical(mended[None]))[0]


class TestWrongColumns:
    def refused(self, columns: dict[str, list[object]]) -> PairTableError:
        with pytest.raises(PairTableError) as caught:
            read_genomes(table(columns), SPACE)
        return caught.value

    def test_a_misspelt_gene_is_told_once_with_the_right_name(self, genomes: Genomes) -> None:
        columns = gene_columns(genomes)
        columns["stage0.dpeth"] = columns.pop("stage0.depth")
        assert self.refused(columns).problems == (
            "column 'stage0.dpeth' is no gene of space 'digits': did you mean 'stage0.depth'?",
        )

    def test_a_missing_gene(self, genomes: Genomes) -> None:
        columns = gene_columns(genomes)
        del columns["resolution"], columns["stage1.depth"]
        assert self.refused(columns).problems == (
            "column of gene 'resolution' is missing",
            "column of gene 'stage1.depth' is missing",
        )

    def test_genes_of_another_space(self, genomes: Genomes) -> None:
        columns = gene_columns(genomes) | {"stage7.depth": ["1"] * 20}
        (problem,) = self.refused(columns).problems
        assert problem.startswith("column 'stage7.depth' is no gene of space 'digits'")

    def test_a_table_without_formats_is_told_to_add_them(self, genomes: Genomes) -> None:
        columns = {name: cells for name, cells in gene_columns(genomes).items() if "format" not in name}
        assert "where nothing was quantized, add them with fp32 in every row" in str(self.refused(columns))

    def test_no_gene_at_all(self) -> None:
        error = self.refused({"name": ["a"], "top1": ["0.5"]})
        assert error.problems == ("none of its columns ('name', 'top1') is a gene of space 'digits'",)
        assert "column 'genome'" in str(error)

    def test_genes_with_but_one_choice_need_no_column(self) -> None:
        fixed = {"resolution", "stem.weight_format", "stem.activation_format"}
        space = small_space()
        genomes = space.sample(9, np.random.default_rng(0))
        columns: dict[str, list[object]] = {
            gene.name: [gene.choices[index] for index in genomes[:, i]]
            for i, gene in enumerate(space.genes)
            if gene.name not in fixed
        }
        found = read_genomes(table(columns), space)
        assert not found.problems
        assert (found.genomes == genomes).all()
        columns["resolution"] = [*[8] * 8, 12]
        ((row, text),) = read_genomes(table(columns), space).problems
        assert (row, text) == (8, "gene 'resolution' is '12', but must be one of 8")

    def test_other_columns_are_of_other_use(self, genomes: Genomes) -> None:
        found = read_genomes(table(gene_columns(genomes) | {"latency_ms": ["1"] * 20, "id": ["7"] * 20}), SPACE)
        assert set(found.used) == set(SPACE.position)
