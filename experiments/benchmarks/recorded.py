"""Accuracies of networks trained from scratch, which take hours: kept, so that nobody has to wait for them twice.

A record is about one space, data set and set of training settings. One comes with bitfront; what is trained here
is added to another in the home. Each accuracy says where and with what it was measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.files import read_json, write_json

_FORMAT = "bitfront-from-scratch-1"
SHIPPED = Path(__file__).parent / "from_scratch.json"


@dataclass(frozen=True)
class Recorded:
    """Test accuracies of networks of one space, trained alone with one set of settings.

    Attributes:
        about: what all of them have in common, plain JSON values.
        networks: ``"<genome in hexadecimal>/<seed>"`` to ``top1``, a fraction, and what made it.
    """

    about: Mapping[str, Any]
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, about: Mapping[str, Any], folder: Path, shipped: Path | None = None) -> Self:
        """What a folder holds that is about the same, and, where it knows a network not, what comes with bitfront.

        Raises:
            CorruptFileError: a file holds something else.
        """
        known = cls(dict(about))
        for path in (shipped, folder / known.file):
            if path is not None and path.is_file():
                known.networks.update(_networks(path, dict(about)))
        return known

    @property
    def file(self) -> str:
        """Its name in a folder: records about something else have others."""
        text = json.dumps(self.about, sort_keys=True)
        return f"from_scratch-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    def top1(self, genome: NDArray[np.uint8], seed: int) -> float | None:
        """What is known of a network."""
        known = self.networks.get(_key(genome, seed))
        return None if known is None else float(known["top1"])

    def add(self, genome: NDArray[np.uint8], seed: int, top1: float, made_by: Mapping[str, Any]) -> None:
        """Remember a network; `write` keeps it."""
        self.networks[_key(genome, seed)] = {"top1": top1, **made_by}

    def write(self, folder: Path) -> None:
        """Keep all that is known."""
        write_json(folder / self.file, {"format": _FORMAT, **asdict(self)})


def _key(genome: NDArray[np.uint8], seed: int) -> str:
    return f"{genome.tobytes().hex()}/{seed}"


def _networks(path: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Empty where the file is about something else."""
    values = read_json(path)
    try:
        if values["format"] != _FORMAT:
            raise CorruptFileError(f"{path} holds no {_FORMAT}, but {values['format']!r}: delete it")
        networks: dict[str, dict[str, Any]] = dict(values["networks"])
        if not all(0 <= float(one["top1"]) <= 1 for one in networks.values()):
            raise CorruptFileError(f"{path} holds accuracies that are no fractions: delete it")
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{path} lacks a part ({error!r}): delete it") from error
    return networks if values.get("about") == about else {}
