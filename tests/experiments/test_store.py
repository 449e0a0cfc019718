"""What is particular to the SQLite store: its file, its migrations, its faults; and the codecs it uses."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sqlalchemy import event, make_url

from bitfront.experiments.store import migrate
from bitfront.experiments.store.cursors import decode_cursor, encode_cursor
from bitfront.experiments.store.engine import place_of, reading
from bitfront.experiments.store.errors import CursorError, StoreVersionError
from bitfront.experiments.store.home import home, open_store
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import CandidateBatch, ExportRecord, Generation
from bitfront.experiments.store.schema import METADATA
from bitfront.experiments.store.sql import SqlStore
from bitfront.experiments.store.state_blob import decode_state, encode_state
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import CorruptFileError, StorageError


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/bitfront.sqlite"


def batch_of(n: int, offset: int = 0) -> CandidateBatch:
    numbers = np.arange(offset, offset + n)
    genomes = np.stack([numbers // 256**i % 256 for i in range(3)], axis=1).astype(np.uint8)
    return CandidateBatch(genomes, {"top1": np.full(n, 0.5), "latency_ms": np.arange(n, dtype=np.float64)})


def run_python(code: str, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class TestFile:
    def test_write_ahead_log_and_foreign_keys(self, tmp_path: Path) -> None:
        with SqlStore(url_of(tmp_path)) as store, reading(store._engine) as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "foreign_keys", "busy_timeout")
            }
        assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000}

    def test_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("BITFRONT_HOME", raising=False)
        monkeypatch.delenv("BITFRONT_STORE", raising=False)
        assert home() == tmp_path / ".bitfront"
        monkeypatch.setenv("BITFRONT_HOME", str(tmp_path / "my %home?"))
        open_store().close()
        assert (tmp_path / "my %home?" / "bitfront.sqlite").is_file()
        monkeypatch.setenv("BITFRONT_STORE", f"sqlite:///{tmp_path}/elsewhere/other.sqlite")
        open_store().close()
        assert (tmp_path / "elsewhere" / "other.sqlite").is_file()
        open_store(tmp_path / "new").close()  # another home than the one that the variable is about
        assert (tmp_path / "new" / "bitfront.sqlite").is_file()

    def test_a_reader_does_not_wait_for_the_writer(self, tmp_path: Path) -> None:
        with SqlStore(url_of(tmp_path)) as store:
            experiment = store.create_experiment("a", {}, 0).id
            other = sqlite3.connect(tmp_path / "bitfront.sqlite", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE experiments SET stage = 'half way'")
            start = time.monotonic()
            assert store.get(experiment).stage == ""
            assert time.monotonic() - start < 5
            other.execute("ROLLBACK")
            other.close()

    def test_writers_of_several_processes_take_turns(self, tmp_path: Path) -> None:
        with SqlStore(url_of(tmp_path)) as store:
            experiment = store.create_experiment("a", {}, 0).id
            code = """
                import sys
                from bitfront.experiments.store.sql import SqlStore
                with SqlStore(sys.argv[1]) as store:
                    for i in range(40):
                        store.set_stage(sys.argv[2], f"{sys.argv[3]} {i}")
                        store.get(sys.argv[2])
            """
            children = [run_python(code, url_of(tmp_path), experiment, str(k)) for k in range(2)]
            for child in children:
                output = child.communicate()[0]
                assert child.returncode == 0, output
            assert store.get(experiment).stage.endswith(" 39")

    def test_many_processes_make_one_store_at_once(self, tmp_path: Path) -> None:
        code = """
            import sys
            from bitfront.experiments.store.sql import SqlStore
            with SqlStore(sys.argv[1]) as store:
                store.create_experiment("a", {}, 0)
        """
        children = [run_python(code, url_of(tmp_path / "new")) for _ in range(3)]
        for child in children:
            output = child.communicate()[0]
            assert child.returncode == 0, output
        with SqlStore(url_of(tmp_path / "new")) as store:
            assert len(store.list_experiments().items) == 3


class TestMigrations:
    def test_they_lead_to_the_schema(self, tmp_path: Path) -> None:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        with SqlStore(url_of(tmp_path)) as store, reading(store._engine) as connection:
            assert compare_metadata(MigrationContext.configure(connection), METADATA) == []

    def test_head_is_the_newest_revision(self) -> None:
        from alembic.script import ScriptDirectory

        assert ScriptDirectory(str(migrate.MIGRATIONS)).get_heads() == [migrate.HEAD]

    def test_what_the_first_version_stored_is_still_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(migrate, "HEAD", "0001")
            SqlStore(url_of(tmp_path)).close()
        raw = sqlite3.connect(tmp_path / "bitfront.sqlite")
        raw.execute(
            "INSERT INTO experiments (number, id, name, spec, seed, status, stage, reason, created_at) "
            "VALUES (1, 'old-1', 'old', '{}', 0, 'COMPLETED', '', '', 0)"
        )
        raw.execute(
            "INSERT INTO candidates (experiment_number, number, generation_index, genome, top1, on_front) "
            "VALUES (1, 0, 0, x'0102', 0.5, 1)"
        )
        raw.execute("INSERT INTO exports VALUES (1, 0, 'onnx', 'a.onnx', '00ff', 0.25, 0)")
        raw.commit()
        raw.close()
        with SqlStore(url_of(tmp_path)) as store:
            (one,) = store.candidates("old-1").items
            assert store.exports("old-1") == (ExportRecord(0, "onnx", "a.onnx", "00ff", 0.25),)
        assert (one.genome, one.predicted, one.on_front, one.error) == (b"\x01\x02", {"top1": 0.5}, True, None)

    def test_opening_again_does_not_load_alembic(self, tmp_path: Path) -> None:
        SqlStore(url_of(tmp_path)).close()
        code = """
            import sys
            from bitfront.experiments.store.sql import SqlStore
            SqlStore(sys.argv[1]).close()
            sys.exit(bool({"alembic", "torch"} & set(sys.modules)))
        """
        child = run_python(code, url_of(tmp_path))
        output = child.communicate()[0]
        assert child.returncode == 0, output

    def test_a_newer_store_is_refused_and_untouched(self, tmp_path: Path) -> None:
        SqlStore(url_of(tmp_path)).close()
        raw = sqlite3.connect(tmp_path / "bitfront.sqlite")
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.commit()
        with pytest.raises(StoreVersionError, match=r"'9999'.*upgrade bitfront"):
            SqlStore(url_of(tmp_path))
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
        raw.close()

    def test_an_interrupted_first_migration_is_done_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("alembic.operations.Operations.create_index", die)
            with pytest.raises(KeyboardInterrupt):
                SqlStore(url_of(tmp_path))
        with SqlStore(url_of(tmp_path)) as store:
            assert store.list_experiments().items == ()


class TestFaults:
    @pytest.mark.parametrize(
        "content", [b"this is no database at all" * 99, b"SQLite format 3\0" + b"\xff" * 5000]
    )
    def test_no_database(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bitfront.sqlite").write_bytes(content)
        with pytest.raises(CorruptFileError, match="BITFRONT_HOME"):
            SqlStore(url_of(tmp_path))
        assert (tmp_path / "bitfront.sqlite").read_bytes() == content

    def test_another_programs_database(self, tmp_path: Path) -> None:
        raw = sqlite3.connect(tmp_path / "bitfront.sqlite")
        raw.execute("CREATE TABLE recipes (name TEXT)")
        raw.close()
        with pytest.raises(CorruptFileError, match=r"belongs to another program.*recipes"):
            SqlStore(url_of(tmp_path))

    def test_damaged_pages(self, tmp_path: Path) -> None:
        path = tmp_path / "bitfront.sqlite"
        with SqlStore(url_of(tmp_path)) as store:
            experiment = store.create_experiment("a", {}, 0).id
            batch = batch_of(5000)
            store.add_generation(experiment, Generation(0, 5000, 0.1), batch, batch.genomes[:1], {})
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(size // 2)
            file.write(b"\xa5" * (size // 2 - 4096))
        with SqlStore(url_of(tmp_path)) as store, pytest.raises(CorruptFileError, match="damaged"):
            store.candidates(experiment, limit=5000, order="latency_ms")

    def test_full_disk(self, tmp_path: Path) -> None:
        with SqlStore(url_of(tmp_path)) as store:
            experiment = store.create_experiment("a", {}, 0).id
            small = batch_of(10)
            store.add_generation(experiment, Generation(0, 10, 0.1), small, small.genomes[:2], {"i": 0})
            pages = (tmp_path / "bitfront.sqlite").stat().st_size // 4096 + 60
            event.listen(
                store._engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages}").close()
            )
            store._engine.dispose()
            large = batch_of(20_000, offset=10)
            with pytest.raises(StorageError, match=r"full.*Free disk space.*unchanged"):
                store.add_generation(experiment, Generation(1, 20_010, 0.2), large, large.genomes[:2], {"i": 1})
            assert store.last_generation(experiment) == (Generation(0, 10, 0.1), {"i": 0})
            assert store.count_candidates(experiment) == 10
            store.set_stage(experiment, "still alive")

    def test_read_only(self, tmp_path: Path) -> None:
        with SqlStore(url_of(tmp_path)) as store:
            experiment = store.create_experiment("a", {}, 0).id
        url = f"sqlite:///file:{tmp_path}/bitfront.sqlite?mode=ro&uri=true"
        with SqlStore(url) as store:
            assert store.get(experiment).name == "a"
            with pytest.raises(StorageError, match=r"readonly.*writable"):
                store.set_stage(experiment, "x")

    def test_folder_that_can_not_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError, match="BITFRONT_HOME"):
            SqlStore(url_of(tmp_path / "file" / "home"))
        (tmp_path / "bitfront.sqlite").mkdir()
        with pytest.raises(StorageError, match="unable to open"):
            SqlStore(url_of(tmp_path))

    def test_bad_url(self) -> None:
        with pytest.raises(StorageError, match="sqlite:///"):
            SqlStore("not a url")
        with pytest.raises(StorageError, match="'mysql'"):
            SqlStore("mysql://host/name")
        for url in ("sqlite://", "sqlite:///:memory:"):
            with pytest.raises(StorageError, match="gone with its process"):
                SqlStore(url)

    @pytest.mark.parametrize(
        "where", ["bob:swordfish@host/name", "host/name?password=swordfish&sslpassword=swordfish"]
    )
    def test_no_password_is_shown(self, where: str) -> None:
        shown = place_of(make_url(f"postgresql://{where}"))
        assert "swordfish" not in shown
        assert "host/name" in shown

    def test_a_writer_that_never_ends(self, tmp_path: Path) -> None:
        with SqlStore(url_of(tmp_path)) as store:
            experiment = store.create_experiment("a", {}, 0).id
            event.listen(store._engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout = 50").close())
            store._engine.dispose()
            other = sqlite3.connect(tmp_path / "bitfront.sqlite", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageError, match="Another process"):
                store.set_stage(experiment, "x")
            other.close()

    @pytest.mark.parametrize("where", ["_insert_generation", "_insert_candidates", "_set_front", "_put_state"])
    def test_killed_while_storing_a_generation(self, tmp_path: Path, where: str) -> None:
        with SqlStore(url_of(tmp_path)) as store:
            experiment = store.create_experiment("a", {}, 0).id
            first = batch_of(100)
            store.add_generation(experiment, Generation(0, 100, 0.1), first, first.genomes[:5], {"i": 0})
        code = """
            import os, sys
            import numpy as np
            from bitfront.experiments.store import sql_search
            from bitfront.experiments.store.records import CandidateBatch, Generation
            from bitfront.experiments.store.sql import SqlStore
            url, experiment, where = sys.argv[1:]
            step = getattr(sql_search, where)
            def step_and_die(*args):
                step(*args)
                os._exit(9)
            setattr(sql_search, where, step_and_die)
            genomes = np.random.default_rng(0).integers(0, 256, (5000, 3), dtype=np.uint8)
            batch = CandidateBatch(genomes, {"top1": np.full(5000, 0.5)})
            SqlStore(url).add_generation(experiment, Generation(1, 5100, 0.2), batch, genomes[:9], {"i": 1})
        """
        child = run_python(code, url_of(tmp_path), experiment, where)
        output = child.communicate()[0]
        assert child.returncode == 9, output
        with SqlStore(url_of(tmp_path)) as store:
            assert store.last_generation(experiment) == (Generation(0, 100, 0.1), {"i": 0})
            assert store.count_candidates(experiment) == 100
            front = store.candidates(experiment, on_front=True).items
            assert [one.genome for one in front] == [row.tobytes() for row in first.genomes[:5]]
            again = batch_of(50, offset=100)
            store.add_generation(experiment, Generation(1, 150, 0.2), again, again.genomes[:1], {"i": 1})
            assert store.count_candidates(experiment) == 150


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text().filter(lambda k: k != "$array"), inner),
    max_leaves=8,
)
_arrays = hnp.arrays(
    st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(),
        hnp.unsigned_integer_dtypes(),
        hnp.floating_dtypes(sizes=(32, 64)),
    ),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


class TestStateBlob:
    @given(plain=st.dictionaries(st.text().filter(lambda k: k != "$array"), _plain, max_size=4))
    def test_plain_values_come_back(self, plain: dict[str, object]) -> None:
        assert decode_state(encode_state(plain)) == plain

    @given(array=_arrays, transposed=st.booleans())
    def test_arrays_come_back(
        self, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], transposed: bool
    ) -> None:
        array = array.T if transposed else array
        found = decode_state(encode_state({"deep": [{"array": array}]}))["deep"][0]["array"]
        assert (found.shape, found.dtype) == (array.shape, array.dtype.newbyteorder("="))
        np.testing.assert_array_equal(found, array)

    def test_generator_state_comes_back(self) -> None:
        rng = np.random.default_rng(7)
        state = decode_state(encode_state({"rng": dict(rng.bit_generator.state)}))
        expected = rng.random(5)
        other = np.random.default_rng(0)
        other.bit_generator.state = state["rng"]
        np.testing.assert_array_equal(other.random(5), expected)

    def test_numpy_scalars_tuples_and_infinity(self) -> None:
        state = decode_state(encode_state({"a": np.float64(0.5), "b": (np.int64(3), True), "c": -math.inf}))
        assert state == {"a": 0.5, "b": [3, True], "c": -math.inf}

    @pytest.mark.parametrize(
        ("state", "place"),
        [
            ({"a": [1, {"b": object()}]}, r"state\.a\[1\]\.b is a object"),
            ({"a": {1: 2}}, r"state\.a has the key 1"),
            ({"a": np.array(["x"])}, r"state\.a is an array of <U1"),
            ({"a": np.array([None])}, r"state\.a is an array of object"),
            ({"a": b"bytes"}, r"state\.a is a bytes"),
        ],
    )
    def test_other_values_are_refused(self, state: dict[str, object], place: str) -> None:
        with pytest.raises(TypeError, match=place):
            encode_state(state)

    @given(st.binary(max_size=60))
    def test_other_bytes_are_refused(self, data: bytes) -> None:
        with pytest.raises(CorruptFileError):
            decode_state(data)

    def test_cut_bytes_are_refused(self) -> None:
        data = encode_state({"a": np.arange(10), "b": 1})
        for length in range(len(data)):
            with pytest.raises(CorruptFileError):
                decode_state(data[:length])


class TestCursors:
    @given(
        st.lists(
            st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False), max_size=3
        )
    )
    def test_comes_back(self, key: list[int | float]) -> None:
        cursor = encode_cursor("listing", key)
        assert decode_cursor("listing", cursor, len(key)) == key
        assert cursor.replace("-", "a").replace("_", "a").isalnum()

    @given(st.text(max_size=60))
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(CursorError):
            decode_cursor("listing", text, 1)

    @pytest.mark.parametrize("key", [[math.nan], [math.inf], [2**63], [True], ["x"], [None], [1, 2], []])
    def test_other_keys_are_refused(self, key: list[int]) -> None:
        with pytest.raises(CursorError):
            decode_cursor("listing", encode_cursor("listing", key), 1)


class TestOwner:
    def test_this_process_is_alive(self) -> None:
        assert Owner.current().is_here
        assert Owner.current().is_alive
        assert Owner("", os.getpid(), "").is_alive

    def test_a_later_process_with_the_same_id_is_another(self) -> None:
        assert not Owner("", os.getpid(), "another-boot:1").is_alive

    def test_a_zombie_is_dead(self) -> None:
        code = """
            import time
            from bitfront.experiments.store.owner import Owner
            print(Owner.current().started, flush=True)
            time.sleep(60)
        """
        child = run_python(code)
        assert child.stdout is not None
        owner = Owner("", child.pid, child.stdout.readline().strip())
        alive = owner.is_alive
        child.kill()
        until = time.monotonic() + 10
        while owner.is_alive and time.monotonic() < until:
            time.sleep(0.01)
        zombie_is_alive = owner.is_alive  # it was not waited for
        child.communicate()
        assert (alive, zombie_is_alive) == (True, False)
        assert not Owner("", child.pid, "").is_alive


def test_statuses_speak_of_themselves() -> None:
    assert {status for status in Status if status.is_held} == {Status.RUNNING, Status.CANCELLING}
    assert {status for status in Status if not status.is_over} == {
        Status.RUNNING,
        Status.CANCELLING,
        Status.QUEUED,
    }
