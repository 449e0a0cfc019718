"""Whether a Ray cluster has machines that can hold a worker at all, however busy they are."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import ray

from bitfront.search.executors.base import WorkerStartError


def needs(resources: Mapping[str, float]) -> dict[str, float]:
    """What a worker takes of its machine beside one CPU; what none is asked of is left out.

    Raises:
        WorkerStartError: an amount is none, or is a broken one above 1, which Ray does not hand out.
    """
    for name, amount in resources.items():
        if not (math.isfinite(amount) and amount >= 0 and (amount <= 1 or amount == int(amount))):
            raise WorkerStartError(
                f"a worker needs {amount} of {name!r}: ask for a share from 0 to 1, or for a whole number"
            )
    return {name: amount for name, amount in resources.items() if amount}


def room(needed: Mapping[str, float]) -> int:
    """How many workers with such `needs` the machines that are there now could hold if nobody else used them."""
    return sum(_held(node["Resources"], {"CPU": 1.0, **needed}) for node in ray.nodes() if node["Alive"])


def _held(offered: Mapping[str, float], needed: Mapping[str, float]) -> int:
    return min(int(offered.get(name, 0.0) / amount + 1e-9) for name, amount in needed.items())


class Patience:
    """How long a cluster may have no machine that could hold a worker; busy ones are waited for without end.

    Args:
        needed: see `needs`.
        seconds: for machines that come and go, at least 0.
    """

    def __init__(self, needed: Mapping[str, float], seconds: float) -> None:
        self._needed = needed
        self._seconds = seconds
        self._since: float | None = None

    def check(self) -> None:
        """Called from time to time while nothing works.

        Raises:
            WorkerStartError: no machine could hold a worker, for too long.
        """
        if room(self._needed):
            self.renew()
            return
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._seconds:
            raise WorkerStartError(self._told())

    def renew(self) -> None:
        """There is a worker, so that a machine that could hold it was there."""
        self._since = None

    def _told(self) -> str:
        alive: list[Mapping[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        wanted = {"CPU": 1.0, **self._needed}
        most = {name: max((one.get(name, 0.0) for one in alive), default=0.0) for name in wanted}
        short = [name for name in wanted if most[name] < wanted[name]]
        needed = " and ".join(f"{wanted[name]:g} of {name!r}" for name in short or wanted)
        had = " and ".join(f"{most[name]:g} of {name!r}" for name in short)
        told = f"the most that one has had is {had}" if short else "none has had all of it"
        waited = f" in {self._seconds:g} s" if self._seconds else ""
        return (
            f"a worker needs {needed} on one machine; of the {len(alive)} in the Ray cluster {told}{waited}: "
            f"{self._fix()}"
        )

    def _fix(self) -> str:
        if not self._needed:
            return "start Ray on machines with CPUs to spare (ray start --num-cpus=1)"
        offered = ", ".join(f'"{name}": {math.ceil(amount)}' for name, amount in self._needed.items())
        return f"start Ray on a machine that has it with ray start --resources='{{{offered}}}'"
