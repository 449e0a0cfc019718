"""Once-for-All's latency tables (Cai et al., ICLR 2020): mean times of whole blocks, one YAML file per resolution.

Keys name an operator and its shapes, such as ``Conv-input:224x224x3-output:112x112x24``, the first convolution, or
``expanded_conv-input:56x56x32-output:56x56x32-expand:128-kernel:3-stride:1-idskip:1-se:0-hs:0``, an inverted
residual block with 128 hidden channels and an addition, without squeeze-and-excitation and h-swish. A value is
``{count, mean, std}`` of its calls, in milliseconds. A network takes the sum of its operators' means, as in
Once-for-All's own estimator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.latency_lut.imports.base import Costs, ImportedTable, refuse
from bitfront.latency_lut.imports.ofa_files import OfaFiles, Row, read_files
from bitfront.latency_lut.op_key import op_key
from bitfront.latency_lut.slot_blocks import every_block
from bitfront.latency_lut.table import InvalidTableError
from bitfront.supernet.errors import InvalidGenomeError, UnsupportedError
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace

Rows = Mapping[str, Row]


def read(path: Path, space: SearchSpace, number_format: str = "fp32") -> ImportedTable:
    """The blocks of ``space`` that a file, or the files of a folder, have rows for, by op key.

    Tables of this form do not say in which format they were measured: ``number_format`` is that of all weights and
    activations. A block without its rows stays without an entry; they have none for bottlenecks. Where resolutions
    share a block, each of them measured it, and its cost is the mean over all calls. ``details`` hold, for each
    entry, the rows that it is the sum of.

    Raises:
        MissingFileError: there is no such file, or none in the folder.
        UnknownNameError: there is no such format.
        InvalidTableError: files or rows are bad, some slot has no row, or the space has no network in the format;
            nothing is imported.
    """
    FORMATS.get(number_format)
    files = read_files(path)
    sums: dict[str, dict[tuple[Row, ...], None]] = {}
    covered: dict[str, bool] = {}
    for resolution, block in _blocks(path, space, number_format):
        rows = _rows_of(block, files.rows.get(resolution, {}))
        covered[block.name] = covered.get(block.name, False) or bool(rows)
        if rows:
            sums.setdefault(op_key(block), {})[rows] = None
    _check_covered(path, covered, files)
    return ImportedTable(
        costs=("latency_ms",),
        entries={key: _costs(list(alternatives)) for key, alternatives in sums.items()},
        provenance={"format": "ofa", "number_format": number_format, "sha256": files.digests},
        details={key: _details(list(alternatives)) for key, alternatives in sums.items()},
        ignored=files.total
        - len({row for alternatives in sums.values() for rows in alternatives for row in rows}),
    )


def _blocks(path: Path, space: SearchSpace, number_format: str) -> Iterator[tuple[int, Block]]:
    """The space's blocks in one format, each with the side of the image that it is part of the work on."""
    try:
        space = space.restrict({gene.name: (number_format,) for gene in space.genes if gene.is_policy})
    except (InvalidGenomeError, UnsupportedError) as error:
        raise InvalidTableError(
            f"{path} is taken to be of {number_format}, but space {space.name!r} has no such network: {error}: "
            "give the number_format that it was measured in, or another space (nothing was imported)"
        ) from error
    image = next(gene.name for gene in space.genes if gene.kind == "resolution")
    for resolution in space.allowed_choices(image):
        for block in every_block(space.restrict({image: (resolution,)})):
            yield int(resolution), block


def _rows_of(block: Block, rows: Rows) -> tuple[Row, ...]:
    """The rows that a block is the sum of; none if one is missing."""
    if block.kind == "head":
        keys = _head_keys(block, rows)
    elif block.kind == "stem":
        conv, *first_block = block.layers
        keys = [_conv_key("Conv", conv), *([_mbconv_key(first_block, residual=False)] if first_block else [])]
    else:
        keys = [_mbconv_key(block.layers, block.residual)] if block.kind == "mbconv" else []
    return tuple(rows[key] for key in keys) if all(key in rows for key in keys) else ()


def _conv_key(name: str, layer: Layer) -> str:
    before, after = _shape(layer.in_size, layer.in_channels), _shape(layer.out_size, layer.out_channels)
    return f"{name}-input:{before}-output:{after}"


def _mbconv_key(layers: Sequence[Layer], residual: bool) -> str:
    """``layers`` begin with an expansion or, where the block has none, with the depthwise convolution."""
    depthwise, project = next(layer for layer in layers if layer.op == "depthwise"), layers[-1]
    has_gate, is_hswish = any(layer.gate for layer in layers), depthwise.act == "hswish"
    before = _shape(layers[0].in_size, layers[0].in_channels)
    after = _shape(project.out_size, project.out_channels)
    return (
        f"expanded_conv-input:{before}-output:{after}-expand:{depthwise.in_channels}-kernel:{depthwise.kernel}-"
        f"stride:{depthwise.stride}-idskip:{int(residual)}-se:{int(has_gate)}-hs:{int(is_hswish)}"
    )


def _head_keys(block: Block, rows: Rows) -> list[str]:
    """Feature mix, pooling and classifier.

    MobileNetV3's tables have another convolution, ``Conv_2``, behind the pooling: the head's hidden layer. Where
    a head has none, it is taken along if only through it the classifier is reached, which then has its output as
    input. The tables have no head that is a mere classifier, as ResNets have it.
    """
    if len(block.layers) < 2:
        return []
    mix, *hidden, classifier = block.layers
    if mix.op == "linear":
        return []
    pooled, pool = _shape(1, mix.out_channels), _shape(mix.out_size, mix.out_channels)
    start = [_conv_key("Conv_1", mix), f"AvgPool2D-input:{pool}-output:{pooled}"]
    direct = f"Logits-input:{_shape(1, classifier.in_channels)}-output:{classifier.out_channels}"
    if hidden:
        return [*start, *(_conv_key("Conv_2", layer) for layer in hidden), direct]
    ways = []
    for key in rows:
        if key.startswith(f"Conv_2-input:{pooled}-output:1x1x"):
            logits = f"Logits-input:{key.rpartition(':')[2]}-output:{classifier.out_channels}"
            ways += [[key, logits]] if logits in rows else []
    return start + (ways[0] if direct not in rows and len(ways) == 1 else [direct])


def _shape(size: int, channels: int) -> str:
    return f"{size}x{size}x{channels}"


def _check_covered(path: Path, covered: Mapping[str, bool], files: OfaFiles) -> None:
    refuse(
        path,
        (f"slot {name!r}" for name, any_rows in covered.items() if not any_rows),
        "Each slot of the space needs a block that is in the table: is it a table for another space, or are these "
        f"the wrong resolutions ({', '.join(map(str, sorted(files.rows)))})?",
    )


def _costs(alternatives: Sequence[tuple[Row, ...]]) -> Costs:
    """The mean of sums of rows, each weighted by its calls."""
    sums = [sum(row.mean_ms for row in rows) for rows in alternatives]
    calls = [min(row.count for row in rows) for rows in alternatives]
    return {"latency_ms": float(np.average(sums, weights=calls))}


def _details(alternatives: Sequence[tuple[Row, ...]]) -> dict[str, Any]:
    return {"rows": [asdict(row) for rows in alternatives for row in rows]}
