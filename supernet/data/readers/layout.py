"""What names mean: of splits, and of files in an image folder."""

from __future__ import annotations

from pathlib import PurePosixPath

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
_IMAGES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))


def split_named(name: str) -> str | None:
    """The split that a folder, file or column name stands for."""
    return _SPLIT_NAMES.get(name.lower())


def is_image(path: PurePosixPath) -> bool:
    """Whether a path inside a source is an image by its ending, not hidden, and not outside of the source."""
    return path.suffix.lower() in _IMAGES and not any(part.startswith((".", "__MACOSX")) for part in path.parts)


def split_and_class(path: PurePosixPath) -> tuple[str | None, str | None]:
    """(split, class) of an image by the folders it lies in.

    Below a split's folder the class is the next folder; without one it is the folder that holds the image.
    """
    folders = path.parts[:-1]
    for place, folder in enumerate(folders):
        if split := split_named(folder):
            return split, folders[place + 1] if place + 1 < len(folders) else None
    return None, folders[-1] if folders else None
