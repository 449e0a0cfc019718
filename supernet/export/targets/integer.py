"""The target ``integer``: an integer program in a file that NumPy interprets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from bitfront.supernet.export.integer.accumulators import PRODUCT_LIMIT, SUM_LIMIT, product_bounds, sum_bounds
from bitfront.supernet.export.integer.codes import image_codes, real_logits
from bitfront.supernet.export.integer.lower import lower
from bitfront.supernet.export.integer.numpy_run import run_numpy
from bitfront.supernet.export.integer.program import Conv, Program
from bitfront.supernet.export.integer.program_file import program_bytes, read_program
from bitfront.supernet.export.integer.rounding import error_bounds
from bitfront.supernet.export.targets.base import Example, ExportOptions, ExportTarget, Files, needed
from bitfront.supernet.folded import Folded


def described_sums(program: Program) -> dict[str, Any]:
    """The proof that 32 bits hold every sum, and 64 what it is before a shift: what each never exceeds."""
    return {
        "limit": SUM_LIMIT,
        "never_exceeded": sum_bounds(program),
        "products": {"limit": PRODUCT_LIMIT, "never_exceeded": product_bounds(program)},
    }


def described_rounding(program: Program) -> dict[str, Any]:
    """How far results can be from exact ones, for a manifest: by instruction, in units of its output's scale."""
    return {"unit": "scale of the instruction's output", "never_exceeded": error_bounds(program)}


def described_ends(program: Program) -> dict[str, Any]:
    """How images become codes and codes become logits, for a manifest: the tensors ``input`` and ``output``."""
    ends = {"input": program.tensor(program.input), "output": program.tensor(program.output)}
    how = {
        "input": "round(x / scale) in single precision, halves to even, cut off at low and high",
        "output": "a code times scale is the logit",
    }
    return {
        end: {
            "name": one.name,
            "type": one.dtype.name,
            "low": one.low,
            "high": one.high,
            "scale": one.scale,
            "codes": how[end],
        }
        for end, one in ends.items()
    }


@final
class IntegerTarget(ExportTarget):
    """``network.integer.safetensors``; see `program_file` for what is in it, and `program` for what that means."""

    name = "integer"
    main_file = "network.integer.safetensors"
    is_exact = True
    is_data = True

    def files(self, folded: Folded, options: ExportOptions) -> dict[str, bytes]:
        """The program alone.

        Raises:
            UnsupportedError: as `lower`.
        """
        return {self.main_file: program_bytes(lower(folded))}

    def described(self, folded: Folded, files: Files) -> dict[str, Any]:
        """Bits of weights as they lie in the file, and the bounds of sums."""
        content = needed(files, self.main_file)
        program = read_program(content, self.main_file)
        convs = [one for one in program.instructions if isinstance(one, Conv)]
        return {
            "size_bytes": sum(array.nbytes for name, array in load(content).items() if name != "program"),
            "file_bytes": len(content),
            "weight_containers": {one.name: f"int{one.weight_bits} packed" for one in convs},
            "instructions": len(program.instructions),
            "sums": described_sums(program),
            "rounding": described_rounding(program),
            **described_ends(program),
        }

    def logits(self, files: Files, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """By NumPy, in integers between the image's codes and the logits' codes."""
        program = read_program(needed(files, self.main_file), self.main_file)
        return real_logits(program, run_numpy(program, image_codes(program, images)))

    def example(self, options: ExportOptions, described: Mapping[str, Any]) -> Example:
        """By this very class."""
        return Example(
            needs="bitfront",
            imports=("from bitfront.supernet.export.targets import TARGETS",),
            run=(
                f'program = open("{self.main_file}", "rb").read()',
                f'logits = TARGETS.get("{self.name}").logits({{"{self.main_file}": program}}, images)',
            ),
        )


INTEGER = IntegerTarget()
