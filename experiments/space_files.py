"""A user's own space in a file: a YAML document, or a Python file with a function that makes the space.

Either way the space becomes a document of plain values at once. Specs, stores and workers have that document and
not the file: an experiment stays readable when the file changes, and code runs only where its owner called it.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bitfront.experiments.spec_yaml import read_mapping
from bitfront.supernet.errors import BitfrontError, InvalidSpaceError, MissingFileError

if TYPE_CHECKING:
    from bitfront.supernet.space import SearchSpace
    from bitfront.supernet.spaces.settings import SpaceSettings

_YAML, _PYTHON = (".yaml", ".yml"), ".py"
_FUNCTION = "space"


def is_space_file(name: object) -> bool:
    """Whether a space's name is a file: ``mine.yaml``, ``mine.py`` or ``mine.py:function``."""
    return isinstance(name, str) and _path(name)[0].suffix.lower() in (*_YAML, _PYTHON)


def short_name(name: str) -> str:
    """What a space is called where it is named so: a file without folder and suffix."""
    return _path(name)[0].stem if is_space_file(name) else name


def read_space_file(name: str, folder: Path, options: Mapping[str, Any], open_ends: bool = True) -> dict[str, Any]:
    """The section of a spec that stands for a file: name, options, file, sha256 and content.

    Args:
        name: the path as seen from ``folder``; ``:function`` may follow a Python file's.
        folder: where relative paths begin.
        options: a Python file's function is given those that it takes; the rest stays.
        open_ends: whether classes and channels that the function takes and was not given are left to the data set.

    Raises:
        MissingFileError: there is no such file.
        SpecError: it is no YAML.
        InvalidSpaceError: it does not make a space.
    """
    short, function = _path(name)
    path = Path(folder, short.expanduser()).resolve()
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise MissingFileError(f"space {name!r}: {path} can not be read: {error.strerror}") from error
    found: dict[str, Any] = {"file": str(path), "sha256": hashlib.sha256(raw).hexdigest()}
    found["options"] = dict(options)
    if path.suffix.lower() in _YAML:
        content = read_mapping(raw.decode("utf-8", "replace"), name)
        own = content.pop("name", None) or path.stem
        return {**found, "name": own, "content": _checked(content, own, name, options)}
    return {**found, **_from_python(_function(path, raw, function), path, options, open_ends)}


def space_of(name: str, options: Mapping[str, Any] | None = None) -> SearchSpace:
    """The space of a name or a file, as seen from here: what commands take.

    Raises:
        UnknownNameError, MissingFileError, SpecError, InvalidSpaceError: as `load_space` and `read_space_file`.
    """
    from bitfront.supernet.spaces.settings import load_space

    return load_space(settings_of(name, options or {}))


def settings_of(name: str, options: Mapping[str, Any]) -> SpaceSettings:
    """What `load_space` takes, of a name or a file as seen from here.

    Raises:
        MissingFileError, SpecError, InvalidSpaceError: as `read_space_file`.
    """
    from bitfront.supernet.spaces.settings import SpaceSettings

    if not is_space_file(name):
        return SpaceSettings(name, options)
    section = read_space_file(name, Path.cwd(), options, open_ends=False)
    return SpaceSettings(section["name"], section["options"], section["content"])


def _path(name: str) -> tuple[Path, str]:
    """A path, and the function in a Python file."""
    before, colon, function = name.rpartition(":")
    if colon and before.lower().endswith(_PYTHON):
        return Path(before), function
    return Path(name), _FUNCTION


def _checked(content: dict[Any, Any], name: str, source: str, options: Mapping[str, Any]) -> dict[Any, Any]:
    """A document that was read as a space once, so that problems are told with the file's name."""
    from bitfront.supernet.spaces.documents import space_from

    _refuse_builtin(name, source)
    space_from({**content, **options}, name, source)
    return content


def _refuse_builtin(name: str, source: str) -> None:
    from bitfront.supernet.spaces import SPACES

    if name in SPACES.names():
        raise InvalidSpaceError(source, [f"name = {name!r}: is a space that comes with bitfront: choose another"])


def _from_python(
    function: Callable[..., object], path: Path, options: Mapping[str, Any], open_ends: bool
) -> dict[str, Any]:
    from bitfront.supernet.spaces.documents import ENDS, document_of

    takes = inspect.signature(function).parameters
    space = _called(function, path, {name: value for name, value in options.items() if name in takes})
    _refuse_builtin(space.name, str(path))
    content = document_of(space)
    for end in ENDS:
        if open_ends and end in takes and end not in options:
            del content[end]
    rest = {name: value for name, value in options.items() if name not in takes}
    return {"name": space.name, "options": rest, "content": content}


def _called(function: Callable[..., object], path: Path, options: Mapping[str, Any]) -> SearchSpace:
    from bitfront.supernet.space import SearchSpace

    name = getattr(function, "__name__", _FUNCTION)
    try:
        space = function(**options)
    except BitfrontError:
        raise
    except Exception as error:  # the user's code may raise anything
        remedy = _remedy(error, "mend the function")
        problem = f"line {_line(error, path)}: {name}() raised {type(error).__name__}: {error}: {remedy}"
        raise InvalidSpaceError(str(path), [problem]) from error
    if not isinstance(space, SearchSpace):
        raise InvalidSpaceError(str(path), [f"{name}() = {space!r}: must be a SearchSpace: return an MBConvSpace"])
    return space


def _function(path: Path, raw: bytes, name: str) -> Callable[..., object]:
    module = _imported(path, raw)
    function = getattr(module, name, None)
    if not callable(function):
        raise InvalidSpaceError(
            str(path),
            [f"{name}: there is no such function: write `def {name}():` or name another as {path.name}:NAME"],
        )
    found: Callable[..., object] = function
    return found


def _imported(path: Path, raw: bytes) -> ModuleType:
    """The file as a module of its own that nothing else can import; what it defines may look itself up."""
    name = f"bitfront_space_{uuid.uuid4().hex}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(raw, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        problem = f"line {_line(error, path)}: {type(error).__name__}: {error}: {_remedy(error, 'mend the file')}"
        raise InvalidSpaceError(str(path), [problem]) from error
    return module


def _remedy(error: Exception, usual: str) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "a space is one file, and none beside it is imported: write it in here or install it as a package"
    return usual


def _line(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return str(error.lineno)
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return str(lines[-1]) if lines else "?"
