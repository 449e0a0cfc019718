"""CIFAR-10: 60,000 colour images of 32x32 pixels, ten kinds of things and animals (Krizhevsky 2009)."""

from __future__ import annotations

from bitfront.supernet.data.augment import Augmentation
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.data.load import load_settings
from bitfront.supernet.data.places import data_folders, found
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.progress import Progress, silent

_FILE = "cifar10/cifar10.tar.xz"
_FIX = (
    f"put an archive of train/<class>/*.jpg (or .png) and test/<class>/ at {_FILE} in a folder, and set "
    "BITFRONT_DATA to that folder"
)


def cifar10(progress: Progress = silent) -> Dataset:
    """45,000 training images, 5,000 validation images cut from the published training split, 10,000 test images.

    Raises:
        DataError: the archive is not there, or is another.
    """
    path = found("CIFAR-10", (folder / _FILE for folder in data_folders()), _FIX)
    augmentation = Augmentation(crop=4, flip=True, cutout=8)
    settings = DataSettings(
        "tar", str(path), size=32, channels=3, validation=5_000, name="cifar10", augmentation=augmentation
    )
    return load_settings(settings, progress)
