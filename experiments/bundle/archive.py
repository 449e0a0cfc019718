"""A bundle as one zip file, to be sent."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from bitfront.experiments.bundle.names import SUMS, read_sums
from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.files import read_bytes

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_UNIX, _READABLE = 3, 0o100644


def write_zip(files: Iterable[tuple[str, bytes]], to: IO[bytes]) -> None:
    """Write files by name; the same ones in the same order give the same bytes, as nothing is compressed."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system, entry.external_attr = _UNIX, _READABLE << 16
            archive.writestr(entry, data)


def zip_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 in hex of the zip file that `write_zip` makes of `bundle_content` once ``files`` are written."""
    zipped = io.BytesIO()
    write_zip(sorted(files.items()), zipped)
    return hashlib.sha256(zipped.getbuffer()).hexdigest()


def bundle_content(folder: Path, recorded: Iterable[tuple[str, str]] = ()) -> Iterator[tuple[str, bytes]]:
    """Every file of a bundle by its name, in order, as far as its sums hold.

    ``recorded``: names and SHA-256 in hex of files as they are known from elsewhere, since whoever writes a bundle
    anew writes its sums as well.

    Raises:
        MissingFileError, CorruptFileError: a file is gone, or is not what was written, or not what was recorded.
    """
    text = read_bytes(folder / SUMS)
    try:
        sums = {**read_sums(text.decode()), SUMS: hashlib.sha256(text).hexdigest()}
    except ValueError as error:
        raise CorruptFileError(f"{folder / SUMS} holds no sums of a bundle ({error}): export it again") from error
    for name, digest in recorded:
        if sums.get(name) != digest:
            raise CorruptFileError(f"{folder / name} is not what was recorded: export it again")
    for name, digest in sorted(sums.items()):
        data = read_bytes(folder / name)
        if hashlib.sha256(data).hexdigest() != digest:
            raise CorruptFileError(f"{folder / name} is not what was written: export it again")
        yield name, data


def bundle_around(file: Path) -> Path | None:
    """The folder of the bundle that a file is part of, as far as its sums tell; None where there is none."""
    for folder in file.parents:
        if (folder / SUMS).is_file():
            try:
                names = read_sums((folder / SUMS).read_text())
            except (OSError, ValueError):
                return None
            return folder if file.relative_to(folder).as_posix() in names else None
    return None
