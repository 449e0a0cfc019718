"""Networks in files: what packs and what is refused of the text that says what a network is."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bitfront.supernet.errors import CorruptFileError
from bitfront.supernet.export.network_file import network_bytes, read_network, stored_tensors
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.files import read_tensors, tensor_file
from bitfront.supernet.folded import Folded
from bitfront.supernet.quantization.policy import size_bytes
from bitfront.supernet.spaces import SPACES

HEADER = {"format": "bitfront network", "version": 1}


def drawn(name: str, seed: int, weights: str = "int8") -> Folded:
    rng = np.random.default_rng(seed)
    space = SPACES.get(name)()
    genomes = space.assign(space.sample(1, rng), {"weight_format": weights})
    return random_folded(space.blocks(genomes[0]), rng)


def with_text(folded: Folded, text: Tensor) -> bytes:
    """A file with another text, whose digest is right."""
    return tensor_file({**stored_tensors(folded), "network": text}, HEADER)


@pytest.fixture(scope="module")
def folded() -> Folded:
    return drawn("digits", 1)


@pytest.mark.parametrize("weights", ["int4", "int8"])
def test_small_networks_take_little_more(weights: str) -> None:
    for seed in range(5):
        folded = drawn("fashion", seed, weights)
        counted = size_bytes(part.layer for part in folded.layers)
        assert len(network_bytes(folded)) < counted + 400 + 320 * len(folded.layers)


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b'{"a":' * 100_000, b"[]", b"{}", b"null", b"\xff", b"", b" " * (1 << 24)],
    ids=["lists", "objects", "list", "empty", "null", "no text", "nothing", "bomb"],
)
def test_a_text_that_is_none(text: bytes, folded: Folded) -> None:
    with pytest.raises(CorruptFileError, match=r"(?s)x is no network .*export it again"):
        read_network(with_text(folded, torch.frombuffer(bytearray(zlib.compress(text)), dtype=torch.uint8)), "x")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1].clone(),
        lambda text: text[1:].clone(),
        lambda text: torch.cat([text, text[:1]]),
        lambda text: text.reshape(1, -1),
        lambda text: text.short(),
        lambda text: text[:0].clone(),
    ],
    ids=["cut off", "no head", "longer", "rows", "wider", "empty"],
)
def test_a_packed_text_that_is_none(change: Callable[[Tensor], Tensor], folded: Folded) -> None:
    text = read_tensors(network_bytes(folded), "x")[0]["network"]
    read_network(with_text(folded, text), "x")
    with pytest.raises(CorruptFileError, match=r"(?s)x is no network .*export it again"):
        read_network(with_text(folded, change(text)), "x")


@pytest.mark.parametrize(
    "header", [{}, {**HEADER, "version": 2}, {**HEADER, "format": "else"}, {**HEADER, "a": 1}]
)
def test_a_header_of_something_else(header: dict[str, Any], folded: Folded) -> None:
    tensors = read_tensors(network_bytes(folded), "x")[0]
    assert read_network(tensor_file(tensors, HEADER)).folded.blocks == folded.blocks
    with pytest.raises(CorruptFileError, match="its header says"):
        read_network(tensor_file(tensors, header))


def test_a_deep_header() -> None:
    from safetensors.torch import save

    with pytest.raises(CorruptFileError):
        read_network(save({}, metadata={"manifest": "[" * 100_000, "sha256": ""}))
