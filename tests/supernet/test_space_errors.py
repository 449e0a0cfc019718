"""Wrong genomes, names, values and rules are refused with the gene, the value and the way out."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.supernet.errors import InvalidGenomeError, UnknownNameError, UnsupportedError
from bitfront.supernet.genes import Gene, Rule
from bitfront.supernet.space import SearchSpace, Slot
from bitfront.supernet.spaces.mbconv import MBConvSpace


@pytest.fixture
def genome(tiny_space: MBConvSpace) -> NDArray[np.uint8]:
    """The smallest network: second blocks are skipped."""
    smallest: NDArray[np.uint8] = tiny_space.extremes()[0]
    return smallest


def _refused(space: MBConvSpace, genomes: Any, *words: str) -> None:
    with pytest.raises(InvalidGenomeError) as caught:
        space.check(genomes)
    for word in words:
        assert word in str(caught.value)


def test_a_genome_of_another_length(tiny_space: MBConvSpace) -> None:
    _refused(tiny_space, np.zeros((2, 5), dtype=np.uint8), "'tiny'", "(n, 31)", "(2, 5)", "another space")


def test_a_single_genome_is_no_batch(tiny_space: MBConvSpace, genome: NDArray[np.uint8]) -> None:
    _refused(tiny_space, genome, "(n, 31)", "(31,)")


def test_rows_of_unlike_lengths(tiny_space: MBConvSpace) -> None:
    _refused(tiny_space, [[0] * 31, [0] * 30], "31 choice indices")


@pytest.mark.parametrize("wrong", [0.5, True, "0", None])
def test_values_that_are_no_integers(tiny_space: MBConvSpace, wrong: object) -> None:
    _refused(tiny_space, [[wrong] * 31], "integers")


@pytest.mark.parametrize("value", [3, 255, 256, -1, 2**40])
def test_an_index_out_of_range(tiny_space: MBConvSpace, genome: NDArray[np.uint8], value: int) -> None:
    wrong = np.stack([genome, genome]).astype(np.int64)
    wrong[1, tiny_space.position["stage0.block0.width"]] = value
    _refused(tiny_space, wrong, "genome 1", "'stage0.block0.width'", str(value), "[4, 8, 12]", "index from 0 to 2")


def test_a_skipped_gene_that_is_not_zero(tiny_space: MBConvSpace, genome: NDArray[np.uint8]) -> None:
    genome[tiny_space.position["stage1.block1.kernel"]] = 1
    _refused(tiny_space, genome[None], "genome 0", "'stage1.block1.kernel'", "got 1", "canonical()")


def test_a_forbidden_combination(tiny_space: MBConvSpace, genome: NDArray[np.uint8]) -> None:
    narrow = tiny_space.restrict_formats(lambda op: {("fp32", "fp32"), ("int8", "int8")})
    genome[tiny_space.position["stage0.block0.depthwise.weight_format"]] = 3
    tiny_space.check(genome[None])
    words = ("genome 0", "'stage0.block0.depthwise.weight_format': 'int4'", "fp32", "repair()")
    _refused(narrow, genome[None], *words)
    narrow.check(narrow.repair(genome[None]))


def test_a_choice_that_a_restriction_took_away(tiny_space: MBConvSpace, genome: NDArray[np.uint8]) -> None:
    _refused(tiny_space.restrict({"resolution": [12]}), genome[None], "'resolution': 8", "repair()")


def test_check_takes_lists_and_other_integer_types(tiny_space: MBConvSpace, genome: NDArray[np.uint8]) -> None:
    checked = tiny_space.check([[int(index) for index in genome]])
    assert checked.dtype == np.uint8
    np.testing.assert_array_equal(checked[0], genome)


def test_unknown_gene(tiny_space: MBConvSpace) -> None:
    calls = (
        lambda: tiny_space.genome({"stage0.block0.widht": 8}),
        lambda: tiny_space.restrict({"stage0.block0.widht": [8]}),
        lambda: tiny_space.allowed_choices("stage0.block0.widht"),
        lambda: tiny_space.restrict(rules=[Rule.pair("stage0.block0.widht", "resolution", frozenset())]),
    )
    for call in calls:
        with pytest.raises(UnknownNameError, match=r"stage0\.block0\.widht.*did you mean 'stage0\.block0\.width'"):
            call()


def test_a_value_that_a_gene_does_not_have(tiny_space: MBConvSpace) -> None:
    expected = re.escape("gene 'resolution' can not be 9: choose one of [8, 12]")
    with pytest.raises(InvalidGenomeError, match=expected):
        tiny_space.genome({"resolution": 9})
    with pytest.raises(InvalidGenomeError, match=expected):
        tiny_space.restrict({"resolution": [8, 9]})


def test_genome_refuses_forbidden_choices(tiny_space: MBConvSpace) -> None:
    narrow = tiny_space.restrict_formats(lambda op: {("fp32", "fp32"), ("int8", "int8")})
    with pytest.raises(InvalidGenomeError, match=r"combination.*head\.weight_format.*int8"):
        narrow.genome({"head.weight_format": "int8"})


def test_a_restriction_that_leaves_nothing(tiny_space: MBConvSpace) -> None:
    with pytest.raises(UnsupportedError, match=r"no choice is left for resolution.*loosen"):
        tiny_space.restrict({"resolution": []})
    with pytest.raises(UnsupportedError, match=r"no choice is left for resolution"):
        tiny_space.restrict({"resolution": [8]}).restrict({"resolution": [12]})
    with pytest.raises(
        UnsupportedError, match=r"no choice is left for stem\.weight_format, stem\.activation_format"
    ):
        tiny_space.restrict_formats(lambda op: {("bf16", "bf16")})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("stage0.depth", "resolution"),
        ("resolution", "stage0.depth"),
        ("resolution", "stage0.block1.kernel"),
        ("stage0.block1.kernel", "stage1.block1.kernel"),
    ],
)
def test_rules_that_would_tie_genes_of_different_activity(
    tiny_space: MBConvSpace, first: str, second: str
) -> None:
    with pytest.raises(UnsupportedError, match=f"can not tie '{re.escape(first)}' to '{re.escape(second)}'"):
        tiny_space.restrict(rules=[Rule.pair(first, second, frozenset())])


def test_rules_that_tie_too_much(tiny_space: MBConvSpace) -> None:
    names = [gene.name for gene in tiny_space.genes if gene.active_if is None and gene.kind != "depth"]
    rules = [Rule.pair(a, b, frozenset()) for a, b in itertools.pairwise(names)]
    with pytest.raises(UnsupportedError, match="too many genes together"):
        tiny_space.restrict(rules=rules)


def test_restrictions_add_up_and_leave_the_space_they_start_from(tiny_space: MBConvSpace) -> None:
    size = tiny_space.size()
    once = tiny_space.restrict({"stage0.block0.width": [4, 8]})
    twice = once.restrict({"stage0.block0.width": [8, 12], "resolution": [8]})
    assert once.allowed_choices("stage0.block0.width") == (4, 8)
    assert twice.allowed_choices("stage0.block0.width") == (8,)
    assert tiny_space.allowed_choices("stage0.block0.width") == (4, 8, 12)
    assert (tiny_space.size(), once.size() * 3, twice.size() * 6) == (size, size * 2, size)


class _Plain(SearchSpace):
    """A space of bare genes."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        return ()

    @property
    def config(self) -> Any:
        return None


def test_a_gene_may_hang_on_free_depth_genes_only() -> None:
    width = Gene("width", "width", (1, 2))
    with pytest.raises(ValueError, match=r"'kernel' depends on 'width', which is no free depth gene"):
        _Plain("plain", [width, Gene("kernel", "kernel", (3, 5), ("width", 1))])
    depths = [Gene("a", "depth", (1, 2)), Gene("b", "depth", (1, 2), ("a", 1))]
    with pytest.raises(ValueError, match=r"'c' depends on 'b'"):
        _Plain("plain", [*depths, Gene("c", "kernel", (3, 5), ("b", 1))])


def test_hash_tells_spaces_apart() -> None:
    def made(name: str = "s", kernels: tuple[int, ...] = (3, 5), when: tuple[str, int] | None = None) -> str:
        return _Plain(name, [Gene("depth", "depth", (1, 2)), Gene("k", "kernel", kernels, when)]).hash()

    hashes = [made(), made(name="t"), made(kernels=(3, 7)), made(kernels=(5, 3)), made(when=("depth", 1))]
    assert len(set(hashes)) == len(hashes)
    assert made() == made()
