"""One file that holds a whole home: a tar whose last member lists the SHA-256 of all others.

It is plain tar, so that other tools can look into it; nothing is compressed, as weights hardly are.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from bitfront.supernet.errors import CorruptFileError, StorageError

MANIFEST = "bitfront-backup.json"
FORMAT = 1
_CHUNK = 1 << 20
_MODES = 0o666  # what can be run is made anew, and nothing runs as somebody else


class ArchiveWriter:
    """Adds files to a tar, and what they hash to in the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
        self._sums: dict[str, str] = {}

    def add(self, name: str, path: Path, like: Path | None = None) -> None:
        """Add a file as it is now, as closed as ``like`` (default: as itself); one that is gone is left out.

        Raises:
            StorageError: it shrank while it was read, or the tar can not be written.
        """
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        with file:
            info, status = tarfile.TarInfo(name), os.fstat(file.fileno())
            # What is appended to it from now on, such as a log, is for the next backup.
            info.size = file.seek(0, io.SEEK_END)
            info.mtime, info.mode = int(status.st_mtime), (like or path).stat().st_mode & _MODES
            file.seek(0)
            self._add(info, file)

    def close(self, about: dict[str, Any]) -> int:
        """Write the manifest, with ``about``, and end the tar; how many files it has besides."""
        text = json.dumps({"format": FORMAT, **about, "sha256": self._sums}, indent=1).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o600
        self._tar.addfile(info, io.BytesIO(text))
        self._tar.close()
        return len(self._sums)

    def _add(self, info: tarfile.TarInfo, file: IO[bytes]) -> None:
        hashing = _Hashing(file)
        try:
            self._tar.addfile(info, hashing)
        except OSError as error:
            raise StorageError(
                f"can not back up {info.name}: {error.strerror or error}. Free space, and try again"
            ) from error
        self._sums[info.name] = hashing.digest.hexdigest()


class _Hashing:
    """A file that hashes what is read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def unpack(archive: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Write all files of an archive into ``folder``; yields name and bytes of each. Sums are checked in the end.

    Raises:
        CorruptFileError: it is no such archive, is cut off, or holds other bytes than its manifest says.
        StorageError: a file can not be written.
    """
    sums: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if manifest is not None:
                    raise _corrupt(archive, f"{member.name} comes after its list of files")
                if member.name == MANIFEST:
                    manifest = _manifest(archive, tar, member)
                    continue
                sums[member.name] = _write(archive, tar, member, folder, sums)
                yield member.name, member.size
    except (tarfile.TarError, EOFError) as error:
        raise _corrupt(archive, str(error)) from error
    _check(archive, manifest, sums)


def about(archive: Path) -> dict[str, Any]:
    """What the manifest says besides sums, without unpacking.

    Raises:
        CorruptFileError: it is no such archive, or is cut off.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if member.name == MANIFEST:
                    return _manifest(archive, tar, member)
    except (tarfile.TarError, EOFError) as error:
        raise _corrupt(archive, str(error)) from error
    raise _corrupt(archive, "it has no list of its files, as if it was cut off")


def _manifest(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    file = tar.extractfile(member)
    try:
        value = json.loads(file.read() if file else b"")
    except ValueError as error:
        raise _corrupt(archive, f"its list of files is no JSON: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get("sha256"), dict):
        raise _corrupt(archive, "its list of files is not one")
    if value.get("format") != FORMAT:
        raise CorruptFileError(f"{archive} has format {value.get('format')!r}, not {FORMAT}: upgrade bitfront")
    return value


def _write(
    archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, done: dict[str, str]
) -> str:
    name = PurePosixPath(member.name)
    parts = name.parts
    file = tar.extractfile(member) if member.isreg() else None
    if file is None or not parts or name.is_absolute() or ".." in parts or member.name in done:
        raise _corrupt(archive, f"{member.name!r} is no file that a backup holds")
    path, digest = folder.joinpath(*parts), hashlib.sha256()
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _corrupt(archive, f"{member.name!r} leads out of the folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            os.fchmod(out.fileno(), member.mode & _MODES | 0o600)
            while data := file.read(_CHUNK):
                digest.update(data)
                out.write(data)
    except OSError as error:
        raise StorageError(f"can not write {path}: {error.strerror or error}. Free space and try again") from error
    return digest.hexdigest()


def _check(archive: Path, manifest: dict[str, Any] | None, sums: dict[str, str]) -> None:
    if manifest is None:
        raise _corrupt(archive, "it has no list of its files, as if it was cut off")
    listed: dict[str, str] = manifest["sha256"]
    for name in sorted({*listed, *sums}):
        if listed.get(name) != sums.get(name):
            how = "is missing" if name not in sums else "is not what was written"
            raise _corrupt(archive, f"{name} {how}")


def _corrupt(archive: Path, why: str) -> CorruptFileError:
    return CorruptFileError(f"{archive} is no whole backup ({why}): use another; nothing was changed")
