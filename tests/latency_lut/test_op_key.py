from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from bitfront.latency_lut.op_key import asked_for, border_key, handed_over, layer_key, op_key
from bitfront.supernet.layers import Block, Layer
from bitfront.supernet.spaces.digits import digits

LAYER = Layer("a.expand", "pointwise", 8, 24, 1, 1, 16, "int8", "int4", signed_input=True, act="relu")
BLOCK = Block("a", "mbconv", (LAYER, LAYER), residual=True)


def test_keys_read_well() -> None:
    assert layer_key(LAYER) == "pointwise(8>24,k1,s1,16px,w=int8,a=int4,relu)"
    assert op_key(BLOCK) == f"mbconv+add:{layer_key(LAYER)};{layer_key(LAYER)}"


@pytest.mark.parametrize(
    "change",
    [
        {"op": "conv"},
        {"in_channels": 9},
        {"out_channels": 25},
        {"kernel": 3},
        {"stride": 2},
        {"in_size": 15},
        {"weight_format": "int4"},
        {"activation_format": "int8"},
        {"act": "none"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_that_shapes_the_cost_changes_the_key(change: dict[str, Any]) -> None:
    other = replace(LAYER, **change)
    assert layer_key(other) != layer_key(LAYER)
    assert op_key(replace(BLOCK, layers=(LAYER, other))) != op_key(BLOCK)


@pytest.mark.parametrize("change", [{"kind": "head"}, {"residual": False}, {"layers": (LAYER,)}])
def test_the_block_itself_shapes_its_key(change: dict[str, Any]) -> None:
    assert op_key(replace(BLOCK, **change)) != op_key(BLOCK)


def test_names_and_signs_do_not_change_the_key() -> None:
    renamed = replace(LAYER, name="b.expand", signed_input=False)
    assert op_key(replace(BLOCK, name="b", layers=(renamed, renamed))) == op_key(BLOCK)


def test_border_keys_read_well() -> None:
    assert border_key(24, 56, "fp32", "int8") == "border(24ch,56px,fp32>int8)"


@pytest.mark.parametrize(
    ("weight", "activation", "handed"),
    [
        ("int8", "int8", "int8"),
        ("int4", "int6", "int8"),  # integer kernels store 8 bits
        ("fp32", "fp32", "fp32"),
        ("bf16", "bf16", "bf16"),
        ("int4", "fp32", "fp32"),  # weights alone make no integer layer
        ("fp32", "int8", "int8"),
    ],
)
def test_a_block_hands_over_what_its_last_layer_stores(weight: str, activation: str, handed: str) -> None:
    last = replace(LAYER, weight_format=weight, activation_format=activation)
    assert handed_over(replace(BLOCK, layers=(LAYER, last))) == handed
    assert asked_for(replace(BLOCK, layers=(last, LAYER))) == activation


def _anonymous(block: Block) -> Block:
    layers = tuple(replace(layer, name="", signed_input=False) for layer in block.layers)
    return replace(block, name="", layers=layers)


def test_blocks_share_a_key_exactly_when_they_are_alike() -> None:
    space = digits()
    blocks: dict[str, Block] = {}
    for slot in space.slots:
        # Every value of every gene once, the others at their first.
        first = [space.allowed_choices(name)[0] for name in slot.genes]
        for i, name in enumerate(slot.genes):
            for value in space.allowed_choices(name):
                block = slot.build((*first[:i], value, *first[i + 1 :]))
                assert _anonymous(blocks.setdefault(op_key(block), block)) == _anonymous(block)
    assert len({_anonymous(block) for block in blocks.values()}) == len(blocks)
    assert all(re.fullmatch(r"[a-z+]+:[\w>,=();]+", key) for key in blocks)
