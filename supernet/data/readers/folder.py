"""A folder of images, a class per folder, with or without folders of splits above them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from bitfront.supernet.data.dataset import DataError
from bitfront.supernet.data.readers.base import Item, Reader
from bitfront.supernet.data.readers.layout import is_image, split_and_class


class FolderReader(Reader):
    """``train/cat/1.jpg``, or ``cat/1.jpg`` where there are no splits; links to folders are followed."""

    _read = 0

    def files(self) -> Iterator[Path]:
        """Every image, by name."""
        return (self.path / name for name in self._names)

    def items(self) -> Iterator[Item]:
        """Images by name; one that can not be opened is one without content."""
        for done, name in enumerate(self._names):
            self._read = done + 1
            split, label = split_and_class(name)
            try:
                content = (self.path / name).read_bytes()
            except OSError:
                content = None
            yield Item(str(name), split, label, content)

    def fraction(self) -> float:
        """By images."""
        return self._read / max(1, len(self._names))

    @cached_property
    def _names(self) -> list[PurePosixPath]:
        if not self.path.is_dir():
            raise DataError(f"{self.path} is no folder: give the folder that holds the folders of the classes")
        names = []
        seen: set[str] = set()
        for folder, below, files in os.walk(self.path, followlinks=True):
            # A link that leads back up would be walked for ever.
            seen.add(os.path.realpath(folder))
            below[:] = [name for name in below if os.path.realpath(Path(folder, name)) not in seen]
            inside = PurePosixPath(Path(folder).relative_to(self.path).as_posix())
            names += [inside / name for name in files if is_image(inside / name)]
        return sorted(names, key=str)
