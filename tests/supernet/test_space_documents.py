"""Spaces as documents: what is written is read back, and what is wrong is named with its place and a fix."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bitfront.supernet.errors import InvalidSpaceError, UnknownNameError
from bitfront.supernet.genes import Gene
from bitfront.supernet.space import SearchSpace, Slot
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.documents import document_of, space_from
from bitfront.supernet.spaces.settings import SpaceSettings, load_space, space_options

MBCONV: dict[str, Any] = {
    "family": "mbconv",
    "classes": 4,
    "in_channels": 1,
    "stem_channels": 8,
    "stem_stride": 1,
    "stages": [{"out_channels": 12, "stride": 2, "depths": [1, 2], "widths": [8, 16], "kernels": [3, 5]}],
    "head_channels": 16,
    "resolutions": [8, 12],
    "weight_formats": ["fp32", "int8"],
    "activation_formats": ["fp32", "int8"],
    "end_formats": ["fp32", "int8"],
}
BOTTLENECK: dict[str, Any] = {
    "family": "bottleneck",
    "classes": 4,
    "in_channels": 1,
    "stem_channels": [8, 16],
    "stem_out_channels": [16],
    "stem_stride": 1,
    "stem_pool": False,
    "stages": [{"out_channels": [32, 64], "stride": 1, "depths": [1, 2]}],
    "expand_percents": [25, 50],
    "resolutions": [8],
    "weight_formats": ["fp32", "int8"],
    "activation_formats": ["fp32", "int8"],
    "end_formats": ["fp32", "int8"],
}


@pytest.mark.parametrize("name", SPACES.names())
def test_every_space_is_read_back_as_an_equal_one(name: str) -> None:
    space = SPACES.get(name)()
    document = document_of(space)
    assert json.loads(json.dumps(document)) == document
    again = space_from(document, space.name)
    assert again.hash() == space.hash()
    assert again.size() == space.size()
    genomes = space.sample(20, np.random.default_rng(0))
    assert [again.blocks(genome) for genome in genomes] == [space.blocks(genome) for genome in genomes]


@pytest.mark.parametrize("document", [MBCONV, BOTTLENECK], ids=["mbconv", "bottleneck"])
def test_a_document_builds_its_networks(document: dict[str, Any]) -> None:
    space = space_from(document, "mine")
    assert space.name == "mine"
    layers = space.layers(space.extremes()[1])
    assert (layers[0].in_channels, layers[-1].out_channels) == (1, 4)
    assert space.genes[0].choices == tuple(document["resolutions"])


def test_what_shapes_no_network_may_be_left_out() -> None:
    ends = {name: value for name, value in MBCONV.items() if name not in ("classes", "in_channels")}
    space = space_from({**ends, **{"classes": 4, "in_channels": 1}}, "mine")
    assert space.hash() == space_from(MBCONV, "mine").hash()
    assert space_from(ends, "mine").layers(space.extremes()[0])[-1].out_channels == 1000


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *way, last = path
        inner: Any = document
        for step in way:
            inner = inner[step]
        inner[last] = to

    return change


def _drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("family", to="mbcon"), "family = 'mbcon': must be one of bottleneck, mbconv"),
        (_drop("family"), "family = None: must be one of"),
        (_drop("head_channels"), "head_channels: is missing: add it"),
        (_set("head_chanels", to=4), "head_chanels = 4: there is no such field: did you mean 'head_channels'?"),
        (_set("stages", to=[]), r"stages = \[\]: must have 1 to 256 entries"),
        (_set("stages", to=3), "stages = 3: must be a list"),
        (_set("stages", 0, to=3), r"stages\[0\] = 3: must be a mapping"),
        (_set("stages", 0, "depths", to=[2, 1]), r"stages\[0\]\.depths = \[2, 1\]: must ascend.*write \[1, 2\]"),
        (_set("stages", 0, "depths", to=[0, 1]), r"stages\[0\]\.depths\[0\] = 0: must be at least 1"),
        (_set("stages", 0, "depths", to=[True]), r"stages\[0\]\.depths\[0\] = True: must be a whole number"),
        (_set("stages", 0, "widths", to=[8.0]), r"stages\[0\]\.widths\[0\] = 8.0: must be a whole number"),
        (_set("stages", 0, "kernels", to=[3, 4]), r"kernels = \[3, 4\]: a kernel has a middle"),
        (_set("stages", 0, "act", to="gelu"), r"stages\[0\]\.act = 'gelu': must be one of"),
        (_set("stages", 0, "se", to="yes"), r"stages\[0\]\.se = 'yes': must be true or false"),
        (
            _set("stages", 0, "kernel", to=3),
            r"stages\[0\]\.kernel = 3: there is no such field: did you mean 'kernels'",
        ),
        (_set("weight_formats", to=["int8", "fp32"]), r"weight_formats = .*write \['fp32', 'int8'\]"),
        (_set("weight_formats", to=["int7"]), "'int7' is no number format: choose from"),
        (_set("classifier_formats", to=[["int8"]]), "must have 2 entries"),
        (_set("resolutions", to="8"), "resolutions = '8': must be a list"),
        (_set("first_block_residual", to=True), "first_block_channels = None: must be stem_channels"),
        (_set("rules", to=3), "rules = 3: must be a list"),
        (_set("rules", to=[{"genes": ["a"]}]), r"rules\[0\] = .*must have genes and allowed"),
        (_set("rules", to=[{"genes": ["a"], "allowed": [[1, 2]]}]), r"rules\[0\].allowed = .*every row has 1"),
        (_set("rules", to=[{"genes": ["stage0.dept"], "allowed": [[1]]}]), "unknown gene in a rule 'stage0.dept'"),
        (
            _set("rules", to=[{"genes": ["stage0.block0.kernel"], "allowed": []}]),
            "no choice is left for stage0.block0.kernel",
        ),
        (
            _set(
                "rules",
                to=[{"genes": ["stage0.block0.kernel", "stage0.block0.width"], "allowed": [[3, 9], [5, 8]]}],
            ),
            r"rules\[0\]\.allowed = 9: gene stage0\.block0\.width has no such choice: choose from \[8, 16\]",
        ),
        (
            _set("stages", 0, "depths", to=[1, 65]),
            r"stages\[0\]\.depths\[1\] = 65: must be at most 64: give 64 or",
        ),
        (_set("head_channels", to=65_537), "head_channels = 65537: must be at most 65,536: give 65536 or less"),
    ],
)
def test_what_is_wrong_is_named(change: Callable[[dict[str, Any]], None], words: str) -> None:
    document = copy.deepcopy(MBCONV)
    change(document)
    with pytest.raises(InvalidSpaceError, match=words) as raised:
        space_from(document, "mine", "mine.yaml")
    assert str(raised.value).startswith("mine.yaml has 1 problem\n  ")


def test_all_problems_are_told_at_once() -> None:
    document = {**copy.deepcopy(MBCONV), "classes": 0, "resolutions": [], "odd": 1}
    with pytest.raises(InvalidSpaceError, match=r"3 problems(?s:.*)odd(?s:.*)classes(?s:.*)resolutions"):
        space_from(document, "mine")


def test_an_even_kernel_of_a_bottleneck_is_refused() -> None:
    with pytest.raises(InvalidSpaceError, match="kernel = 4: a kernel has a middle"):
        space_from({**BOTTLENECK, "kernel": 4}, "mine")


def test_rules_of_a_document_hold() -> None:
    names = ["stage0.block0.kernel", "stage0.block0.depthwise.activation_format"]
    allowed = [[3, "fp32"], [3, "int8"], [5, "fp32"]]
    rule = {"genes": names, "allowed": allowed}
    space, free = space_from({**MBCONV, "rules": [rule]}, "mine"), space_from(MBCONV, "mine")
    assert space.size() * 4 == free.size() * 3
    for genome in space.sample(100, np.random.default_rng(0)):
        chosen = space.decode(genome)
        assert [chosen[name] for name in names] in allowed


@pytest.mark.parametrize("document", [MBCONV, BOTTLENECK], ids=["mbconv", "bottleneck"])
def test_restrictions_are_written_down(document: dict[str, Any]) -> None:
    whole = space_from(document, "mine")
    executable = {("fp32", "fp32"), ("int8", "int8"), ("int4", "int4")}  # the space has no int4
    some = whole.restrict({"stage0.depth": [2], "stage0.block1.kernel": [3]} if document is MBCONV else {})
    some = some.restrict({"resolution": [8]}).restrict_formats(lambda op: executable)
    written = document_of(some)
    again = space_from(json.loads(json.dumps(written)), "mine")
    assert document_of(again) == written
    assert (again.hash(), again.size()) == (some.hash(), some.size())
    assert some.size() < whole.size()
    genomes = whole.sample(300, np.random.default_rng(0))
    np.testing.assert_array_equal(again.valid(genomes), some.valid(genomes))


class _Odd(SearchSpace):
    @property
    def slots(self) -> tuple[Slot, ...]:
        return ()

    @property
    def config(self) -> Any:
        return {}


def test_a_family_of_ones_own_can_not_be_written_down() -> None:
    with pytest.raises(InvalidSpaceError, match=r"_Odd can not be written down.*bitfront\.spaces"):
        document_of(_Odd("odd", [Gene("resolution", "resolution", (8,))]))


class TestSettings:
    def test_a_name_is_enough(self) -> None:
        assert load_space("digits").hash() == SPACES.get("digits")().hash()

    def test_options_reach_the_function(self) -> None:
        space = load_space(SpaceSettings("digits", {"classes": 3}))
        assert space.layers(space.extremes()[0])[-1].out_channels == 3

    def test_options_replace_the_ends_of_a_document(self) -> None:
        space = load_space(SpaceSettings("mine", {"classes": 3}, MBCONV))
        assert space.layers(space.extremes()[0])[-1].out_channels == 3
        assert space_options(SpaceSettings("mine", {}, MBCONV)) == {"classes": 4, "in_channels": 1}

    @pytest.mark.parametrize("content", [None, MBCONV])
    def test_an_unknown_option_is_named(self, content: dict[str, Any] | None) -> None:
        with pytest.raises(UnknownNameError, match="unknown option of space 'digits' 'clases': did you mean"):
            load_space(SpaceSettings("digits", {"clases": 3}, content))

    @pytest.mark.parametrize("value", [0, -1, 1.5, "3", True])
    def test_a_senseless_value_is_named(self, value: Any) -> None:
        with pytest.raises(InvalidSpaceError, match=r"classes = .*must be"):
            load_space(SpaceSettings("digits", {"classes": value}))
        with pytest.raises(InvalidSpaceError, match=r"classes = .*must be"):
            load_space(SpaceSettings("mine", {"classes": value}, MBCONV))

    def test_multipliers_may_be_whole(self) -> None:
        assert (
            load_space(SpaceSettings("mobilenet_v3", {"width_multiplier": 1})).hash()
            == load_space("mobilenet_v3").hash()
        )
