"""Files are written beside their place and renamed; what is read back is checked, and nothing is a pickle."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitfront.supernet.errors import CorruptFileError, MissingFileError, StorageError

if TYPE_CHECKING:
    from torch import Tensor

_HEADER_BYTES = 8  # a safetensors file begins with the length of its header


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` so that a reader sees the old file or the whole new one, never a part.

    Raises:
        StorageError: the disk is full or the folder can not be written; the old file is left as it was.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise StorageError(
            f"can not write {path}: {error.strerror or error}. Free space or choose another folder; "
            "what was there before is unchanged."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # where it could not be made, it can not be removed either
            beside.unlink()


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; NaN and infinity are refused (``ValueError``)."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_bytes(path: Path) -> bytes:
    """The file's content.

    Raises:
        MissingFileError: there is no such file.
        CorruptFileError: it is there but can not be read.
    """
    _check_is_there(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptFileError(
            f"can not read {path}: {error.strerror or error}. Mend it, or delete it to have it made again"
        ) from error


def _check_is_there(path: Path) -> None:
    if not path.is_file():
        raise MissingFileError(f"{path} is missing: restore it, or run the stage that writes it again")


def read_json(path: Path) -> Any:
    """The JSON value in a file.

    Raises:
        MissingFileError: there is no such file.
        CorruptFileError: it does not hold JSON.
    """
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise CorruptFileError(f"{path} is not valid JSON ({error}): delete it to have it made again") from error


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, independent of the mapping's order."""
    import torch  # takes seconds, and who only writes text needs none

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def tensor_file(tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> bytes:
    """Tensors as safetensors with a JSON manifest and a digest in the header; the same give the same bytes."""
    from safetensors.torch import save

    ready = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(manifest, allow_nan=False)
    return _in_order(save(ready, metadata={"manifest": text, "sha256": _file_digest(ready, text)}))


def _in_order(data: bytes) -> bytes:
    """A safetensors file with the entries of its metadata in order: `save` takes them as they come."""
    start = _HEADER_BYTES + int.from_bytes(data[:_HEADER_BYTES], "little")
    header = json.loads(data[_HEADER_BYTES:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _HEADER_BYTES)
    return b"".join([len(text).to_bytes(_HEADER_BYTES, "little"), text, memoryview(data)[start:]])


def save_tensors(path: Path, tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> None:
    """Write `tensor_file`."""
    write_bytes(path, tensor_file(tensors, manifest))


def _file_digest(tensors: Mapping[str, Tensor], manifest: str) -> str:
    return hashlib.sha256(f"{tensor_digest(tensors)}{manifest}".encode()).hexdigest()


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what `save_tensors` wrote, as (tensors, manifest).

    Raises:
        MissingFileError: there is no such file.
        CorruptFileError: the file is cut off, is no safetensors file, or its content does not match its digest.
    """
    from safetensors import SafetensorError, safe_open

    _check_is_there(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        manifest = json.loads(header["manifest"])
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise _no_tensor_file(path, error) from error
    _check_digest(path, tensors, header)
    return tensors, manifest


def read_tensors(data: bytes, source: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """`load_tensors` of a file that is in memory; ``source`` names it in errors.

    Raises:
        CorruptFileError: as `load_tensors`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        length = int.from_bytes(data[:_HEADER_BYTES], "little")
        header = json.loads(data[_HEADER_BYTES : _HEADER_BYTES + length])["__metadata__"]
        manifest = json.loads(header["manifest"])
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise _no_tensor_file(source, error) from error
    _check_digest(source, tensors, header)
    return tensors, manifest


def _no_tensor_file(source: object, error: Exception) -> CorruptFileError:
    return CorruptFileError(f"{source} is not a bitfront tensor file ({error}): delete it to have it made again")


def _check_digest(source: object, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    if _file_digest(tensors, header["manifest"]) != header.get("sha256"):
        raise CorruptFileError(f"{source} does not match its own digest: delete it to have it made again")
