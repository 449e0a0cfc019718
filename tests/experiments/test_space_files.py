"""A user's own space in one file: read once, kept as a document, the same in specs, commands and workers."""

from __future__ import annotations

import copy
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bitfront.experiments.reporter import Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.space_files import is_space_file, read_space_file, settings_of, space_of
from bitfront.experiments.spec import SpecError, load_spec, parse_spec, spec_from
from bitfront.experiments.stages.measuring import Shared, make_worker
from bitfront.experiments.store.home import open_store
from bitfront.supernet.data.digits import digits as digits_data
from bitfront.supernet.errors import InvalidSpaceError, MissingFileError, UnsupportedError
from bitfront.supernet.evaluation import Measured
from bitfront.supernet.misfit import refuse_misfit
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.documents import document_of
from bitfront.supernet.spaces.settings import SpaceSettings, load_space

DOCS = Path(__file__).parents[2] / "docs" / "spaces.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


MBCONV, BOTTLENECK = (text for text in blocks("yaml") if "family" in text)
(PYTHON,) = blocks("python")
SPEC = "space: {space}\ndata: digits\ndevice: bitfusion\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the documented files lie, and a spec that names one; commands look from another folder."""
    monkeypatch.setenv("BITFRONT_HOME", str(tmp_path / "home"))
    (tmp_path / "specs").mkdir()
    for name, text in (("my_space.yaml", MBCONV), ("my_resnet.yaml", BOTTLENECK), ("my_space.py", PYTHON)):
        (tmp_path / "specs" / name).write_text(text, encoding="utf-8")
    return tmp_path / "specs"


def spec_file(folder: Path, space: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(SPEC.format(space=space), encoding="utf-8")
    return path


class TestDocumentedFiles:
    @pytest.mark.parametrize("name", ["my_space.yaml", "my_resnet.yaml", "my_space.py"])
    def test_they_make_spaces_that_train_and_run(self, folder: Path, name: str) -> None:
        section = read_space_file(name, folder, {"classes": 10, "in_channels": 1})
        space = load_space(SpaceSettings(section["name"], section["options"], section["content"]))
        supernet = Supernet(space)
        import torch

        for genome in (*space.sample(3, np.random.default_rng(0)), *space.extremes()):
            size = int(space.decode(genome)["resolution"])
            assert supernet(torch.zeros(2, 1, size, size), space.blocks(genome)).shape == (2, 10)

    def test_the_document_says_what_it_shows(self, folder: Path) -> None:
        space = load_space(settings_of(str(folder / "my_space.yaml"), {}))
        assert space.name == "my_space"
        largest = space.blocks(space.extremes()[1])
        assert [layer.out_channels for layer in largest[-1].layers] == [320, 256, 1000]
        assert [len(block.layers) for block in largest[1:-1]] == [3, 3, 5, 5, 5]
        assert space.genes[space.position["stage0.block0.width"]].choices == (32, 64)

    def test_every_field_is_shown(self) -> None:
        from dataclasses import fields

        from bitfront.supernet.spaces.bottleneck import BottleneckConfig, BottleneckStage
        from bitfront.supernet.spaces.mbconv import MBConvConfig, StageConfig

        text = DOCS.read_text(encoding="utf-8")
        for kind in (MBConvConfig, StageConfig, BottleneckConfig, BottleneckStage):
            for field in fields(kind):
                assert field.name in text, f"{kind.__name__}.{field.name}"

    def test_every_space_is_listed(self) -> None:
        text = DOCS.read_text(encoding="utf-8")
        assert [name for name in SPACES.names() if f"`{name}`" not in text] == []

    def test_spec_examples_are_valid(self) -> None:
        examples = [text for text in blocks("yaml") if text.startswith("space:")]
        for text in examples:
            assert parse_spec(text + "data: digits\ndevice: bitfusion\n").space.name == "mobilenet_v3"


class TestReading:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [("a.yaml", True), ("b/a.YML", True), ("a.py", True), ("a.py:make", True), ("digits", False), (3, False)],
    )
    def test_what_is_a_file(self, name: object, expected: bool) -> None:
        assert is_space_file(name) is expected

    def test_it_keeps_content_hash_and_path(self, folder: Path) -> None:
        section = read_space_file("my_space.yaml", folder, {})
        raw = (folder / "my_space.yaml").read_bytes()
        assert section["sha256"] == hashlib.sha256(raw).hexdigest()
        assert section["file"] == str(folder / "my_space.yaml")
        assert section["content"] == yaml.safe_load(raw)

    def test_a_missing_file_is_named(self, folder: Path) -> None:
        with pytest.raises(MissingFileError, match=r"other\.yaml can not be read: No such file"):
            read_space_file("other.yaml", folder, {})

    def test_a_document_that_makes_no_space_is_named(self, folder: Path) -> None:
        (folder / "my_space.yaml").write_text(MBCONV.replace("depths: [1, 2]", "depths: [2, 1]"))
        with pytest.raises(InvalidSpaceError, match=r"my_space\.yaml has 1 problem\n.*stages\[0\]\.depths"):
            read_space_file("my_space.yaml", folder, {})

    def test_broken_yaml_is_named(self, folder: Path) -> None:
        (folder / "my_space.yaml").write_text("family: [")
        with pytest.raises(SpecError, match=r"my_space\.yaml has 1 problem\n  line"):
            read_space_file("my_space.yaml", folder, {})

    def test_a_builtin_name_is_refused(self, folder: Path) -> None:
        (folder / "digits.yaml").write_text(MBCONV)
        with pytest.raises(InvalidSpaceError, match="'digits': is a space that comes with bitfront"):
            read_space_file("digits.yaml", folder, {})
        (folder / "digits.yaml").write_text("name: other\n" + MBCONV)
        assert read_space_file("digits.yaml", folder, {})["name"] == "other"
        (folder / "my_space.py").write_text(PYTHON.replace("powers_of_two", "digits"))
        with pytest.raises(InvalidSpaceError, match="comes with bitfront"):
            read_space_file("my_space.py", folder, {})


class TestPython:
    def test_its_function_takes_the_options(self, folder: Path) -> None:
        path = str(folder / "my_space.py")
        small, large = (load_space(settings_of(path, {"channels": n, "classes": 7})) for n in (8, 32))
        assert small.name == large.name == "powers_of_two"
        assert (
            small.layers(small.extremes()[0])[0].out_channels,
            small.layers(large.extremes()[0])[-1].out_channels,
        ) == (
            8,
            7,
        )
        assert large.layers(large.extremes()[0])[0].out_channels == 32
        assert space_of(path).layers(large.extremes()[0])[-1].out_channels == 10

    def test_another_function_can_be_named(self, folder: Path) -> None:
        (folder / "my_space.py").write_text(PYTHON.replace("def space(", "def other("))
        assert read_space_file("my_space.py:other", folder, {})["name"] == "powers_of_two"
        with pytest.raises(InvalidSpaceError, match="space: there is no such function"):
            read_space_file("my_space.py", folder, {})

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("def space(:", "line 1: SyntaxError"),
            ("x = 1\ny = 1 / 0", "line 2: ZeroDivisionError"),
            ("def space():\n    return [][0]", r"line 2: space\(\) raised IndexError"),
            ("def space(channels):\n    return 1", r"space\(\) raised TypeError: .*channels"),
            ("def space():\n    return 1", r"space\(\) = 1: must be a SearchSpace"),
            ("import my_neighbour", "line 1: ModuleNotFoundError: .*one file, and none beside it is imported"),
            ("def space():\n    import my_neighbour", r"line 2: space\(\) raised ModuleNotFoundError: .*one file"),
            ("space = 3", "space: there is no such function"),
        ],
    )
    def test_what_fails_is_named(self, folder: Path, code: str, words: str) -> None:
        (folder / "my_space.py").write_text(code)
        with pytest.raises(InvalidSpaceError, match=words) as raised:
            read_space_file("my_space.py", folder, {})
        assert "my_space.py has 1 problem" in str(raised.value)

    def test_a_file_is_compiled_for_itself_and_a_broken_one_leaves_nothing(self, folder: Path) -> None:
        """Nothing of how this package is compiled reaches the file: annotations are values there."""
        before = set(sys.modules)
        (folder / "my_space.py").write_text("def made() -> 3: ...\nassert made.__annotations__['return'] == '3'\n")
        with pytest.raises(InvalidSpaceError, match="line 2: AssertionError"):
            read_space_file("my_space.py", folder, {})
        assert {name for name in set(sys.modules) - before if name.startswith("bitfront_space_")} == set()

    def test_a_restriction_of_a_function_is_kept(self, folder: Path) -> None:
        code = PYTHON.replace(
            'MBConvSpace("powers_of_two", frame)', 'MBConvSpace("p", frame).restrict({"stage0.depth": [2]})'
        )
        (folder / "my_space.py").write_text(code)
        section = read_space_file("my_space.py", folder, {"classes": 4})
        again = load_space(SpaceSettings(section["name"], section["options"], section["content"]))
        assert again.allowed_choices("stage0.depth") == (2,)


class TestSpec:
    @pytest.mark.parametrize("name", ["my_space.yaml", "my_space.py"])
    def test_a_stored_spec_needs_no_file(self, folder: Path, name: str) -> None:
        spec = load_spec(spec_file(folder, name))
        stored = spec.as_json()
        (folder / name).unlink()
        again = spec_from(stored)
        assert again == spec
        assert again.as_json() == stored
        assert load_space(again.space.settings()).hash() == load_space(spec.space.settings()).hash()
        assert stored["name"] == "my_space"

    def test_a_spec_that_is_no_file_names_none(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What comes over a network must neither read files here nor run them."""
        monkeypatch.chdir(folder)
        for name in ("my_space.yaml", "my_space.py"):
            with pytest.raises(SpecError, match=r"space = .*names a file, but this spec is none"):
                spec_from({"space": name, "data": "digits", "device": "bitfusion"})

    def test_an_inline_document_will_do(self) -> None:
        content = yaml.safe_load(MBCONV)
        spec = spec_from({"space": {"name": "mine", "content": content}, "data": "digits", "device": "bitfusion"})
        assert load_space(spec.space.settings()).name == "mine"
        with pytest.raises(SpecError, match="'digits' is a space that comes with bitfront"):
            spec_from({"space": {"name": "digits", "content": content}, "data": "digits", "device": "bitfusion"})

    def test_all_problems_of_an_inline_document_are_told(self) -> None:
        content = {**yaml.safe_load(MBCONV), "stem_stride": 0, "head_channels": "many"}
        with pytest.raises(SpecError, match=r"(?s)stem_stride = 0: .*head_channels = 'many': must be a whole"):
            spec_from({"space": {"name": "mine", "content": content}, "data": "digits", "device": "bitfusion"})

    def test_options_that_do_not_exist_are_named(self) -> None:
        with pytest.raises(SpecError, match="unknown option of space 'digits' 'classe': did you mean 'classes'"):
            parse_spec(SPEC.format(space="{name: digits, options: {classe: 3}}"))
        with pytest.raises(SpecError, match="classes = 0: must be greater than 0: give a positive number"):
            parse_spec(SPEC.format(space="{name: digits, options: {classes: 0}}"))

    def test_a_name_that_is_neither(self) -> None:
        with pytest.raises(
            SpecError, match=r"there is no such space: did you mean 'digits'.*ends in \.yaml or \.py"
        ):
            parse_spec(SPEC.format(space="digit"))

    def test_a_mere_name_is_stored_as_it_was(self) -> None:
        assert parse_spec(SPEC.format(space="digits")).as_json()["space"] == "digits"

    def test_fixed_genes_of_ones_own_space_are_checked(self, folder: Path) -> None:
        path = spec_file(folder, "my_space.yaml")
        path.write_text(path.read_text() + "fixed: {stage0.block0.width: 48}\n")
        with pytest.raises(SpecError, match=r"48 is no choice .*choose from \[32, 64\]"):
            load_spec(path)


class TestFit:
    def test_a_run_builds_what_fits_and_refuses_what_does_not(self, folder: Path) -> None:
        with open_store(folder / "home") as store:

            def run(space: str) -> Run:
                spec = parse_spec(SPEC.format(space=space), folder=folder)
                experiment = store.create_experiment(spec.name, spec.as_json(), 0)
                store.claim(experiment.id)
                return Run(store, folder / "home", experiment.id, spec, Reporters())

            layers = run("mobilenet_v3_cifar").space().largest_blocks[0].layers
            assert layers[0].in_channels == 1
            with pytest.raises(UnsupportedError, match="is for 3 channels"):
                run("{name: mobilenet_v3_cifar, options: {in_channels: 3}}").space()

    @pytest.mark.parametrize("name", ["my_space.yaml", "my_resnet.yaml", "my_space.py", "mobilenet_v3_cifar"])
    def test_classes_and_channels_are_the_data_sets(self, folder: Path, name: str) -> None:
        settings = parse_spec(SPEC.format(space=name), folder=folder).space.fitted(digits_data()).settings()
        layers = load_space(settings).largest_blocks
        assert (layers[0].layers[0].in_channels, layers[-1].layers[-1].out_channels) == (1, 10)

    def test_what_is_given_is_not_replaced(self) -> None:
        spec = parse_spec(SPEC.format(space="{name: digits, options: {classes: 7}}"))
        with pytest.raises(
            UnsupportedError, match=r"'digits' is for 7 classes, but data set 'digits' has 10: set"
        ):
            refuse_misfit(load_space(spec.space.fitted(digits_data()).settings()), digits_data())

    def test_what_a_document_fixes_is_not_replaced(self, folder: Path) -> None:
        (folder / "my_space.yaml").write_text("in_channels: 3\n" + MBCONV)
        spec = parse_spec(SPEC.format(space="my_space.yaml"), folder=folder)
        with pytest.raises(
            UnsupportedError, match=r"is for 3 channels, but .* has 1: set space.options.in_channels"
        ):
            refuse_misfit(load_space(spec.space.fitted(digits_data()).settings()), digits_data())

    def test_usual_ends_are_not_written_down(self) -> None:
        spec = parse_spec(SPEC.format(space="digits"))
        assert spec.fitted() == spec
        other = parse_spec(SPEC.format(space="mobilenet_v3_cifar")).fitted()
        assert other.as_json()["space"] == {"name": "mobilenet_v3_cifar", "options": {"in_channels": 1}}
        assert other.fitted() == other


def test_workers_get_the_content(folder: Path) -> None:
    """A worker has no such file: it builds the space of what it was sent."""
    spec = parse_spec(SPEC.format(space="my_space.py"), folder=folder)
    settings = spec.space.fitted(digits_data()).settings()
    (folder / "my_space.py").unlink()
    space = load_space(settings)
    weights = {name: tensor.numpy() for name, tensor in Supernet(space).state_dict().items()}
    shared = copy.deepcopy(Shared(settings, "digits", weights, 32))
    worker = make_worker(shared)
    genome = space.extremes()[0]
    item: Any = type("Item", (), {"genome": genome.tobytes(), "split": "validation"})()
    (measured,) = worker((item,))
    assert isinstance(measured, Measured)
    assert 0 <= measured.top1 <= 1


def test_a_function_may_use_what_its_file_defines(folder: Path) -> None:
    code = PYTHON.replace(
        "def space",
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Base:\n    n: int = 4\n\n\ndef space",
    )
    (folder / "my_space.py").write_text(
        "from __future__ import annotations\n" + code.replace("channels * 2**s, 2,", "Base().n * 2**s, 2,")
    )
    content = read_space_file("my_space.py", folder, {})["content"]
    assert [stage["out_channels"] for stage in content["stages"]] == [4, 8, 16]
    assert document_of(space_of(str(folder / "my_space.py")))["stages"] == content["stages"]
