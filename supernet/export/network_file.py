"""Folded networks as files: safetensors with a tensor that says what the network is.

``network`` (uint8) is that text, JSON that is packed by `deflated`: sizes, blocks with their layers, scales, and
digests of files beside (`_Manifest`). The header's manifest has ``format`` and ``version``, and its digest is of
all tensors.

Each layer has, under its name, with _ for dots, the tensors

* ``weight``: for an integer format codes of that many bits, one after the other without gaps (uint8, flat; see
  `integer.packing`); for any other format the values in its own type, in the layer's shape;
* ``weight_scale`` (float32, one per output channel): for formats of up to 8 bits, integers or not;
* ``bias`` (float32).

Weights that were not rounded yet to the format of their layer are rounded as they are stored. Besides the tensors,
which take what `policy.layer_bytes` counts, a layer takes some 280 bytes for its names, shapes and formats.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.export.deflated import deflated, inflated
from bitfront.supernet.export.integer.packing import pack, packed_bytes, unpack
from bitfront.supernet.export.network_checks import attribute, network_problem
from bitfront.supernet.files import read_tensors, tensor_file
from bitfront.supernet.folded import Folded, FoldedLayer, TensorQuant
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.formats.base import FloatFormat

Quants = tuple[TensorQuant | None, TensorQuant | None]


@dataclass(frozen=True, slots=True)
class _Manifest:
    """``quants`` are input and output of the layers in order; ``sha256`` is of files beside, by name."""

    in_channels: int
    resolution: int
    classes: int
    blocks: tuple[Block, ...]
    quants: tuple[Quants, ...]
    sha256: dict[str, str]


_MANIFEST = TypeAdapter(_Manifest)
_TEXT = "network"
_HEADER = {"format": "bitfront network", "version": 1}


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """What is in a file: the network, its tensors as they are stored, and SHA-256 of files beside, by name."""

    folded: Folded
    tensors: dict[str, Tensor]
    sha256: dict[str, str]


def stored_tensors(folded: Folded) -> dict[str, Tensor]:
    """The tensors that stand in the file of a network."""
    tensors = {}
    for part in folded.layers:
        name = attribute(part.layer)
        tensors[f"{name}.weight"] = _stored_weight(part)
        if part.weight_scale is not None:
            tensors[f"{name}.weight_scale"] = torch.from_numpy(part.weight_scale)
        tensors[f"{name}.bias"] = torch.from_numpy(part.bias)
    return tensors


def _stored_weight(part: FoldedLayer) -> Tensor:
    number_format = FORMATS.get(part.layer.weight_format)
    if isinstance(number_format, FloatFormat):
        return torch.from_numpy(part.unscaled()).to(number_format.dtype)
    if part.weight_codes is None:
        raise UnsupportedError(f"layer {part.layer.name} has {number_format.name} weights, but no codes")
    return torch.from_numpy(pack(part.weight_codes, number_format.storage_bits))


def network_bytes(folded: Folded, beside: Mapping[str, bytes] | None = None) -> bytes:
    """The file; the same network gives the same bytes.

    Args:
        folded: the network.
        beside: files that belong to it, by name, whose SHA-256 is kept in this one.

    Raises:
        UnsupportedError: it is no whole network, or its layers' names can not be those of attributes.
    """
    check_is_network(folded)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted((beside or {}).items())}
    manifest = _Manifest(
        in_channels=folded.in_channels,
        resolution=folded.resolution,
        classes=folded.classes,
        blocks=folded.blocks,
        quants=_quants(folded),
        sha256=digests,
    )
    text = torch.from_numpy(deflated(asdict(manifest)).copy())
    return tensor_file({**stored_tensors(folded), _TEXT: text}, _HEADER)


def check_is_network(folded: Folded) -> None:
    """Raises UnsupportedError unless files can hold this network."""
    problem = network_problem(
        folded.blocks, _quants(folded), folded.in_channels, folded.resolution, folded.classes
    )
    if problem:
        raise UnsupportedError(f"the network can not be written to a file: {problem}")


def _quants(folded: Folded) -> tuple[Quants, ...]:
    return tuple((part.input, part.output) for part in folded.layers)


def read_network(data: bytes, source: str = "the given file") -> NetworkFile:
    """The network in a file. Weights come back as they were stored: rounded to their format.

    Raises:
        CorruptFileError: it is no such file, or what is in it is no network; ``source`` names it.
    """
    tensors, header = read_tensors(data, source)
    try:
        manifest = _manifest(tensors.pop(_TEXT, None), header)
        found = network_problem(
            manifest.blocks, manifest.quants, manifest.in_channels, manifest.resolution, manifest.classes
        )
        if found:
            raise ValueError(found)
        return NetworkFile(_folded(manifest, tensors), tensors, manifest.sha256)
    except ValueError as error:  # pydantic's are such
        raise CorruptFileError(f"{source} is no network ({error}): export it again") from error


def _manifest(text: Tensor | None, header: dict[str, Any]) -> _Manifest:
    if header != _HEADER:
        raise ValueError(f"its header says {header}, not {_HEADER}")
    if text is None or text.dtype != torch.uint8 or text.ndim != 1:
        raise ValueError(f"tensor {_TEXT!r} is not there as one row of bytes")
    return _MANIFEST.validate_json(inflated(text.numpy()), strict=True)


def _folded(manifest: _Manifest, tensors: dict[str, Tensor]) -> Folded:
    layers = [layer for block in manifest.blocks for layer in block.layers]
    parts = tuple(_part(layer, quants, tensors) for layer, quants in zip(layers, manifest.quants, strict=True))
    read = sum(2 if part.weight_scale is None else 3 for part in parts)
    if read != len(tensors):
        raise ValueError(f"it has {len(tensors)} tensors, but its layers are of {read}")
    return Folded(manifest.blocks, parts, manifest.in_channels, manifest.resolution, manifest.classes)


def _part(layer: Layer, quants: Quants, tensors: dict[str, Tensor]) -> FoldedLayer:
    name, number_format = attribute(layer), FORMATS.get(layer.weight_format)
    shape: tuple[int, ...] = (layer.out_channels, layer.in_channels // layer.groups)
    if layer.op != "linear":
        shape = (*shape, layer.kernel, layer.kernel)
    bias = _take(tensors, f"{name}.bias", torch.float32, (layer.out_channels,)).numpy()
    codes, scale = None, None
    if isinstance(number_format, FloatFormat):
        weight = _take(tensors, f"{name}.weight", number_format.dtype, shape).float().numpy()
    else:
        bits, count = number_format.storage_bits, math.prod(shape)
        packed = _take(tensors, f"{name}.weight", torch.uint8, (packed_bytes(count, bits),)).numpy()
        weight = codes = unpack(packed, count, bits).reshape(shape)
    if number_format.has_weight_scale:
        scale = _take(tensors, f"{name}.weight_scale", torch.float32, (layer.out_channels,)).numpy()
        weight = weight * scale.reshape(-1, *[1] * (len(shape) - 1))
    return FoldedLayer(layer, weight, codes, scale, bias, *quants)


def _take(tensors: dict[str, Tensor], name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None or (tensor.dtype, tuple(tensor.shape)) != (dtype, shape):
        raise ValueError(f"tensor {name!r} is not there as {dtype} of shape {shape}")
    return tensor
