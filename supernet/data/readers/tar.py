"""A tar archive of an image folder, compressed or not, read from end to end without unpacking it."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bitfront.supernet.data.dataset import DataError
from bitfront.supernet.data.readers.base import Item, Reader
from bitfront.supernet.data.readers.layout import is_image, split_and_class

_DAMAGED = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)


class TarReader(Reader):
    """The layout of `FolderReader` in a .tar, .tar.gz, .tar.bz2 or .tar.xz; nothing is written to disk."""

    by_name = True
    _fraction = 0.0

    def files(self) -> Iterator[Path]:
        """The archive."""
        yield self.path

    def items(self) -> Iterator[Item]:
        """Images in the archive's order; links and everything that is no image are passed over."""
        try:
            with self.path.open("rb") as file, tarfile.open(fileobj=file, mode="r|*") as archive:
                size = self.path.stat().st_size
                for member in archive:
                    name = PurePosixPath(member.name)
                    if not member.isfile() or not is_image(name):
                        continue
                    split, label = split_and_class(name)
                    content = archive.extractfile(member)
                    yield Item(str(name), split, label, content.read() if content else None)
                    self._fraction = file.tell() / size
                # tarfile takes the end of the file for that of the archive; a whole one ends in a block of zeros.
                if archive.fileobj is None or archive.fileobj.tell() <= archive.offset:
                    raise EOFError("it ends in the middle")
        except _DAMAGED as error:
            raise DataError(
                f"{self.path} can not be read as a tar archive ({error}): fetch it again, or give another kind"
            ) from error

    def fraction(self) -> float:
        """By bytes of the archive."""
        return self._fraction
