"""What the three files say of themselves, for whoever runs them: they must be as they were made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.export.integer.c.build import HEADER, MAIN, NETWORK
from bitfront.supernet.export.integer.program import IntegerTensor, Program

_SEAL = "/* SHA-256 of network.c, main.c and the above: {} */\n"
_SEAL_START = _SEAL.index("{")


@dataclass(frozen=True, slots=True)
class About:
    """``ends``: a program of no instruction, whose input and output are the network's. Sizes in bytes."""

    ends: Program
    weights_bytes: int
    buffer_bytes: int


def sealed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files, with a last line of the header that changes with any of their bytes."""
    seal = _SEAL.format(_digest(files, files[HEADER]))
    return {**files, HEADER: files[HEADER] + seal.encode()}


def read_about(files: Mapping[str, bytes], source: str = "the given files") -> About:
    """What the header of sealed files says.

    Raises:
        CorruptFileError: a file is missing or is not as it was made; ``source`` names them.
    """
    missing = [name for name in (HEADER, NETWORK, MAIN) if name not in files]
    if missing:
        raise CorruptFileError(f"{source} lack {', '.join(missing)}: export them again")
    header = files[HEADER]
    above = header[: max(header.rfind(_SEAL[:_SEAL_START].encode()), 0)]
    if header != above + _SEAL.format(_digest(files, above)).encode():
        raise CorruptFileError(
            f"{source} are not as they were made (their sum is another than {HEADER} says): export them again"
        )
    return _about(above.decode(), source)


def _digest(files: Mapping[str, bytes], header: bytes) -> str:
    made = hashlib.sha256()
    for content in (files[NETWORK], files[MAIN], header):
        made.update(f"{len(content)}:".encode() + content)
    return made.hexdigest()


def _about(header: str, source: str) -> About:
    try:
        facts = json.loads(header[header.index("{") : header.index("*/")])
        entry = IntegerTensor("image", **facts["input"])
        logits = IntegerTensor("logits", **facts["output"])
        ends = Program((entry, logits), (), entry.name, logits.name)
        return About(ends, facts["weights_bytes"], facts["buffer_bytes"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{source} have no header of a network ({error}): export them again") from error
