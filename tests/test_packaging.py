"""The package as declared is the package on disk, and what must not be imported is not."""

from __future__ import annotations

import ast
import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("supernet", "predictors", "latency_lut", "search", "experiments")
PICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
RUN_BY_ALEMBIC = "bitfront.experiments.store.migrations.env"  # works inside a migration only


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("bitfront", *parts)).removesuffix(".__init__")


# -- what is declared --------------------------------------------------------------------------------------


def test_the_declared_packages_are_those_on_disk(project: dict[str, Any]) -> None:
    on_disk = {_module(path) for path in _sources(*FOLDERS) if path.name == "__init__.py"}
    declared = project["tool"]["setuptools"]["packages"]
    assert sorted(declared) == sorted(on_disk)


def test_every_folder_with_code_is_a_package() -> None:
    for path in _sources(*FOLDERS):
        assert (path.parent / "__init__.py").is_file(), f"{path.parent} has code but no __init__.py"


def test_every_folder_is_mapped_under_the_one_root(project: dict[str, Any]) -> None:
    assert project["tool"]["setuptools"]["package-dir"] == {f"bitfront.{folder}": folder for folder in FOLDERS}
    for folder in FOLDERS:
        assert (ROOT / folder / "py.typed").is_file()


def test_type_checkers_find_the_folders_through_links() -> None:
    links = ROOT / ".ns" / "bitfront"
    assert {link.name for link in links.iterdir()} == set(FOLDERS)
    for folder in FOLDERS:
        assert (links / folder).readlink() == Path("../..") / folder
        assert (links / folder).resolve() == ROOT / folder


def test_the_root_is_a_namespace() -> None:
    assert not (ROOT / "bitfront").exists()
    assert not (ROOT / ".ns" / "bitfront" / "__init__.py").exists()
    assert importlib.import_module("bitfront").__file__ is None


@pytest.mark.parametrize("path", list(_sources(*FOLDERS)), ids=_module)
def test_every_module_can_be_imported_from_its_place(path: Path) -> None:
    if _module(path) == RUN_BY_ALEMBIC:
        compile(path.read_text(), str(path), "exec")
        return
    module = importlib.import_module(_module(path))
    assert module.__file__ is not None
    assert Path(module.__file__).resolve() == path


def test_the_command_exists(project: dict[str, Any]) -> None:
    for target in project["project"]["scripts"].values():
        module, _, attribute = target.partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))


def test_the_readme_and_the_licence_are_there(project: dict[str, Any]) -> None:
    for name in (project["project"]["readme"], *project["project"]["license-files"]):
        assert (ROOT / name).stat().st_size > 0


# -- what is imported --------------------------------------------------------------------------------------


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


def _is_pickling(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return ast.unparse(node) in {"torch.load", "torch.save"} or node.attr in {"read_pickle", "to_pickle"}
    return isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False"


def _problems(source: str) -> list[str]:
    """What a source does that no source here may do; "" is the top of a relative import."""
    banned = {"", *PICKLERS, *FOLDERS}
    nodes = list(ast.walk(ast.parse(source)))
    imports = [name for node in nodes for name in _imported(node) if name.partition(".")[0] in banned]
    return imports + [ast.unparse(node) for node in nodes if _is_pickling(node)]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, pickle as p",
        "from joblib import dump",
        "import search",
        "from supernet.space import SearchSpace",
        "def f():\n    import experiments.cli",
        "from . import sibling",
        "from ..search import front",
        "import torch\ntorch.save(1, 'x')",
        "np.load('x', allow_pickle=True)",
        "frame.to_pickle('x')",
    ],
)
def test_the_check_of_imports_finds(source: str) -> None:
    assert _problems(source)


def test_the_check_of_imports_lets_pass() -> None:
    assert not _problems(
        "import bitfront.search\nfrom bitfront.supernet import space\nimport numpy\nnp.load('x')\n"
    )


@pytest.mark.parametrize("path", list(_sources(*FOLDERS, "tests")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_pickled_and_imports_are_absolute(path: Path) -> None:
    assert not _problems(path.read_text())


_DATA = (".safetensors", ".json", ".yaml", ".c", ".h")


@pytest.mark.parametrize(
    "folder", ["supernet/assets", "supernet/export/integer/c/kernels", "experiments/recipes", "experiments/demo"]
)
def test_files_beside_the_code_are_packed(project: dict[str, Any], folder: str) -> None:
    """What is no code is left out of a wheel unless a pattern names it, as seen from its package."""
    files = {path for path in (ROOT / folder).rglob("*") if path.suffix in _DATA}
    assert files
    packed = set()
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        if package != "*":
            own = ROOT.joinpath(*package.split(".")[1:])
            packed |= {path for pattern in patterns for path in own.glob(pattern)}
    assert files <= packed
