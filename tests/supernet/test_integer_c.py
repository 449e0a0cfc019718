"""Networks as C99: equal to the bit to the interpreter, clean, without a real number, and as small as told."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.export.integer.c import build
from bitfront.supernet.export.integer.c.build import built, run_c
from bitfront.supernet.export.integer.c.layout import Layout
from bitfront.supernet.export.integer.c.plan import Region, planned
from bitfront.supernet.export.integer.c.source import sources
from bitfront.supernet.export.integer.c.weights import packed
from bitfront.supernet.export.integer.lower import lower
from bitfront.supernet.export.integer.numpy_run import run_numpy
from bitfront.supernet.export.integer.program import (
    Program,
    Table,
)
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer, size_bytes
from bitfront.supernet.spaces import SPACES

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

# Some ten seconds each: megabytes of constants, or 224 pixels for NumPy.
SMALL = ("digits", "fashion")
KERNELS = Path(build.__file__).parent / "kernels"
LARGE = tuple(name for name in SPACES.names() if name not in SMALL)


def drawn(name: str, seed: int) -> tuple[Program, float]:
    """A network of random weights with formats mixed, and its bytes as searches count them."""
    rng = np.random.default_rng(seed)
    formats = [each for each in FORMATS.names() if is_integer(each)]
    space = SPACES.get(name)().restrict_formats(lambda op: {(w, a) for w in formats for a in formats})
    blocks = space.blocks(space.sample(1, rng)[0])
    return lower(random_folded(blocks, rng)), size_bytes(layer for block in blocks for layer in block.layers)


class InC(Protocol):
    """The fixture ``in_c``."""

    STRICT: tuple[str, ...]
    PORTABLE: str
    NO_VNNI: str
    SANITIZED: tuple[str, ...]

    def codes(self, program: Program, n: int) -> NDArray[np.generic]: ...
    def build(self, program: Program, folder: Path, flags: Sequence[str]) -> Path: ...
    def assert_equal(self, program: Program, folder: Path, flags: Sequence[str], n: int = 4) -> None: ...


@pytest.fixture(scope="module")
def fashion() -> Program:
    return drawn("fashion", 0)[0]


@pytest.fixture(scope="module")
def command(fashion: Program, in_c: InC, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as people are told to, with all warnings errors."""
    return in_c.build(fashion, tmp_path_factory.mktemp("fashion"), (*in_c.STRICT, "-O3"))


# -- what is computed --------------------------------------------------------------------------------------


class TestSpaces:
    @pytest.mark.parametrize("name", SMALL)
    def test_equal_to_the_bit_with_vector_kernels_and_without(self, in_c: InC, name: str, tmp_path: Path) -> None:
        program, _ = drawn(name, 1)
        in_c.assert_equal(program, tmp_path, (*in_c.STRICT, "-O3"))
        in_c.assert_equal(program, tmp_path, (*in_c.STRICT, "-O2", in_c.PORTABLE))
        in_c.assert_equal(program, tmp_path, (*in_c.STRICT, "-O3", in_c.NO_VNNI))
        in_c.assert_equal(program, tmp_path, (*in_c.STRICT, "-O2", "-march=native"))

    @pytest.mark.slow
    @pytest.mark.parametrize("name", LARGE)
    def test_large_ones_too(self, in_c: InC, name: str, tmp_path: Path) -> None:
        program, _ = drawn(name, 1)
        n = 1 if program.tensor(program.input).size > 64 else 3
        in_c.assert_equal(program, tmp_path, (*in_c.STRICT, "-O3"), n)
        in_c.assert_equal(program, tmp_path, (*in_c.STRICT, "-O3", in_c.NO_VNNI), n)
        in_c.assert_equal(program, tmp_path, (*in_c.STRICT, "-O3", "-march=native", in_c.PORTABLE), n)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["digits", "fashion", "mobilenet_v3_cifar", "resnet50_cifar"])
    def test_sanitizers_find_nothing(self, in_c: InC, name: str, tmp_path: Path) -> None:
        program, _ = drawn(name, 2)
        in_c.assert_equal(program, tmp_path, in_c.SANITIZED, 1)
        in_c.assert_equal(program, tmp_path, (*in_c.SANITIZED, in_c.NO_VNNI), 1)
        in_c.assert_equal(program, tmp_path, (*in_c.SANITIZED, in_c.PORTABLE), 1)

    @pytest.mark.parametrize("level", [1, 2, 3])
    def test_pointers_to_other_types_are_no_matter(self, in_c: InC, level: int, tmp_path: Path) -> None:
        """Compilers may take it that they point to other places; GCC warns where it sees that they do not."""
        program, _ = drawn("digits", 1)
        assumed = ("-fstrict-aliasing", f"-Wstrict-aliasing={level}")
        in_c.assert_equal(program, tmp_path, (*in_c.STRICT, "-O2", *assumed), 2)
        in_c.assert_equal(program, tmp_path, (*in_c.STRICT, "-O3", *assumed, in_c.PORTABLE), 2)

    def test_nothing_is_moved_from_one_instruction_to_the_next(self, fashion: Program) -> None:
        body = sources(fashion).network.partition("void network_run(")[2]
        lines = [line.strip() for line in body.splitlines() if line.strip().endswith(";")]
        *steps, load = lines
        assert load.startswith("load(")
        assert len(steps) == 2 * (1 + len(fashion.instructions))
        assert set(steps[1::2]) == {"NEXT;"}
        assert "NEXT;" not in steps[::2]

    def test_the_same_program_gives_the_same_texts(self, fashion: Program) -> None:
        assert sources(fashion) == sources(fashion)

    def test_no_image_gives_no_logits(self, in_c: InC, fashion: Program, command: Path) -> None:
        assert run_c(command, in_c.codes(fashion, 0)[:0], 10).shape == (0, 10)

    def test_codes_out_of_range_are_cut_off(self, in_c: InC, tmp_path: Path) -> None:
        program, _ = drawn("digits", 3)
        entry = program.tensor(program.input)
        narrow = replace(entry, low=entry.low // 2, high=entry.high // 2)
        changed = replace(program, tensors=(narrow, *program.tensors[1:]))
        codes = in_c.codes(program, 3)
        found = run_c(in_c.build(changed, tmp_path, (*in_c.STRICT, "-O1")), codes, 10)
        np.testing.assert_array_equal(found, run_numpy(program, codes.clip(narrow.low, narrow.high)))


# -- numbers, warnings -------------------------------------------------------------------------------------


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)


REAL_ARITHMETIC = re.compile(
    r"^(v?(add|sub|mul|div|sqrt|max|min|rcp|rsqrt|round|hadd|hsub|addsub|dp|u?comi|cmp\w*)([sp][sd])"
    r"|vf\w+[sp][sd]|v?cvt\w+|f[a-z0-9]+)$"
)


def instructions_of(path: Path) -> list[str]:
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(path)], capture_output=True, text=True, check=True
    ).stdout
    return [line.split("\t")[1].split()[0] for line in text.splitlines() if line.count("\t") >= 1]


class TestNoRealNumbers:
    def test_no_token_is_one(self, fashion: Program) -> None:
        made = sources(fashion)
        kernels = [path.read_text() for path in KERNELS.iterdir() if path.name != build.MAIN]
        assert len(kernels) > 10
        for text in map(without_comments, (made.network, made.header, *kernels)):
            assert not re.search(r"\b(float|double|_Complex|__m128d?|__m256d?|math\.h)\b", text)
            assert not re.search(r"\d\.|\.\d|\b\d+[eE][-+]?\d|0[xX][0-9a-fA-F.]+[pP]", text)
            assert not re.search(r"_p[sd]\b|_s[sd]\b", text)

    @pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
    @pytest.mark.parametrize("flags", [("-O3",), ("-O3", "-march=native", "-DNETWORK_PORTABLE")])
    def test_no_instruction_computes_with_one(
        self, in_c: InC, flags: tuple[str, ...], fashion: Program, tmp_path: Path
    ) -> None:
        for name, content in sources(fashion).files.items():
            (tmp_path / name).write_bytes(content)
        made = tmp_path / "network.o"
        subprocess.run(["gcc", *in_c.STRICT, *flags, "-c", "-o", made, tmp_path / build.NETWORK], check=True)
        found = instructions_of(made)
        assert len(found) > 500
        assert [each for each in found if REAL_ARITHMETIC.match(each)] == []
        symbols = subprocess.run(["nm", "-u", made], capture_output=True, text=True, check=True).stdout.split()
        assert {each for each in symbols if each.strip("_").islower()} <= {
            "memcpy",
            "memset",
            "memmove",
            "__cpu_model",
            "__cpu_features2",
            "__stack_chk_fail",
        }

    def test_what_would_compute_with_one_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "a.c").write_text("int half(int x) { return (int)((double)x * 0.5); }")
        subprocess.run(["gcc", "-O3", "-c", "-o", tmp_path / "a.o", tmp_path / "a.c"], check=True)
        assert any(map(REAL_ARITHMETIC.match, instructions_of(tmp_path / "a.o")))

    @pytest.mark.skipif(shutil.which("clang") is None, reason="needs clang")
    def test_clang_takes_it_without_a_warning(self, in_c: InC, fashion: Program, tmp_path: Path) -> None:
        command = built(sources(fashion).files, tmp_path, (*in_c.STRICT, "-O2"), "clang")
        codes = in_c.codes(fashion, 2)
        np.testing.assert_array_equal(run_c(command, codes, 10), run_numpy(fashion, codes))


# -- memory ------------------------------------------------------------------------------------------------


class TestMemory:
    @pytest.mark.parametrize("name", [name for name in SPACES.names() if name != "resnet50"])
    def test_constants_are_about_what_searches_count(self, name: str) -> None:
        """A byte more for each channel, its shift; what averages and sums over maps multiply with; tables."""
        program, counted = drawn(name, 0)
        made = sources(program)
        tables = sum(len(one.table) * 2 for one in program.instructions if isinstance(one, Table))
        assert counted * 0.99 < made.weights_bytes - tables < counted * 1.05

    @given(st.integers(2, 8), st.integers(1, 50), st.integers(0, 2**32 - 1))
    def test_codes_take_as_many_bits_as_they_have(self, bits: int, eights: int, seed: int) -> None:
        codes = (
            np.random.default_rng(seed).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 8 * eights).astype(np.int8)
        )
        assert len(packed(codes, bits)) == eights * bits

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(1, 500)), max_size=30))
    def test_what_is_needed_at_once_does_not_overlap(self, drawn_ones: list[tuple[int, int, int]]) -> None:
        regions = [Region(str(i), at, at + more, count) for i, (at, more, count) in enumerate(drawn_ones)]
        assert_apart(regions, planned(regions).places, planned(regions).size)

    @pytest.mark.parametrize("name", SPACES.names())
    def test_buffers_of_networks_are_near_what_they_need_at_least(self, name: str) -> None:
        layout = Layout(drawn(name, 0)[0])
        places = {region.name: layout.place(region.name) for region in layout.regions}
        assert_apart(layout.regions, places, layout.buffer_bytes)
        assert layout.buffer_bytes <= 1.1 * least(layout.regions)

    def test_the_command_tells_sizes(self, fashion: Program, command: Path) -> None:
        told = json.loads(subprocess.run([command, "--sizes"], capture_output=True, check=True).stdout)
        made = sources(fashion)
        assert told == {"weights_bytes": made.weights_bytes, "buffer_bytes": made.buffer_bytes}


def least(regions: list[Region]) -> int:
    """Bytes that are needed at one step, at most."""
    return max(sum(each.room for each in regions if each.first <= region.first <= each.last) for region in regions)


def assert_apart(regions: list[Region], places: dict[str, int], size: int) -> None:
    for one in regions:
        assert 0 <= places[one.name] <= size - one.count
        for other in regions:
            if one is not other and one.first <= other.last and other.first <= one.last:
                a, b = places[one.name], places[other.name]
                assert a + one.count <= b or b + other.count <= a


# -- the command -------------------------------------------------------------------------------------------


class TestCommand:
    def test_reads_a_file(self, in_c: InC, fashion: Program, command: Path, tmp_path: Path) -> None:
        codes = in_c.codes(fashion, 1)
        (tmp_path / "images").write_bytes(codes.tobytes())
        made = subprocess.run([command, tmp_path / "images"], capture_output=True, check=True).stdout
        np.testing.assert_array_equal(np.frombuffer(made, np.int32).reshape(-1, 10), run_numpy(fashion, codes))

    def test_times(self, command: Path) -> None:
        told = subprocess.run([command, "--time", "3"], capture_output=True, text=True, check=True).stdout
        assert 0 < float(told) < 1e6

    @pytest.mark.parametrize(
        ("arguments", "given_bytes", "told"),
        [
            ((), b"123", "standard input: ends within an image"),
            (("nowhere",), b"", "nowhere: can not be opened"),
            (("--time", "no"), b"", "no: is no number of images"),
            (("--time", "0"), b"", "0: is no number of images"),
            (("--more",), b"", "usage: network"),
        ],
    )
    def test_says_what_is_wrong(
        self, command: Path, arguments: tuple[str, ...], given_bytes: bytes, told: str
    ) -> None:
        done = subprocess.run([command, *arguments], input=given_bytes, capture_output=True, check=False)
        assert done.returncode == 1
        assert told in done.stderr.decode()

    def test_no_compiler_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        with pytest.raises(UnsupportedError, match="apt-get install gcc"):
            build.compiler()

    def test_what_a_compiler_refuses_is_told(self, fashion: Program, tmp_path: Path) -> None:
        broken = sources(fashion).files | {build.NETWORK: b"int main(void) { return nothing; }"}
        with pytest.raises(UnsupportedError, match="nothing"):
            built(broken, tmp_path)
