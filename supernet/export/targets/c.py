"""The target ``c``: an integer program as C99 source, which needs a compiler and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.export.integer.c.build import built, run_c
from bitfront.supernet.export.integer.c.reading import read_about, sealed
from bitfront.supernet.export.integer.c.source import sources
from bitfront.supernet.export.integer.codes import image_codes, real_logits
from bitfront.supernet.export.integer.lower import lower
from bitfront.supernet.export.integer.program import Conv
from bitfront.supernet.export.targets.base import ExportOptions, ExportTarget, Files
from bitfront.supernet.export.targets.integer import described_sums
from bitfront.supernet.folded import Folded

_FOLDER = "c/"


@final
class CTarget(ExportTarget):
    """``c/network.c`` and ``c/network.h``, for programs of one's own, and ``c/main.c``, a command that runs them.

    They compute what the target ``integer`` computes, to the bit, and have no floating-point number.
    """

    name = "c"
    main_file = f"{_FOLDER}network.c"

    def files(self, folded: Folded, options: ExportOptions) -> dict[str, bytes]:
        """The three of them.

        Raises:
            UnsupportedError: as `lower`.
        """
        made = sealed(sources(lower(folded)).files)
        return {f"{_FOLDER}{name}": content for name, content in made.items()}

    def described(self, folded: Folded, files: Files) -> dict[str, Any]:
        """Bytes of constants and of the buffer, as the command tells them, and the bounds of sums."""
        program, about = lower(folded), read_about(_own(files), _FOLDER)
        convs = [one for one in program.instructions if isinstance(one, Conv)]
        return {
            "size_bytes": about.weights_bytes,
            "weights_bytes": about.weights_bytes,
            "buffer_bytes": about.buffer_bytes,
            "weight_containers": {one.name: f"int{one.weight_bits} packed" for one in convs},
            "sums": described_sums(program),
            "input": {"name": program.input, "scale": program.tensor(program.input).scale},
            "output": {"name": program.output, "scale": program.tensor(program.output).scale},
        }

    def logits(self, files: Files, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compiled in a folder of its own and run there, in one thread."""
        own = _own(files)
        ends = read_about(own, _FOLDER).ends
        codes = image_codes(ends, images)
        with tempfile.TemporaryDirectory(prefix="bitfront-c-") as folder:
            found = run_c(built(own, Path(folder)), codes, ends.tensor(ends.output).channels)
        return real_logits(ends, found)


def _own(files: Files) -> dict[str, bytes]:
    return {name.removeprefix(_FOLDER): content for name, content in files.items() if name.startswith(_FOLDER)}


C = CTarget()
