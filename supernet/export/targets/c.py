"""The target ``c``: an integer program as C99 source, which needs a compiler and nothing else."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.export.integer.c.build import MAIN, NETWORK, built, run_c
from bitfront.supernet.export.integer.c.source import sources
from bitfront.supernet.export.integer.codes import image_codes, real_logits
from bitfront.supernet.export.integer.lower import lower
from bitfront.supernet.export.integer.program import CODE_TYPES, Conv
from bitfront.supernet.export.integer.program_file import program_bytes, read_program
from bitfront.supernet.export.targets.base import Example, ExportOptions, ExportTarget, Files, needed
from bitfront.supernet.export.targets.integer import described_ends, described_rounding, described_sums
from bitfront.supernet.folded import Folded

_FOLDER = "c/"
_PROGRAM = f"{_FOLDER}network.integer.safetensors"


@final
class CTarget(ExportTarget):
    """Four files in the folder ``c``.

    ``network.c`` and ``network.h`` are for programs of one's own, ``main.c`` is a command that runs them. They
    compute what the target ``integer`` computes, to the bit, and have no floating-point number. What they were
    made of is ``network.integer.safetensors`` (`program_file`); C needs it not.
    """

    name = "c"
    main_file = f"{_FOLDER}network.c"
    is_exact = True

    def files(self, folded: Folded, options: ExportOptions) -> dict[str, bytes]:
        """All four.

        Raises:
            UnsupportedError: as `lower`.
        """
        program = lower(folded)
        made = {f"{_FOLDER}{name}": content for name, content in sources(program).files.items()}
        return {**made, _PROGRAM: program_bytes(program)}

    def described(self, folded: Folded, files: Files) -> dict[str, Any]:
        """Bytes of constants and of the buffer, as the command tells them, and the bounds of sums."""
        program = read_program(needed(files, _PROGRAM), _PROGRAM)
        made = sources(program)
        convs = [one for one in program.instructions if isinstance(one, Conv)]
        return {
            "size_bytes": made.weights_bytes,
            "file_bytes": len(needed(files, self.main_file)),
            "weights_bytes": made.weights_bytes,
            "buffer_bytes": made.buffer_bytes,
            "weight_containers": {one.name: f"int{one.weight_bits} packed" for one in convs},
            "sums": described_sums(program),
            "rounding": described_rounding(program),
            **described_ends(program),
        }

    def logits(self, files: Files, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compiled and run, in one thread.

        The sources must be to the byte what `sources` makes of the program: what is compiled is made anew, and no
        text that was read.
        """
        compiled = _compiled(needed(files, _PROGRAM))
        for name, content in compiled.sources.items():
            if needed(files, _FOLDER + name) != content:
                raise CorruptFileError(
                    f"{_FOLDER}{name} is not what this version of bitfront writes for {_PROGRAM}, and is not run: "
                    "export it again"
                )
        program = compiled.program
        found = run_c(compiled.command(), image_codes(program, images), program.tensor(program.output).channels)
        return real_logits(program, found)

    def example(self, options: ExportOptions, described: Mapping[str, Any]) -> Example:
        """Compiled in a folder of its own, and run as a command.

        Raises:
            ValueError: what is described is not what `described` says.
        """
        scale, low, high, dtype = _entry(described["input"])
        output = _positive(described["output"]["scale"])
        return Example(
            needs="a C compiler",
            imports=("import subprocess", "import tempfile"),
            run=(
                'command = tempfile.mkdtemp() + "/network"',
                f'asked = ["cc", "-O3", "-o", command, "{_FOLDER}{NETWORK}", "{_FOLDER}{MAIN}"]',
                "subprocess.run(asked, check=True)",
                f"codes = np.rint(images / np.float32({scale!r})).clip({low}, {high})",
                f"data = codes.astype(np.{dtype}).tobytes()",
                "done = subprocess.run([command], input=data, capture_output=True, check=True)",
                f"logits = np.frombuffer(done.stdout, np.int32).reshape(len(images), -1) * {output!r}",
            ),
        )


def _entry(told: Mapping[str, Any]) -> tuple[float, int, int, str]:
    """(scale, low, high, type) as they can stand in a program, whoever wrote them down."""
    if told["type"] not in CODE_TYPES:
        raise ValueError(f"codes can not be of the type {told['type']!r}, only of {', '.join(CODE_TYPES)}")
    return _positive(told["scale"]), int(told["low"]), int(told["high"]), told["type"]


def _positive(told: Any) -> float:
    scale = float(told)
    if not 0 < scale < math.inf:
        raise ValueError(f"no scale is {scale}")
    return scale


class _Compiled:
    """A program and its sources, compiled when it is needed, in a folder that goes with it."""

    def __init__(self, data: bytes) -> None:
        self.program = read_program(data, _PROGRAM)
        self.sources = sources(self.program).files
        self._command: Path | None = None

    def command(self) -> Path:
        if self._command is None or not self._command.exists():  # temporary files may be tidied up
            self._command = built(self.sources, self._folder())
        return self._command

    def _folder(self) -> Path:
        try:
            folder = tempfile.mkdtemp(prefix="bitfront-c-")
        except OSError as error:
            raise UnsupportedError(
                f"a network in C is compiled in a temporary folder, and there is none ({error}): set TMPDIR"
            ) from error
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


# A test runs a network batch by batch, and compiling takes seconds.
_compiled = lru_cache(maxsize=2)(_Compiled)

C = CTarget()
