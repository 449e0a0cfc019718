"""Fashion-MNIST: 70,000 grey images of 28x28 pixels, ten kinds of clothing (Xiao, Rasul and Vollgraf 2017)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bitfront.supernet.data.augment import Augmentation
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.data.load import load_settings
from bitfront.supernet.data.places import data_folders, found
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.progress import Progress, silent

_FOLDER = "fashion-mnist"
_DEBIAN = Path("/usr/share/datasets") / _FOLDER
_FIX = (
    "on Debian or Ubuntu, `apt-get install dataset-fashion-mnist`; elsewhere put the four IDX files of "
    f"https://github.com/zalandoresearch/fashion-mnist into {_FOLDER} in a folder, and set BITFRONT_DATA to that "
    "folder"
)
_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def fashion_mnist(progress: Progress = silent) -> Dataset:
    """55,000 training images, 5,000 validation images cut from the published training split, 10,000 test images.

    Raises:
        DataError: the files are not there, or are others.
    """
    places = [*(folder / _FOLDER for folder in data_folders()), _DEBIAN]
    path = found("Fashion-MNIST", places, _FIX)
    augmentation = Augmentation(crop=1, flip=True)
    settings = DataSettings(
        "idx", str(path), size=28, channels=1, validation=5_000, name="fashion_mnist", augmentation=augmentation
    )
    return dataclasses.replace(load_settings(settings, progress), class_names=_CLASSES)
