"""Which files a benchmark's figures depend on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitfront.experiments.benchmarks import BENCHMARKS
from bitfront.experiments.results import sources as own
from bitfront.experiments.results.claims import CLAIMS
from bitfront.experiments.results.sources import sources, sources_digest

JOINT = "bitfront.experiments.benchmarks.joint"


@pytest.mark.parametrize("bench", [claim.bench for claim in CLAIMS])
def test_no_claim_depends_on_pages_or_other_benchmarks(bench: str) -> None:
    module = BENCHMARKS.module(bench)
    found = sources(module)
    assert found[module].name == f"{module.rpartition('.')[2]}.py"
    assert "bitfront.experiments.benchmarks" in found
    for other in (
        "experiments.results.page",
        "experiments.web.pages",
        "experiments.cli",
        "experiments.benchmarks.ray",
    ):
        assert f"bitfront.{other}" not in found
    others = {BENCHMARKS.module(name) for name in ("service", "search-speed", "ilp")}
    assert not others & set(found)


def test_it_depends_on_what_is_reached_in_any_way() -> None:
    found = sources(JOINT)
    for module in (
        "bitfront.experiments.benchmarks.studied",  # imported
        "bitfront.supernet.quantization.formats.int4",  # a line of a registry
        "bitfront.search.strategies.nsga2",
        "bitfront.latency_lut.devices.bitfusion",
        "bitfront.experiments.stages",  # a package
        "bitfront.supernet.assets/fashion/supernet.safetensors",  # data
    ):
        assert module in found, module
    assert all(path.is_file() for path in found.values())
    assert not any("__pycache__" in str(path) for path in found.values())


class TestDigest:
    @pytest.fixture
    def tree(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        files = {
            "__init__.py": "",
            "a.py": "import bitfront.search.b\nNAME = 'bitfront.search.c:it'\n",
            "b.py": "def late():\n    from bitfront.search.deep import d\n",
            "c.py": "TEXT = 'see bitfront.search.other'\n",
            "other.py": "",
            "deep/__init__.py": "",
            "deep/d.py": "import os, numpy\n",
            "deep/data.json": "{}",
            "deep/more/x.bin": "1",
            "apart/__init__.py": "",
            "apart/y.json": "{}",
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        monkeypatch.setattr(own, "_folder", lambda name: tmp_path)
        return tmp_path

    def test_names(self, tree: Path) -> None:
        assert list(sources("bitfront.search.a")) == [
            "bitfront.search",
            "bitfront.search.a",
            "bitfront.search.b",
            "bitfront.search.c",
            "bitfront.search.deep",
            "bitfront.search.deep.d",
            "bitfront.search.deep/data.json",
            "bitfront.search.deep/more/x.bin",
        ]

    @pytest.mark.parametrize(
        ("name", "matters"),
        [
            ("a.py", True),
            ("deep/d.py", True),
            ("deep/data.json", True),
            ("deep/more/x.bin", True),
            ("other.py", False),
            ("apart/y.json", False),
        ],
    )
    def test_it_changes_with_what_matters(self, tree: Path, name: str, matters: bool) -> None:
        before = sources_digest("bitfront.search.a")
        assert sources_digest("bitfront.search.a") == before
        with (tree / name).open("a") as file:
            file.write("\n# changed\n")
        own._imported.cache_clear()
        assert (sources_digest("bitfront.search.a") != before) is matters
