"""Fixed genes by pattern: what stays, and what is refused."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.supernet.errors import InvalidGenomeError, UnknownNameError, UnsupportedError
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.digits import digits

SPACE = digits()
PATTERNS = (
    "*.kernel",
    "stage0.*.kernel",
    "stage?.depth",
    "*_format",
    "stem.*",
    "resolution",
    "head.weight_format",
)


def kept(space: SearchSpace) -> dict[str, tuple[Any, ...]]:
    return {gene.name: space.allowed_choices(gene.name) for gene in space.genes}


def test_a_choice_or_several_and_patterns_add_up() -> None:
    space = SPACE.fix({"*.kernel": [3, 5], "stage0.block0.kernel": (5, 7), "stem.*_format": "int8"})
    found = kept(space)
    assert found["stage0.block0.kernel"] == (5,)
    assert found["stage1.block0.kernel"] == (3, 5)
    assert found["stem.weight_format"] == found["stem.activation_format"] == ("int8",)
    assert found["resolution"] == SPACE.genes[SPACE.position["resolution"]].choices
    assert space.hash() == SPACE.hash()


def test_it_adds_to_earlier_restrictions() -> None:
    once = SPACE.restrict({"stage0.block0.kernel": [3, 7]}).fix({"*.kernel": [3, 5]})
    assert kept(once)["stage0.block0.kernel"] == (3,)
    with pytest.raises(UnsupportedError):
        SPACE.restrict({"stage0.block0.kernel": [7]}).fix({"*.kernel": [3, 5]})


@given(st.sampled_from(PATTERNS), st.data())
def test_only_what_is_matched_changes_and_samples_obey(pattern: str, data: st.DataObject) -> None:
    matched = [gene for gene in SPACE.genes if fnmatchcase(gene.name, pattern)]
    common = [choice for choice in matched[0].choices if all(choice in gene.choices for gene in matched)]
    if not common:
        return
    wanted = data.draw(st.lists(st.sampled_from(common), min_size=1, unique=True))
    space = SPACE.fix({pattern: wanted})
    for gene in SPACE.genes:
        expected = [one for one in gene.choices if one in wanted] if gene in matched else list(gene.choices)
        assert list(space.allowed_choices(gene.name)) == expected
    for genome in space.sample(5, np.random.default_rng(0)):
        assert all(space.decode(genome).get(gene.name, wanted[0]) in wanted for gene in matched)


@pytest.mark.parametrize(
    ("fixed", "error", "words"),
    [
        ({"stage0.detph": 1}, UnknownNameError, "did you mean 'stage0.depth'"),
        ({"*.kernell": 3}, UnknownNameError, "gene of space 'digits'"),
        ({"*.kernel": [3, 4]}, InvalidGenomeError, "4 is no choice of a gene that"),
        ({"*.kernel": "int8"}, InvalidGenomeError, "choose from"),
        ({"*.kernel": []}, UnsupportedError, "leaves no choice of gene stage0.block0.kernel"),
        ({"*.kernel": 3, "stage1.*.kernel": 5}, UnsupportedError, "leaves no choice of gene stage1.block0.kernel"),
        ({"stage?.*": 3}, UnsupportedError, "a pattern that does not match that gene"),
    ],
)
def test_refused(fixed: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        SPACE.fix(fixed)
    assert words in str(caught.value)
