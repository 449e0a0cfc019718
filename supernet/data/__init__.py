"""Data sets, one a file. A new data set is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.registry import Registry

DATASETS: Registry[Callable[[], Dataset]] = Registry(
    "dataset",
    {
        "digits": "bitfront.supernet.data.digits:digits",
    },
)
