"""What a target of export is: a form of a network, as files, that can be described, and run as what it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.folded import Folded

RuntimeName = Literal["onnxruntime", "openvino"]
Files = Mapping[str, bytes]
"""Contents by file name, relative to the folder of the export, with ``/`` between folders."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What may be chosen of a form.

    ``runtime``: which one an ONNX file is written for, as each fuses another placement of quantization.
    """

    runtime: RuntimeName = "onnxruntime"


@dataclass(frozen=True, slots=True)
class Example:
    """How a form is run in Python: after ``imports``, ``run`` makes ``logits`` of ``images``.

    That is in the folder of the export, where NumPy is imported as ``np``. ``needs`` says in words what else must
    be there.
    """

    needs: str
    imports: tuple[str, ...]
    run: tuple[str, ...]


def needed(files: Files, name: str) -> bytes:
    """One of the files.

    Raises:
        MissingFileError: it is not there.
    """
    if name not in files:
        raise MissingFileError(f"the file {name} of the export is missing: restore it, or export again")
    return files[name]


class ExportTarget(ABC):
    """One form of export. The same network and options give the same bytes.

    ``name`` is its registry name, ``main_file`` the file that people load. ``is_exact`` says whether the same
    images give the same logits, to the bit, on every machine; ``is_data`` whether files that anybody may have made
    can be run, as they are data to what runs them, and no program.
    """

    name: str
    main_file: str
    is_exact: bool = False
    is_data: bool = False

    @abstractmethod
    def files(self, folded: Folded, options: ExportOptions) -> dict[str, bytes]:
        """The form's files, ``main_file`` among them.

        Raises:
            UnsupportedError: the form can not hold the network's policy or parts of it; all layers that are in the
                way are named, why, and what to do.
        """

    @abstractmethod
    def described(self, folded: Folded, files: Files) -> dict[str, Any]:
        """What the manifest says of this form alone, JSON-able. ``files`` are those that `files` made.

        Always there: ``size_bytes``, what the form stores for weights, biases and scales; ``file_bytes``, the
        whole main file; and ``weight_containers``, what holds the weights of each layer by its name.
        """

    @abstractmethod
    def logits(self, files: Files, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the form itself: logits (n, classes) of images (n, channels, r, r), resized and normalised.

        Raises:
            MissingFileError: a file is not there.
            CorruptFileError: the files are not what `files` makes.
            UnsupportedError: the images' shape is not the network's; or what runs the form is not at hand here (a
                compiler, a package).
        """

    def example(self, options: ExportOptions, described: Mapping[str, Any]) -> Example | None:
        """How people run the form, for an example that comes with it; None where there is none.

        ``described``: what `described` says of it, or what anybody wrote in a manifest: of that nothing but
        numbers and known names may stand in the example.

        Raises:
            ValueError, LookupError, TypeError: that is not what `described` says.
        """
        return None
