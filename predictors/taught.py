"""What one set of pairs taught an MLP predictor: networks, a process, or both, and how far they may be off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from bitfront.predictors.conformal import Calibration
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.network import Floats, Network
from bitfront.predictors.process import Process


@dataclass(frozen=True, slots=True)
class Taught:
    """What one set of pairs made.

    Attributes:
        pairs: that were learned.
        with_policy: whether policies are seen.
        network: that learned them, if any did.
        process: that learned them, if one did.
        share: of the process in what both say, 0 to 1.
        calibration: of what the predictor then says.
    """

    pairs: Pairs
    with_policy: bool
    network: Network | None
    process: Process | None
    share: float
    calibration: Calibration

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """For a file."""
        return {
            **(self.network.tensors(prefix) if self.network else {}),
            **(self.process.tensors(f"{prefix}.process") if self.process else {}),
            f"{prefix}.genomes": torch.from_numpy(self.pairs.genomes),
            f"{prefix}.accuracy": torch.from_numpy(self.pairs.accuracy),
        }

    @property
    def values(self) -> dict[str, Any]:
        """For a file, beside `tensors`."""
        return {
            "with_policy": self.with_policy,
            "network": self.network is not None,
            "process": self.process is not None,
            "share": self.share,
            **asdict(self.calibration),
        }

    @classmethod
    def restored(cls, prefix: str, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        """Back from both.

        Raises:
            KeyError, TypeError, ValueError: a part is missing or of another form.
        """
        return cls(
            Pairs(tensors[f"{prefix}.genomes"].numpy(), tensors[f"{prefix}.accuracy"].numpy()),
            bool(values["with_policy"]),
            Network.restored(tensors, prefix) if values["network"] else None,
            Process.restored(tensors, f"{prefix}.process") if values["process"] else None,
            float(values["share"]),
            Calibration(float(values["quantile"]), float(values["floor"])),
        )


def joined(outputs: Floats, said: Floats, share: float) -> Floats:
    """What members (members, n) and a process (n,) say together, (members, n).

    Members go on disagreeing as they do: where they know little, so does the process.
    """
    together: Floats = outputs + share * (said - outputs.mean(axis=0))
    return together
