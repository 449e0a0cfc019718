"""A table of one's own as pairs: what is wrong is named by row or column, what was made of it is told."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bitfront.predictors.pair_tables import read_candidates, read_pairs
from bitfront.predictors.table_files import PairTableError
from bitfront.supernet.errors import MissingFileError, UnknownNameError
from bitfront.supernet.genes import Genomes
from bitfront.supernet.spaces.digits import digits

SPACE = digits()
N = 12
GENOMES: Genomes = SPACE.sample(N, np.random.default_rng(2), "sizes")
ACCURACY: NDArray[np.float64] = np.round(np.random.default_rng(3).uniform(0.5, 0.9, N), 4)


def rows(accuracy: Any = ACCURACY, genomes: Genomes = GENOMES) -> list[dict[str, object]]:
    """A row a candidate, with a column for each gene, empty where it is of a skipped block."""
    empty = dict.fromkeys(SPACE.position, "")
    return [
        {**empty, **SPACE.decode(genome), "top1": value, "seconds": 3}
        for genome, value in zip(genomes, accuracy, strict=True)
    ]


def written(folder: Path, cells: list[dict[str, object]], name: str = "mine.csv") -> Path:
    path = folder / name
    if path.suffix == ".parquet":
        pd.DataFrame(cells).replace({"": None}).to_parquet(path)
        return path
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)
    return path


def refused(path: Path, **options: Any) -> PairTableError:
    with pytest.raises(PairTableError) as caught:
        read_pairs(path, SPACE, **options)
    assert str(caught.value).startswith(f"{path} can not be used (nothing was):")
    return caught.value


class TestGoodTables:
    @pytest.mark.parametrize("name", ["mine.csv", "mine.tsv", "mine.parquet"])
    def test_every_row_is_read(self, tmp_path: Path, name: str) -> None:
        table = read_pairs(written(tmp_path, rows(), name), SPACE)
        assert (table.genomes == GENOMES).all()
        assert (table.accuracy == ACCURACY).all()
        assert table.unused == ("seconds",)
        assert table.unit == ("row" if name.endswith("parquet") else "line")
        first = 1 if name.endswith("parquet") else 2
        assert table.numbers == tuple(range(first, N + first))
        assert (table.left_out, table.rewritten) == ((), 0)

    def test_genomes_and_per_cent(self, tmp_path: Path) -> None:
        cells: list[dict[str, object]] = [
            {"genome": g, "acc": 100 * a} for g, a in zip(GENOMES.tolist(), ACCURACY, strict=True)
        ]
        for name in ("mine.csv", "mine.parquet"):
            table = read_pairs(written(tmp_path, cells, name), SPACE, "acc", percent=True)
            assert (table.genomes == GENOMES).all()
            np.testing.assert_allclose(table.accuracy, ACCURACY, rtol=1e-12)

    def test_repeated_genomes_are_averaged_and_counted(self, tmp_path: Path) -> None:
        again = rows(ACCURACY[[0, 0, 1]] + np.array([0.02, 0.04, 0.0]), GENOMES[[0, 0, 1]])
        table = read_pairs(written(tmp_path, rows() + again), SPACE)
        pairs, repeats = table.averaged()
        assert (repeats.merged, repeats.differing) == (3, 1)
        assert repeats.largest == pytest.approx(0.04)
        assert (pairs.genomes == GENOMES).all()
        expected = ACCURACY.copy()
        expected[0] += 0.02
        np.testing.assert_allclose(pairs.accuracy, expected)
        words = "3 rows repeat genomes, and 1 genome has different values (by up to 0.0400): averaged"
        assert words in table.notes()

    def test_rows_that_differ_in_skipped_blocks_alone_are_one_candidate(self, tmp_path: Path) -> None:
        active = SPACE.active(GENOMES)
        row = int(np.argmin(active.all(axis=1)))
        hidden = {gene.name: gene.choices[-1] for i, gene in enumerate(SPACE.genes) if not active[row, i]}
        assert hidden
        again = [rows()[row] | hidden | {"top1": ACCURACY[row]}]
        table = read_pairs(written(tmp_path, rows() + again), SPACE)
        assert table.averaged()[1].merged == 1
        assert table.rewritten == 1
        assert "1 row: values in genes of skipped blocks, which count for nothing" in table.notes()

    def test_genes_that_never_vary_are_named(self, tmp_path: Path) -> None:
        genomes = GENOMES.copy()
        genomes[:, SPACE.position["resolution"]] = 1
        table = read_pairs(written(tmp_path, rows(genomes=genomes)), SPACE)
        active = SPACE.active(genomes)
        constant = [
            gene.name
            for i, gene in enumerate(SPACE.genes)
            if len({int(value) for value, on in zip(genomes[:, i], active[:, i], strict=True) if on}) < 2
        ]
        assert "resolution" in constant
        assert list(table.constant) == constant
        assert f"warning: {len(constant)} genes never vary" in " ".join(table.notes())

    def test_candidates_need_no_accuracy(self, tmp_path: Path) -> None:
        cells = [{name: cell for name, cell in row.items() if name != "top1"} for row in rows()]
        table = read_candidates(written(tmp_path, cells), SPACE)
        assert (table.genomes == GENOMES).all()
        assert table.notes() == ["columns that were not used: seconds"]


class TestBadTables:
    def test_decimal_commas_of_a_table_with_semicolons(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.csv"
        lines = [
            f"{' '.join(map(str, g))};{str(a).replace('.', ',')}" for g, a in zip(GENOMES, ACCURACY, strict=True)
        ]
        path.write_text("\n".join(["genome;top1", *lines]))
        first = ACCURACY[0]
        assert refused(path).problems[0] == (
            f"line 2: top1 is '{str(first).replace('.', ',')}', which is no number: a decimal comma? write {first}"
        )

    @pytest.mark.parametrize(
        ("cell", "said"),
        [
            ("nan", "top1 is missing"),
            ("NaN", "top1 is missing"),
            ("", "top1 is missing"),
            (" ", "top1 is missing"),
            ("0,93", "top1 is '0,93', which is no number: a decimal comma? write 0.93"),
            ("0,9,3", "top1 is '0,9,3', which is no number"),
            ("n/a", "top1 is 'n/a', which is no number"),
            ("inf", "top1 is inf, but must be a fraction from 0 to 1"),
            ("-0.1", "top1 is -0.1, but must be a fraction from 0 to 1"),
            ("93", "top1 is 93, but must be a fraction from 0 to 1: per cent? give --percent"),
        ],
    )
    def test_an_accuracy_is_named_by_its_line(self, tmp_path: Path, cell: str, said: str) -> None:
        cells = rows()
        cells[6]["top1"] = cell
        path = written(tmp_path, cells)
        error = refused(path)
        assert error.problems == (f"line 8: {said}",)
        assert "--skip-bad-rows" in str(error)
        table = read_pairs(path, SPACE, skip_bad_rows=True)
        assert (table.genomes == np.delete(GENOMES, 6, axis=0)).all()
        assert (table.accuracy == np.delete(ACCURACY, 6)).all()
        assert 8 not in table.numbers
        assert table.notes()[0] == f"left out because something is wrong: line 8: {said}"

    def test_a_missing_accuracy_in_parquet_is_named_by_its_row(self, tmp_path: Path) -> None:
        accuracy = ACCURACY.copy()
        accuracy[3] = np.nan
        assert refused(written(tmp_path, rows(accuracy), "mine.parquet")).problems == ("row 4: top1 is missing",)

    def test_a_row_out_of_the_space_is_named_with_gene_value_and_choices(self, tmp_path: Path) -> None:
        cells = rows()
        cells[2]["resolution"] = 16
        cells[5]["top1"] = ""
        path = written(tmp_path, cells)
        assert refused(path).problems == (
            "line 4: gene 'resolution' is '16', but must be one of 6, 8, 12",
            "line 7: top1 is missing",
        )
        assert len(read_pairs(path, SPACE, skip_bad_rows=True).genomes) == N - 2

    def test_a_constant_metric_is_named(self, tmp_path: Path) -> None:
        error = refused(written(tmp_path, rows([0.5] * N)))
        assert error.problems == (
            "column 'top1' is 0.5 in every row: there is nothing to tell candidates apart by",
        )

    def test_nothing_left(self, tmp_path: Path) -> None:
        error = refused(written(tmp_path, rows(["nan"] * N)), skip_bad_rows=True)
        assert "Every row is wrong" in str(error)
        assert len(error.problems) == N

    def test_fractions_called_per_cent(self, tmp_path: Path) -> None:
        assert "leave --percent out" in str(refused(written(tmp_path, rows()), percent=True))

    def test_per_cent_beyond_a_hundred(self, tmp_path: Path) -> None:
        cells = rows(ACCURACY * 100)
        cells[0]["top1"] = 101
        (problem,) = refused(written(tmp_path, cells), percent=True).problems
        assert problem == "line 2: top1 is 101, but must be per cent, from 0 to 100"

    def test_an_unknown_metric_names_the_nearest_column(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownNameError, match="'top_1': did you mean 'top1'"):
            read_pairs(written(tmp_path, rows()), SPACE, "top_1")

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match=r"none\.csv is missing"):
            read_pairs(tmp_path / "none.csv", SPACE)
