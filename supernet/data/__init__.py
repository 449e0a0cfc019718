"""Data sets, one a file. A new data set is one file and one line here."""

from __future__ import annotations

from typing import Protocol

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.registry import Registry


class DatasetFactory(Protocol):
    """Makes a data set, always the same one; work of more than two seconds is told to ``progress``."""

    def __call__(self, progress: Progress = silent) -> Dataset:
        """The data set."""


DATASETS: Registry[DatasetFactory] = Registry(
    "dataset",
    {
        "cifar10": "bitfront.supernet.data.cifar10:cifar10",
        "digits": "bitfront.supernet.data.digits:digits",
        "fashion_mnist": "bitfront.supernet.data.fashion_mnist:fashion_mnist",
    },
)


def load_dataset(source: str | DataSettings, progress: Progress = silent) -> Dataset:
    """The data set of a name in `DATASETS`, or of a user's own files.

    Raises:
        UnknownNameError: there is no data set, or no kind of files, of this name.
        DataError: the data is not there, can not be read, or does not hold what it must.
        StorageError: the cache can not be written.
    """
    if isinstance(source, str):
        return DATASETS.get(source)(progress)
    from bitfront.supernet.data.load import load_settings

    return load_settings(source, progress)
