"""Which files of bitfront decide what a benchmark finds: what its module imports, in whatever way, and data.

Benchmarks do not decide each other's figures, so that a new one makes none of the others' results outdated.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_ROOT = "bitfront"
FOLDERS = ("supernet", "predictors", "latency_lut", "search", "experiments")
_TABLE_OF_BENCHMARKS = "bitfront.experiments.benchmarks"
_TARGET = re.compile(r"(bitfront(?:\.\w+)+)(?::\w+)?")
_NOT_DATA = ("*.py", "*.pyc", "py.typed")


def sources_digest(module: str) -> str:
    """SHA-256 over names and contents of `sources` of a module."""
    digest = hashlib.sha256()
    for name, path in sources(module).items():
        digest.update(f"{name}:{hashlib.sha256(path.read_bytes()).hexdigest()};".encode())
    return digest.hexdigest()


def sources(module: str) -> dict[str, Path]:
    """By name the files that a module of bitfront depends on, sorted.

    These are modules that are imported anywhere in a file, or named in a string, as registries and programs name
    them, the packages above, and data in the folders of packages.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0], *_named(name, path)]
    for package in [name for name, path in found.items() if path.name == "__init__.py"]:
        found |= {f"{package}/{name}": path for name, path in _data(found[package].parent)}
    return dict(sorted(found.items()))


def _named(name: str, path: Path) -> frozenset[str]:
    return frozenset() if name == _TABLE_OF_BENCHMARKS else _imported(path)


@cache
def _imported(path: Path) -> frozenset[str]:
    return frozenset(name for node in ast.walk(ast.parse(path.read_bytes())) for name in _names(node))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        target = _TARGET.fullmatch(node.value)
        if target is not None:
            yield target[1]


@cache
def _folder(name: str) -> Path:
    file = importlib.import_module(f"{_ROOT}.{name}").__file__
    assert file is not None
    return Path(file).resolve().parent


def _file(module: str) -> Path | None:
    """None for what is no module of bitfront."""
    root, *parts = module.split(".")
    if root != _ROOT or not parts or parts[0] not in FOLDERS:
        return None
    path = _folder(parts[0]).joinpath(*parts[1:])
    places = (path / "__init__.py", path.with_suffix(".py") if parts[1:] else path / "__init__.py")
    return next((place for place in places if place.is_file()), None)


def _data(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files that are no code, in a folder and in those below that are no packages."""
    for path in folder.iterdir():
        if path.is_dir() and not (path / "__init__.py").exists() and path.name != "__pycache__":
            yield from ((f"{path.name}/{name}", each) for name, each in _data(path))
        elif path.is_file() and not any(path.match(pattern) for pattern in _NOT_DATA):
            yield path.name, path
