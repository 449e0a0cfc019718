"""CSV and parquet as plain columns: rows keep the names that a person knows them by, and odd files are refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from bitfront.predictors.table_files import PairTableError, read_csv, read_table
from bitfront.supernet.errors import CorruptFileError, MissingFileError, UnknownNameError


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


class TestCsv:
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_separators(self, csv: Path, separator: str) -> None:
        csv.write_text(f"a{separator}b\n1{separator}x\n2{separator}y\n")
        table = read_table(csv)
        assert table.columns == {"a": ["1", "2"], "b": ["x", "y"]}
        assert (table.where(0), table.where(1)) == ("line 2", "line 3")

    def test_a_genome_with_commas_is_one_cell(self, csv: Path) -> None:
        csv.write_text('genome,top1\n"[0, 1, 2]",0.5\n')
        assert read_csv(csv).columns == {"genome": ["[0, 1, 2]"], "top1": ["0.5"]}

    def test_lines_are_those_of_the_file(self, csv: Path) -> None:
        csv.write_text('a,b\n1,"over\ntwo lines"\n\n\n2,x\n')
        table = read_csv(csv)
        assert table.columns["b"] == ["over\ntwo lines", "x"]
        assert table.numbers == [2, 6]

    def test_a_byte_order_mark_and_windows_line_ends_are_no_content(self, csv: Path) -> None:
        csv.write_bytes(b"\xef\xbb\xbfa, b \r\n1,2\r\n")
        assert read_csv(csv).columns == {"a": ["1"], "b": ["2"]}

    def test_rows_of_other_lengths_are_named(self, csv: Path) -> None:
        csv.write_text("a,b\n1,2\n1,2,3\n1\n")
        with pytest.raises(PairTableError) as caught:
            read_csv(csv)
        assert caught.value.problems == (
            "line 3 has 3 cells, but the head names 2 columns",
            "line 4 has 1 cell, but the head names 2 columns",
        )

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "no rows below its head"),
            (b"a,b\n", "no rows below its head"),
            (b"a,b,a\n1,2,3\n", "column 'a' comes twice"),
            (b"a,b,,\n1,2,,\n", r"2 of 4 cells of its head are empty \(columns 3, 4\)\nName each column"),
        ],
    )
    def test_what_is_no_table(self, csv: Path, content: bytes, words: str) -> None:
        csv.write_bytes(content)
        with pytest.raises(PairTableError, match=words):
            read_csv(csv)

    def test_an_index_needs_no_name(self, csv: Path) -> None:
        csv.write_text(",a\n0,1\n1,2\n")
        assert read_csv(csv).columns == {"": ["0", "1"], "a": ["1", "2"]}

    @pytest.mark.parametrize("content", [b"a\xff,b\n1,2\n", b'a,b\n1,"open\n'])
    def test_what_is_no_csv(self, csv: Path, content: bytes) -> None:
        csv.write_bytes(content)
        with pytest.raises(CorruptFileError, match=r"table\.csv can not be read as CSV"):
            read_csv(csv)


class TestParquet:
    def test_values_keep_their_types(self, tmp_path: Path) -> None:
        path = tmp_path / "table.parquet"
        columns = {"genome": [[0, 1], [2, 3]], "top1": [0.5, None], "name": ["a", "b"]}
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        table = read_table(path)
        assert table.columns == columns
        assert (table.where(0), table.where(1)) == ("row 1", "row 2")

    def test_folder_names_are_no_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "top1=0.5" / "table.parquet"
        path.parent.mkdir()
        pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), path)
        assert list(read_table(path).columns) == ["a"]

    def test_what_is_no_parquet(self, tmp_path: Path) -> None:
        path = tmp_path / "table.parquet"
        path.write_text("a,b\n1,2\n")
        with pytest.raises(CorruptFileError, match="can not be read as parquet"):
            read_table(path)

    def test_without_rows(self, tmp_path: Path) -> None:
        path = tmp_path / "table.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"a": pyarrow.array([], pyarrow.int64())}), path)
        with pytest.raises(PairTableError, match="no rows"):
            read_table(path)

    def test_the_form_counts_more_than_the_ending(self, tmp_path: Path) -> None:
        path = tmp_path / "table.data"
        pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), path)
        assert read_table(path, "parquet").columns == {"a": [1]}
        with pytest.raises(UnknownNameError, match=r"'\.data'.*Known are: \.csv, \.parquet, \.tsv"):
            read_table(path)


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "."])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match="is missing: give the path of a CSV or parquet file"):
        read_table(tmp_path / name, "csv" if name == "." else None)


def test_of_many_problems_the_first_few_are_shown_and_all_are_kept() -> None:
    error = PairTableError("t.csv", [f"line {i} is odd" for i in range(100)], "Mend it")
    assert len(error.problems) == 100
    lines = str(error).splitlines()
    assert lines[1] == "  line 0 is odd"
    assert lines[-2:] == ["  and 92 more: 100 problems in all", "Mend it"]
