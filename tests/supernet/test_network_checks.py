"""Which blocks make a network: what is let through runs, and what would not run is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from bitfront.supernet.errors import CorruptFileError, UnsupportedError
from bitfront.supernet.export.network_checks import network_problem
from bitfront.supernet.export.network_file import network_bytes, read_network, stored_tensors
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.export.targets.base import ExportOptions
from bitfront.supernet.export.targets.integer import INTEGER
from bitfront.supernet.export.torch_source import built, source
from bitfront.supernet.folded import Folded
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.spaces import SPACES


def conv(name: str, channels: tuple[int, int], size: int, **said: object) -> Layer:
    plain = Layer(name, "conv", *channels, 3, 1, size, "fp32", "fp32", True, "none")
    return replace(plain, **said)  # type: ignore[arg-type]


def gated(max_pool: bool = False, residual: bool = False) -> tuple[Block, ...]:
    """A block that ends in a gate: 8 pixels a side go on, though the last layer's own map has one."""
    depthwise = conv("body.depthwise", (4, 4), 8, op="depthwise")
    squeeze = conv("body.squeeze", (4, 2), 1, op="pointwise", kernel=1, source="pooled")
    gate = conv("body.gate", (2, 4), 1, op="pointwise", kernel=1, gate=True)
    linear = conv("head.classifier", (4, 5), 1, op="linear", kernel=1)
    return (
        Block("stem", "stem", (conv("stem", (1, 4), 8),)),
        Block("body", "mbconv", (depthwise, squeeze, gate), residual=residual, max_pool=max_pool),
        Block("after", "conv", (conv("after", (4, 4), 4 if max_pool else 8),)),
        Block("head", "head", (linear,)),
    )


def folded(blocks: Sequence[Block]) -> Folded:
    return random_folded(blocks, np.random.default_rng(0))


def problem(blocks: Sequence[Block]) -> str | None:
    """Of a network of real numbers, which quantizes nothing."""
    return network_problem(blocks, [(None, None)] * sum(len(block.layers) for block in blocks), 1, 8, 5)


def changed(blocks: Sequence[Block], name: str, **said: object) -> list[Block]:
    """With another layer of this name."""
    return [
        replace(
            block,
            layers=tuple(
                replace(one, **said) if one.name == name else one  # type: ignore[arg-type]
                for one in block.layers
            ),
        )
        for block in blocks
    ]


@pytest.mark.parametrize("max_pool", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_a_block_that_ends_in_a_gate_is_as_large_as_what_is_gated(max_pool: bool, residual: bool) -> None:
    blocks = gated(max_pool, residual)
    assert problem(blocks) is None
    read = read_network(network_bytes(folded(blocks)))
    logits = built(source(read.folded), stored_tensors(read.folded))(torch.zeros(2, 1, 8, 8))
    assert logits.shape == (2, 5)


def test_the_integer_program_takes_maxima_of_that_map_too() -> None:
    blocks: Sequence[Block] = gated(max_pool=True)
    for block in gated(max_pool=True):
        for layer in block.layers:
            blocks = changed(blocks, layer.name, weight_format="int8", activation_format="int8")
    files = INTEGER.files(folded(blocks), ExportOptions())
    assert INTEGER.logits(files, np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 5)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16])
def test_what_follows_a_gate_must_fit_the_map(size: int) -> None:
    told = problem(changed(gated(max_pool=True), "after", in_size=size))
    assert told == "layer 'after' does not fit the map before it"


@pytest.mark.parametrize(
    ("name", "said", "told"),
    [
        ("head.classifier", {"source": "pooled"}, "pools by itself"),
        ("head.classifier", {"in_size": 4}, "a kernel, a stride or a size"),
        ("head.classifier", {"kernel": 3}, "a kernel, a stride or a size"),
        ("stem", {"kernel": 2}, "a kernel of 2"),
        ("stem", {"kernel": 4}, "a kernel of 4"),
        ("body.depthwise", {"kernel": 6}, "a kernel of 6"),
        ("body.squeeze", {"kernel": 3}, "a kernel of 3"),
        ("body.depthwise", {"out_channels": 8}, "gives other channels than it takes"),
        ("body.depthwise", {"source": "pooled"}, "does not fit the map before it"),
        ("after", {"gate": True}, "does not fit what it gates"),
        ("after", {"source": "block"}, "shortcuts that can not be"),
    ],
)
def test_what_can_not_run_is_told(name: str, said: dict[str, object], told: str) -> None:
    assert told in str(problem(changed(gated(), name, **said)))


def test_what_is_added_is_what_the_first_layer_takes() -> None:
    """Which is the average where that layer reads one: it does not fit the map."""
    stem, body, *rest = gated(residual=True)
    unpooled = replace(body, layers=body.layers[1:])
    assert "adds what has another shape" in str(problem((stem, unpooled, *rest)))


def test_a_shortcut_does_not_gate() -> None:
    stem, body, *rest = gated(residual=True)
    shortcut = conv("body.shortcut", (4, 4), 8, op="pointwise", kernel=1, source="block")
    assert problem((stem, replace(body, layers=(*body.layers, shortcut)), *rest)) is None
    gate = replace(body, layers=(*body.layers, replace(shortcut, gate=True)))
    assert "shortcuts that can not be" in str(problem((stem, gate, *rest)))


@pytest.mark.parametrize("name", SPACES.names())
def test_every_space_s_networks_are_let_through(name: str) -> None:
    space, rng = SPACES.get(name)(), np.random.default_rng(0)
    for genome in np.concatenate([space.extremes(), space.sample(3, rng)]):
        made = folded(space.blocks(genome))
        quants = [(one.input, one.output) for one in made.layers]
        assert network_problem(made.blocks, quants, made.in_channels, made.resolution, made.classes) is None


def _forged(blocks: Sequence[Block], change: Callable[[Sequence[Block]], Sequence[Block]]) -> bytes:
    """The bytes of a network with other blocks, whose digest is right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bitfront.supernet.export.network_file.network_problem", lambda *_: None)
        return network_bytes(replace(folded(blocks), blocks=tuple(change(blocks))))


def test_a_classifier_that_pools_is_refused_though_its_digest_is_right() -> None:
    data = _forged(gated(), lambda blocks: changed(blocks, "head.classifier", source="pooled"))
    with pytest.raises(CorruptFileError, match=r"linear layer 'head\.classifier' pools by itself"):
        read_network(data)


def test_such_a_network_is_not_written_either() -> None:
    blocks = changed(gated(), "stem", kernel=2)
    with pytest.raises(UnsupportedError, match="layer 'stem' has a kernel of 2"):
        network_bytes(folded(blocks))
