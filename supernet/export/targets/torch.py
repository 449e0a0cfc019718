"""The target ``torch``: a module that needs only torch and safetensors, and an archive of `torch.export`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.export.network_file import check_is_network, network_bytes, read_network, stored_tensors
from bitfront.supernet.export.targets.base import Example, ExportOptions, ExportTarget, Files, needed
from bitfront.supernet.export.torch_archive import archive
from bitfront.supernet.export.torch_source import WEIGHTS, built, source
from bitfront.supernet.folded import Folded
from bitfront.supernet.quantization.policy import is_integer

_SOURCE, _WEIGHTS, _ARCHIVE = (f"torch/{name}" for name in ("model.py", WEIGHTS, "model.pt2"))
# Maps of a few images stay in the cache from one layer to the next.
_AT_ONCE = 32


@final
class TorchTarget(ExportTarget):
    """Three files in the folder ``torch``.

    ``model.py`` is the network written out (`torch_source`), ``model.safetensors`` its weights at their bits
    (`network_file`), and ``model.pt2`` both at once, with weights as real numbers (`torch_archive`).
    """

    name = "torch"
    main_file = _WEIGHTS

    def files(self, folded: Folded, options: ExportOptions) -> dict[str, bytes]:
        """All three; any policy has this form.

        Raises:
            UnsupportedError: the layers' names can not be those of attributes.
        """
        check_is_network(folded)
        text = source(folded)
        archived = archive(built(text, stored_tensors(folded)), _shape(folded))
        weights = network_bytes(folded, {_ARCHIVE: archived})
        return {_SOURCE: text.encode(), _WEIGHTS: weights, _ARCHIVE: archived}

    def described(self, folded: Folded, files: Files) -> dict[str, Any]:
        """Bytes of weights, biases and scales in ``model.safetensors``, and how ``model.pt2`` is called."""
        layers = [one.layer for one in folded.layers]
        return {
            "size_bytes": sum(tensor.nbytes for tensor in stored_tensors(folded).values()),
            "file_bytes": len(needed(files, self.main_file)),
            "weight_containers": {
                one.name: f"{one.weight_format} packed" if is_integer(one.weight_format) else one.weight_format
                for one in layers
            },
            "archive": {"input": "x", "batch": "free", "weights": "fp32", "torch": str(torch.__version__)},
        }

    def logits(self, files: Files, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """By the module in ``model.py``, which must be to the byte what `source` makes of ``model.safetensors``:
        what is run is made anew, and no text that was read.

        ``model.pt2`` is compared with the digest in ``model.safetensors``, and not loaded.
        """
        read = read_network(needed(files, self.main_file), self.main_file)
        text = source(read.folded)
        if needed(files, _SOURCE) != text.encode():
            raise CorruptFileError(
                f"{_SOURCE} is not what this version of bitfront writes for {self.main_file}, and is not run: "
                "export it again"
            )
        if hashlib.sha256(needed(files, _ARCHIVE)).hexdigest() != read.sha256.get(_ARCHIVE):
            raise CorruptFileError(f"{_ARCHIVE} does not match its digest in {self.main_file}: export it again")
        return _run(built(text, read.tensors), _checked(read.folded, images))

    def example(self, options: ExportOptions, described: Mapping[str, Any]) -> Example:
        """By the archive, which needs no module."""
        return Example(
            needs="torch",
            imports=("import torch",),
            run=(
                f'network = torch.export.load("{_ARCHIVE}").module()',
                "logits = network(torch.from_numpy(images)).detach().numpy()",
            ),
        )


def _shape(folded: Folded) -> tuple[int, int, int]:
    return folded.in_channels, folded.resolution, folded.resolution


def _checked(folded: Folded, images: NDArray[np.float32]) -> NDArray[np.float32]:
    if images.shape[1:] != _shape(folded):
        raise UnsupportedError(
            f"{_SOURCE} takes images of shape {('n', *_shape(folded))}, got {images.shape}: "
            "resize them as its manifest says"
        )
    return np.array(images, dtype=np.float32, order="C")  # torch takes no memory that is not its to write


def _run(network: nn.Module, images: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(images[first : first + _AT_ONCE]))
            for first in range(0, max(len(images), 1), _AT_ONCE)
        ]
    logits: NDArray[np.float32] = torch.cat(parts).numpy()
    return logits


TORCH = TorchTarget()
