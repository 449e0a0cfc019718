"""What benchmarks are asked for, as a command that people can give too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bitfront.experiments.results.claim import Claim
from bitfront.supernet.errors import UnknownNameError

_QUICK_SEEDS = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """A benchmark, whether its small version is meant, how many seeds, and whether nothing may run beside it."""

    bench: str
    quick: bool
    seeds: int
    alone: bool = False

    @property
    def words(self) -> list[str]:
        """The arguments of `bitfront`."""
        return ["bench", self.bench, *(["--quick"] if self.quick else []), "--seeds", str(self.seeds)]

    @property
    def command(self) -> str:
        """For people."""
        return " ".join(["bitfront", *self.words])

    def program(self, output: Path) -> list[str]:
        """The same as a program of its own that writes its JSON to ``output``, and pictures beside it."""
        return [sys.executable, "-m", "bitfront.experiments.cli", *self.words, "-o", str(output)]


def asked_of(claims: Sequence[Claim], quick: bool, only: Sequence[str] = ()) -> list[Asked]:
    """Each benchmark of some claims once; ``only``: those of these names. Quick ones have one seed.

    Raises:
        UnknownNameError: a name is that of no benchmark of the claims.
    """
    known = {claim.bench: claim for claim in claims}
    for name in only:
        if name not in known:
            raise UnknownNameError("benchmark of a claim", name, known)
    chosen = [claim for name, claim in known.items() if not only or name in only]
    return [Asked(claim.bench, quick, _QUICK_SEEDS if quick else claim.seeds, claim.alone) for claim in chosen]
