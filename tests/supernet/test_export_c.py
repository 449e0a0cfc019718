"""The export target ``c``: its files, what it says of them, and that only files as they were made are run."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.supernet.errors import CorruptFileError, MissingFileError, UnsupportedError
from bitfront.supernet.export.integer.c.build import built, run_c
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.export.targets import TARGETS, c
from bitfront.supernet.export.targets.base import ExportOptions
from bitfront.supernet.folded import Folded
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.quantization.policy import is_integer
from bitfront.supernet.spaces import SPACES

C = TARGETS.get("c")
SOURCES = ("c/network.c", "c/network.h", "c/main.c")
PROGRAM = "c/network.integer.safetensors"
NAMES = (*SOURCES, PROGRAM)


@pytest.fixture(scope="module")
def folded() -> Folded:
    rng = np.random.default_rng(4)
    formats = [each for each in FORMATS.names() if is_integer(each)]
    space = SPACES.get("digits")().restrict_formats(lambda op: {(w, a) for w in formats for a in formats})
    return random_folded(space.blocks(space.sample(1, rng)[0]), rng)


@pytest.fixture(scope="module")
def files(folded: Folded) -> dict[str, bytes]:
    return C.files(folded, ExportOptions())


@pytest.fixture(scope="module")
def images(folded: Folded) -> NDArray[np.float32]:
    shape = (5, folded.in_channels, folded.resolution, folded.resolution)
    return np.random.default_rng(0).normal(0.0, 1.5, shape).astype(np.float32)


needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


class TestFiles:
    def test_are_those_and_the_same_every_time(self, folded: Folded, files: dict[str, bytes]) -> None:
        assert set(files) == set(NAMES)
        assert C.main_file in files
        assert C.files(folded, ExportOptions()) == files

    def test_layers_in_real_numbers_are_named(self) -> None:
        space, rng = SPACES.get("digits")(), np.random.default_rng(0)
        genomes = space.assign(space.sample(1, rng), {"weight_format": "fp32"})
        real = random_folded(space.blocks(genomes[0]), rng)
        with pytest.raises(UnsupportedError, match=r"has no layers in real numbers.*stem"):
            C.files(real, ExportOptions())


class TestRun:
    @needs_gcc
    def test_computes_what_the_integer_target_does(
        self, folded: Folded, files: dict[str, bytes], images: NDArray[np.float32]
    ) -> None:
        integer = TARGETS.get("integer")
        expected = integer.logits(integer.files(folded, ExportOptions()), images)
        np.testing.assert_array_equal(C.logits(files, images), expected)

    @needs_gcc
    def test_no_image(self, files: dict[str, bytes], images: NDArray[np.float32]) -> None:
        assert C.logits(files, images[:0]).shape == (0, 10)

    @needs_gcc
    def test_says_the_sizes_that_the_command_says(
        self, folded: Folded, files: dict[str, bytes], tmp_path: Path
    ) -> None:
        command = built({name.removeprefix("c/"): files[name] for name in SOURCES}, tmp_path)
        told = json.loads(subprocess.run([command, "--sizes"], capture_output=True, check=True).stdout)
        described = C.described(folded, files)
        assert {name: described[name] for name in told} == told
        assert described["size_bytes"] == told["weights_bytes"]
        assert set(described["weight_containers"]) == {one.layer.name for one in folded.layers}
        assert json.loads(json.dumps(described)) == described
        assert max(described["sums"]["never_exceeded"].values()) <= described["sums"]["limit"] == 2**31 - 1

    def test_images_of_another_shape_are_refused(self, files: dict[str, bytes]) -> None:
        with pytest.raises(UnsupportedError, match="takes images of shape"):
            C.logits(files, np.zeros((2, 1, 3, 3), np.float32))

    def test_no_compiler_is_told(
        self, files: dict[str, bytes], images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        c._compiled.cache_clear()
        monkeypatch.setenv("PATH", "")
        with pytest.raises(UnsupportedError, match="apt-get install gcc"):
            C.logits(files, images)


class TestTemporaryFiles:
    @needs_gcc
    def test_a_command_that_was_tidied_up_is_compiled_again(
        self, files: dict[str, bytes], images: NDArray[np.float32]
    ) -> None:
        before = C.logits(files, images)
        c._compiled(files["c/network.integer.safetensors"]).command().unlink()
        np.testing.assert_array_equal(C.logits(files, images), before)

    def test_no_folder_for_them_is_told(
        self, files: dict[str, bytes], images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        c._compiled.cache_clear()

        def refuse(prefix: str) -> str:
            raise FileNotFoundError("no usable temporary directory")

        monkeypatch.setattr("tempfile.mkdtemp", refuse)
        with pytest.raises(UnsupportedError, match="set TMPDIR"):
            C.logits(files, images)

    def test_a_command_that_may_not_be_run_is_told(self, tmp_path: Path) -> None:
        command = tmp_path / "network"
        command.write_text("not to be run")
        with pytest.raises(UnsupportedError, match="set TMPDIR to a folder with room whose files may be run"):
            run_c(command, np.zeros((1, 1, 1, 1), np.uint8), 10)

    def test_what_ends_by_a_signal_is_told(self, tmp_path: Path) -> None:
        command = tmp_path / "network"
        command.write_text("#!/bin/sh\nkill -9 $$\n")
        command.chmod(0o755)
        with pytest.raises(UnsupportedError, match="failed: signal 9"):
            run_c(command, np.zeros((1, 1, 1, 1), np.uint8), 10)


class TestChangedFiles:
    @pytest.mark.parametrize("name", NAMES)
    def test_one_that_is_missing_is_named(
        self, name: str, files: dict[str, bytes], images: NDArray[np.float32]
    ) -> None:
        less = {each: content for each, content in files.items() if each != name}
        with pytest.raises(MissingFileError, match=name):
            C.logits(less, images)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("change", ["cut", "byte", "more", "empty"])
    def test_any_change_is_refused(
        self, name: str, change: str, files: dict[str, bytes], images: NDArray[np.float32]
    ) -> None:
        whole = files[name]
        middle = len(whole) // 2
        other = {
            "cut": whole[:-1],
            "byte": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "more": whole + b"\n",
            "empty": b"",
        }[change]
        with pytest.raises(CorruptFileError, match=f"{name}.*(?i:export it again)"):
            C.logits({**files, name: other}, images)

    @needs_gcc
    def test_files_of_another_network_are_not_run(
        self, folded: Folded, files: dict[str, bytes], images: NDArray[np.float32]
    ) -> None:
        first = folded.layers[0]
        other = C.files(
            replace(folded, layers=(replace(first, bias=first.bias + 1), *folded.layers[1:])), ExportOptions()
        )
        for name in NAMES:
            if other[name] != files[name]:
                with pytest.raises(CorruptFileError, match="export it again"):
                    C.logits({**files, name: other[name]}, images)
