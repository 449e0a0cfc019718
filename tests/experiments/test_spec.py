"""Specs: what is accepted, what is refused and in which words, and the commented template."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from bitfront.experiments.spec import Spec, SpecError, load_spec, parse_spec, spec_from
from bitfront.experiments.spec_sections import DeviceSection
from bitfront.experiments.spec_template import template
from bitfront.search.constraints import Constraint
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.training import TrainingSettings

MINIMAL: dict[str, Any] = {"space": "digits", "data": "digits", "device": "bitfusion"}


def changed(path: str, value: object) -> dict[str, Any]:
    """The minimal spec with one more value, at a path such as ``search.population``."""
    result: dict[str, Any] = json.loads(json.dumps(MINIMAL))
    *sections, last = path.split("/")
    inner = result
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[last] = value
    return result


def problems(data: Any) -> dict[str, str]:
    """Path to what is said about it."""
    with pytest.raises(SpecError) as caught:
        spec_from(data, "spec.yaml")
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value)
        assert problem.rule
        assert problem.fix
        assert "\n" not in str(problem)
    return {problem.path: str(problem) for problem in caught.value.problems}


class TestAccepted:
    def test_minimal(self) -> None:
        spec = parse_spec("space: digits\ndata: digits\ndevice: host-onnxruntime\n")
        assert (spec.name, spec.seed, list(spec.named_devices)) == ("digits", 0, ["host-onnxruntime"])
        assert spec.objectives == ("top1", "latency_ms", "size_bytes")
        assert (spec.constraints, spec.fixed) == ((), {})

    def test_everything_comes_back_from_json(self) -> None:
        text = """
            name: My try
            seed: 4294967295
            space: digits
            data: digits
            device: {name: host-onnxruntime, options: {threads: 2, batch: 4}}
            objectives: [top1, latency_ms, macs]
            constraints: [ latency_ms<=2e0 , "top1 >= 0.9"]
            fixed: {"stage?.depth": [1, 2], head.weight_format: int8, "*.kernel": 3}
            supernet: {learning_rate: 1e-3, augment: false, epochs_are_whole: 1}
            predictor: {kind: svr, options: {penalty: 3, transfer: pooled}, tune: 30}
            search: {strategy: random, population: 7, options: {uniform_over: points}}
            executor: {kind: ray, workers: 3, address: "auto"}
            export: {pick: knee}
        """.replace(", epochs_are_whole: 1", "")
        spec = parse_spec(text)
        assert spec.device is not None
        assert spec.device.options == {"threads": 2, "batch": 4}
        assert spec.constraints == ("latency_ms <= 2", "top1 >= 0.9")
        assert spec.parsed_constraints()[0] == Constraint("latency_ms", "<=", 2.0)
        assert spec.fixed == {"stage?.depth": (1, 2), "head.weight_format": ("int8",), "*.kernel": (3,)}
        assert spec.supernet.learning_rate == 0.001
        assert (spec.predictor.kind, spec.predictor.tune) == ("svr", 30)
        assert spec.predictor.options == {"penalty": 3, "transfer": "pooled"}
        again = spec_from(json.loads(json.dumps(spec.as_json())))
        assert again == spec
        assert again.hash() == spec.hash()

    @pytest.mark.parametrize(
        ("limits", "generations"),
        [
            ({}, 100),
            ({"seconds": 60}, None),
            ({"stalled": 5}, None),
            ({"evaluations": 500}, None),
            ({"seconds": 1.5, "stalled": 5, "generations": 20}, 20),
            ({"seconds": None, "stalled": None}, 100),
        ],
    )
    def test_generations_are_no_limit_where_another_one_is_given(
        self, limits: dict[str, Any], generations: int | None
    ) -> None:
        search = spec_from(changed("search", limits)).search
        assert search.generations == generations
        for name, limit in limits.items():
            assert getattr(search, name) == limit
        assert spec_from(spec_from(changed("search", limits)).as_json()).search == search

    def test_islands(self) -> None:
        four = spec_from(changed("search/islands", 4)).search.islands
        assert (four.number, len(four.all()), four.wanted) == (4, 4, True)
        assert not spec_from(MINIMAL).search.islands.wanted
        assert spec_from(changed("search/islands", {"count": 1, "each": [{}, {}]})).search.islands.number == 2
        each = [{"strategy": "random"}, {"constraints": ["size_bytes<=1e4"], "fixed": {"*.kernel": 3}}]
        spec = spec_from(changed("search/islands", {"each": each}))
        assert [one.strategy for one in spec.search.islands.all()] == ["random", None]
        assert spec.search.islands.all()[1].constraints == ("size_bytes <= 10000",)
        assert spec_from(changed("search/islands", {"count": 3, "each": each})).search.islands.number == 3
        assert spec_from(json.loads(json.dumps(spec.as_json()))) == spec

    def test_islands_ask_for_accuracy_where_the_experiment_does(self) -> None:
        given = changed("search/islands", {"each": [{"constraints": ["top1 >= 0.9"]}, {"objectives": ["top1"]}]})
        spec_from(given)
        spec_from({**given, "objectives": ["latency_ms", "size_bytes"], "constraints": ["top1 >= 0.5"]})
        with pytest.raises(SpecError) as error:
            spec_from({**given, "objectives": ["latency_ms", "size_bytes"]})
        places = [problem.path for problem in error.value.problems]
        assert places == ["search.islands.each[0].constraints[0]", "search.islands.each[1].objectives[0]"]
        assert "the experiment itself does not ask for top1" in str(error.value)

    def test_whole_numbers_may_stand_for_real_ones(self) -> None:
        assert spec_from(changed("supernet/weight_decay", 0)).supernet.weight_decay == 0

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text(
            "space: digits\ndata: digits\ndevice: bitfusion\nname: Ünïcode\n", "utf-8"
        )
        assert load_spec(tmp_path / "a.yaml").name == "Ünïcode"

    def test_it_can_not_be_changed(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            setattr(spec_from(MINIMAL), "seed", 1)  # noqa: B010

    def test_schema_for_forms(self) -> None:
        schema = json.loads(json.dumps(Spec.model_json_schema()))
        assert schema["required"] == ["space", "data"]
        assert schema["oneOf"] == [{"required": ["device"]}, {"required": ["devices"]}]
        assert schema["additionalProperties"] is False


class TestHashes:
    def test_order_of_fields_and_defaults_do_not_matter(self) -> None:
        other = dict(reversed(changed("search/population", 100).items()))
        assert spec_from(other).hash() == spec_from(MINIMAL).hash()

    @pytest.mark.parametrize(
        ("path", "value", "shared"),
        [
            ("seed", 1, False),
            ("supernet/elastic_epochs", 3, False),
            ("supernet/calibration_images", 64, False),
            ("name", "other", True),
            ("device", "host-onnxruntime", True),
            ("search/population", 7, True),
            ("fixed", {"*.kernel": 3}, True),
            ("samples/fp32", 50, True),
        ],
    )
    def test_what_decides_the_supernet(self, path: str, value: object, shared: bool) -> None:
        first, second = spec_from(MINIMAL), spec_from(changed(path, value))
        assert (first.supernet_hash("s", "d") == second.supernet_hash("s", "d")) is shared
        assert first.hash() != second.hash()

    def test_space_and_data_decide_too(self) -> None:
        spec = spec_from(MINIMAL)
        assert (
            len({spec.supernet_hash(*hashes) for hashes in (("s", "d"), ("t", "d"), ("s", "e"), ("d", "s"))}) == 4
        )


class TestRefused:
    @pytest.mark.parametrize(
        ("path", "value", "words"),
        [
            ("sead", 1, "did you mean 'seed'"),
            ("zzz", 1, "there is no such field"),
            ("search/populaton", 5, "did you mean 'population'"),
            ("device", {"name": "bitfusion", "option": {}}, "did you mean 'options'"),
            ("space", "digit", "did you mean 'digits'"),
            ("data", "digitz", "did you mean 'digits'"),
            ("device", "bitfussion", "did you mean 'bitfusion'"),
            ("search/strategy", "nsga-2", "did you mean 'nsga2'"),
            ("executor/kind", "Ray", "did you mean 'ray'"),
            ("export/pick", "bset", "did you mean 'best'"),
            ("export/format", "onxn", "did you mean 'onnx'"),
            ("seed", -1, "must be at least 0"),
            ("seed", 2**32, "must be at most 4294967295"),
            ("seed", "0", "must be a whole number"),
            ("seed", 1.0, "must be a whole number"),
            ("seed", True, "must be a whole number"),
            ("seed", None, "must be a whole number"),
            ("name", "", "must not be empty"),
            ("name", "x" * 101, "at most 100"),
            ("name", 7, "must be text"),
            ("name", "two\nlines", "must be one line"),
            ("search", 7, "must be a mapping"),
            ("search", [1], "must be a mapping"),
            ("device", 7, "must be a mapping"),
            ("objectives", "top1", "must be a list"),
            ("objectives", [], "must not be empty"),
            ("fixed", [], "must be a mapping"),
            ("search/population", 1, "must be at least 2"),
            ("front/measure", 0, "must be at least 1"),
            ("executor/workers", 0, "must be at least 1"),
            ("executor/patience_s", -1, "must be at least 0"),
            ("executor/address", "", "must not be empty"),
            ("supernet/learning_rate", 0.0, "must be above 0"),
            ("supernet/learning_rate", float("nan"), "must be a finite number"),
            ("supernet/learning_rate", "1e-3", "must be a number"),
            ("supernet/label_smoothing", 1.0, "must be below 1"),
            ("supernet/augment", "yes", "must be true or false"),
            ("supernet/augment", 1, "must be true or false"),
            ("search/options", {"mutations": [1]}, "is no value of an option"),
            ("search/seconds", 0, "must be above 0"),
            ("search/seconds", float("inf"), "must be a finite number"),
            ("search/seconds", "60", "must be a number"),
            ("search/stalled", 0, "must be at least 1"),
            ("search/stalled", 2.5, "must be a whole number"),
            ("search/evaluations", 0, "must be at least 1"),
            ("search/generations", 0, "must be at least 1"),
            ("search", {"generations": None}, "a search needs a limit"),
            ("search/archive", "csv", "must be one of none, parquet"),
            ("search/islands", 0, "must be at least 1"),
            ("search/islands", True, "must be a mapping"),
            ("search/islands", [{}], "must be a mapping"),
            ("search/islands/every", 0, "must be at least 1"),
            ("search/islands/migrants", -1, "must be at least 0"),
            ("search/islands/topology", "star", "must be one of ring, random"),
            ("search/islands/count", 1001, "must be at most 1000"),
            ("search/islands/each", {"strategy": "random"}, "must be a list"),
            ("search/islands/each", [{}, {"strategyy": "random"}], "did you mean 'strategy'"),
            ("search/islands/each", [{"constraints": ["latncy_ms <= 2"]}], "did you mean 'latency_ms'"),
            ("search/islands/each", [{"objectives": []}], "must not be empty"),
            ("search/islands/each", [{"objectives": ["macs", "macs"]}], "'macs' is given twice"),
            ("search", {"islands": 2, "accuracy": "measured"}, "can not search by measured accuracy"),
            ("search", {"islands": {"each": [{}]}, "accuracy": "measured"}, "can not search by measured accuracy"),
            ("search", {"islands": 4, "evaluations": 3}, "no share for each of 4 islands"),
            ("predictor/kind", "rigde", "did you mean 'ridge'"),
            ("predictor/options", {"epochs": [1]}, "is no value of an option"),
            ("predictor/tune", -1, "must be at least 0"),
            ("predictor/tune", 20_000, "must be at most 10000"),
            ("predictor/tune", True, "must be a whole number"),
            ("fixed", {"*.kernel": []}, "must not be empty"),
            ("fixed", {"*.kernel": 3.0}, "3.0 is no choice"),
            ("fixed", {"*.kernel": [True]}, "True is no choice"),
        ],
    )
    def test_one_wrong_value(self, path: str, value: object, words: str) -> None:
        found = problems(changed(path, value))
        assert len(found) == 1
        ((place, text),) = found.items()
        assert place.startswith(path.replace("/", "."))
        assert words in text

    def test_an_island_without_a_choice_of_a_gene(self) -> None:
        spec = changed("search/islands/each", [{}, {"fixed": {"stage0.*.kernel": [3]}}])
        found = problems(spec | {"fixed": {"stage0.block1.kernel": 5}})
        assert list(found) == ["search.islands.each[1].fixed.stage0.block1.kernel"]
        assert "beside what the experiment has fixed: choose from [5]" in str(found)

    @pytest.mark.parametrize("missing", ["space", "data", "device"])
    def test_missing(self, missing: str) -> None:
        found = problems({name: value for name, value in MINIMAL.items() if name != missing})
        assert list(found) == [missing]
        assert "is missing" in found[missing]

    def test_lists_name_the_position(self) -> None:
        wrong = changed("objectives", ["top1", "latency"]) | {
            "constraints": ["top1 >= 0.5", "latncy_ms <= 2", "x"]
        }
        found = problems(wrong | {"seed": [1]})
        assert list(found) == ["seed", "objectives[1]", "constraints[1]", "constraints[2]"]
        assert "did you mean 'latency_ms'" in found["objectives[1]"]
        assert "did you mean 'latency_ms'" in found["constraints[1]"]
        assert "METRIC <= NUMBER" in found["constraints[2]"]

    def test_objective_twice(self) -> None:
        assert "'top1' is given twice" in problems(changed("objectives", ["top1", "macs", "top1"]))["objectives"]

    def test_long_values_are_cut(self) -> None:
        assert len(problems(changed("seed", "x" * 5000))["seed"]) < 200

    @pytest.mark.parametrize(
        ("path", "value", "place", "words"),
        [
            (
                "device",
                {"name": "bitfusion", "options": {"bach": 1}},
                "device.options.bach",
                "did you mean 'batch'",
            ),
            (
                "search/options",
                {"crossver_rate": 1},
                "search.options.crossver_rate",
                "did you mean 'crossover_rate'",
            ),
            ("search/options", {"population": 5}, "search.options.population", "no such option"),
            ("search/options", {"problem": 5}, "search.options.problem", "no such option"),
            (
                "search/islands/each",
                [{}, {"options": {"crossver_rate": 1}}],
                "search.islands.each[1].options.crossver_rate",
                "did you mean 'crossover_rate'",
            ),
            (
                "search/islands/each",
                [{"strategy": "random", "options": {"mutations": 1}}],
                "search.islands.each[0].options.mutations",
                "random has no such option",
            ),
            (
                "search/islands/each",
                [{"fixed": {"*.kernel": [3, 4]}}],
                "search.islands.each[0].fixed.*.kernel",
                "4 is no choice",
            ),
            (
                "predictor",
                {"kind": "ridge", "options": {"alhpa": 1.0}},
                "predictor.options.alhpa",
                "did you mean 'alpha'",
            ),
            (
                "predictor",
                {"kind": "ridge", "options": {"alpha": 0}},
                "predictor.options.alpha",
                "it must be from",
            ),
            ("predictor/options", {"epochs": "many"}, "predictor.options.epochs", "kind of its default, 40"),
            ("fixed", {"stage0.detph": 1}, "fixed.stage0.detph", "did you mean 'stage0.depth'"),
            ("fixed", {"*.kernel": [3, 4]}, "fixed.*.kernel", "4 is no choice"),
            ("fixed", {"*.kernel": 3, "stage0.*.kernel": 5}, "fixed.stage0.*.kernel", "leaves no choice of gene"),
        ],
    )
    def test_what_does_not_fit_together(self, path: str, value: object, place: str, words: str) -> None:
        found = problems(changed(path, value))
        assert words in found[place]

    def test_metrics_that_the_device_does_not_give(self) -> None:
        wrong = MINIMAL | {"device": "host-onnxruntime", "objectives": ["top1", "energy_mj"]}
        found = problems(wrong | {"constraints": ["macs <= 5", "energy_mj <= 1"]})
        assert list(found) == ["objectives[1]", "constraints[1]"]
        assert "host-onnxruntime gives no energy_mj" in found["objectives[1]"]
        spec_from(wrong | {"device": "bitfusion"})

    def test_options_that_the_device_refuses(self) -> None:
        found = problems(changed("device", {"name": "bitfusion", "options": {"batch": 0}}))
        assert "batch" in found["device"]

    @settings(max_examples=150, deadline=None)
    @given(
        path=st.sampled_from([*Spec.model_fields, *(f"search/{name}" for name in Spec.model_fields)]),
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner)
            ),
            max_leaves=6,
        ),
    )
    def test_anything_is_accepted_or_refused_clearly(self, path: str, value: object) -> None:
        try:
            spec = spec_from(changed("seed", 0) | changed(path, value))
        except SpecError:
            return
        assert spec_from(json.loads(json.dumps(spec.as_json()))) == spec


class TestFixed:
    def test_patterns_and_names_are_combined(self) -> None:
        space = SPACES.get("digits")()
        spec = spec_from(changed("fixed", {"*.kernel": [3, 5], "stage0.block0.kernel": [5, 7]}))
        allowed = spec.fixed_choices(space)
        kernels = [gene.name for gene in space.genes if gene.kind == "kernel"]
        assert allowed == {name: (5,) if name == "stage0.block0.kernel" else (3, 5) for name in kernels}
        assert space.restrict(allowed).size() < space.size()

    def test_another_space_is_checked_again(self) -> None:
        other = SimpleNamespace(name="other", genes=(), position={})
        spec = spec_from(changed("fixed", {"*.kernel": 3}))
        with pytest.raises(SpecError, match="unknown gene of space 'other'"):
            spec.fixed_choices(cast(SearchSpace, other))


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("space: [digits\ndata: digits\n", "line 2, column 5"),
            ("space: digits\n  data: digits\n", "line 2, column 7"),
            ("space: digits\nspace: digits\n", "line 2, column 1: 'space' is given twice"),
            ("search:\n  population: 1\n  population: 2\n", "line 3, column 3: 'population' is given twice"),
            ("space: &a digits\ndata: *a\n", "line 2, column 7: references"),
            ("space: !!python/object:os.system x\n", "line 1, column 8"),
            ("? [a]\n: 1\n", "line 1, column 3"),
            ("- space\n", "must be a mapping, not a list"),
            ("digits", "must be a mapping, not a str"),
            ("a: 1\n---\nb: 2\n", "line 2, column 1"),
            ("seed: 2024-99-99\n", "month"),
            ("a: \x07", "unacceptable character"),
            ("[" * 1500, "nested too deeply"),
            ("", "space: is missing"),
            ("1: 2\n", "put the name in quotes"),
        ],
    )
    def test_refused(self, text: str, words: str) -> None:
        with pytest.raises(SpecError, match=r"my\.yaml has") as caught:
            parse_spec(text, "my.yaml")
        assert words in str(caught.value)

    @pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", "0.001", "1.e-3", "+1e-3"])
    def test_numbers_as_people_write_them(self, text: str) -> None:
        spec = parse_spec(f"space: digits\ndata: digits\ndevice: bitfusion\nsupernet: {{learning_rate: {text}}}\n")
        assert spec.supernet.learning_rate == 0.001

    def test_files(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match="bitfront init"):
            load_spec(tmp_path / "none.yaml")
        with pytest.raises(SpecError, match="can not be read"):
            load_spec(tmp_path)
        (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(SpecError, match="UTF-8"):
            load_spec(tmp_path / "binary.yaml")


def every_field(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    """(path, description) of each field and section."""
    for name, field in model.model_fields.items():
        if not field.repr:  # filled in when a spec is read
            continue
        inner = field.annotation
        if inner == DeviceSection | None:
            inner = DeviceSection
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield f"{path}{name}", inner.__doc__ or ""
            yield from every_field(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", field.description or ""


class TestTemplate:
    def test_it_is_the_defaults(self) -> None:
        minimal = {"space": "digits", "data": "digits", "device": "host-onnxruntime"}
        assert parse_spec(template()) == spec_from(minimal)

    def test_every_field_is_written_out_and_explained(self) -> None:
        written = yaml.safe_load(template())
        for path, description in every_field(Spec):
            inner = written
            for name in path.split("."):
                assert name in inner, f"{path} is missing"
                inner = inner[name]
            assert len(description) > 8, f"{path} has no description"
            assert " ".join(description.split()[:3]) in template()

    def test_every_line_that_sets_something_stands_below_a_comment(self) -> None:
        lines = template().splitlines()
        for above, line in itertools.pairwise(lines):
            if ":" in line and not line.lstrip().startswith("#"):
                assert above.lstrip().startswith("#"), line

    def test_examples_are_valid(self) -> None:
        lines = [line for line in template().splitlines() if "For example " in line]
        assert len(lines) >= 3
        text = template()
        for line in lines:
            example = line.partition("For example ")[2]
            indent = line[: line.index("#")]
            name = example.partition(":")[0]
            start = text.index(line) + len(line) + 1
            end = text.index("\n", start)
            assert text[start:end].strip().startswith(f"{name}:")
            parse_spec(text[:start] + indent + example + text[end:])

    def test_lines_fit_a_screen(self) -> None:
        assert max(map(len, template().splitlines())) <= 100


def test_training_settings_are_the_same_in_both_places() -> None:
    ours = spec_from(MINIMAL).supernet.training()
    assert TrainingSettings(**ours) == TrainingSettings()
    assert set(ours) == {field.name for field in fields(TrainingSettings)}
