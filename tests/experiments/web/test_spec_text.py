"""The form's fields and the YAML: each says what the other says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitfront.experiments.spec import Spec
from bitfront.experiments.spec_yaml import read_mapping
from bitfront.experiments.web.spec_fields import spec_fields, spec_parts
from bitfront.experiments.web.spec_text import START, field_of, texts_of, with_texts, yaml_of

_PATHS = [field.path for field in spec_fields()]


def test_every_field_of_a_spec_is_in_the_form() -> None:
    schema = Spec.model_json_schema()
    for name, value in schema["properties"].items():
        references = [one["$ref"] for one in (value, *value.get("anyOf", ())) if "$ref" in one]
        if not references:
            assert name in _PATHS
            continue
        inner = schema["$defs"][references[0].rpartition("/")[2]]["properties"]
        model = Spec.model_fields[name].annotation
        filled_in = {key for key, field in getattr(model, "model_fields", {}).items() if not field.repr}
        shown = {path.partition(".")[2] for path in _PATHS if path.startswith(f"{name}.")}
        assert shown == set(inner) - filled_in, name
    assert len({field.id for field in spec_fields()}) == len(_PATHS)


def test_choices_and_defaults_are_those_of_the_schema() -> None:
    fields = {field.path: field for field in spec_fields()}
    assert fields["export.pick"].choices == ("best", "knee", "none")
    assert fields["search.insist"].choices == ("true", "false")
    assert fields["search.population"].default == "100"
    assert fields["search.population"].rule == "at least 2, at most 1000000"
    assert fields["objectives"].default == "[top1, latency_ms, size_bytes]"
    assert [part.path for part in spec_parts()[:4]] == ["", "space", "data", "device"]


@pytest.mark.parametrize(
    ("text", "path", "wanted"),
    [
        ("space: digits", "space.name", "digits"),
        ("space: {name: digits, options: {classes: 3}}", "space.options", "{classes: 3}"),
        ("search: {islands: 4}", "search.islands", "4"),
        ("search: {population: 20}", "search.population", "20"),
        ("supernet: {pretrained: false}", "supernet.pretrained", "false"),
        ("objectives: [top1, macs]", "objectives", "[top1, macs]"),
        ("executor: {workers: null}", "executor.workers", "null"),
    ],
)
def test_a_value_in_yaml_is_in_its_field(text: str, path: str, wanted: str) -> None:
    values = read_mapping(text, "x")
    texts = texts_of(values)
    assert texts[path] == wanted
    assert texts_of(read_mapping(yaml_of(with_texts({}, texts)), "x")) == texts


def test_a_field_is_set_changed_and_taken_out() -> None:
    values = with_texts(read_mapping(START, "x"), {"search.generations": "5"})
    assert values["search"] == {"generations": 5}
    values = with_texts(values, {"search.generations": "7", "space.options": "{classes: 3}"})
    assert (values["search"], values["space"]) == (
        {"generations": 7},
        {"name": "digits", "options": {"classes": 3}},
    )
    values = with_texts(values, {"search.generations": "", "space.options": " "})
    assert "search" not in values
    assert values["space"] == "digits"


@pytest.mark.parametrize("written", [5, ["nsga2"], True, [], 0])
@pytest.mark.parametrize("text", ["", "4"])
def test_what_is_written_in_place_of_a_section_is_not_thrown_away(written: object, text: str) -> None:
    values = {"search": written, "space": "digits"}
    assert with_texts(values, {"search.population": text, "space.options": ""}) == values


def test_an_empty_field_changes_nothing_where_there_was_nothing() -> None:
    values = {"search": "nsga2", "front": {}}
    assert with_texts(values, {"search.population": "", "front.measure": " "}) == values


def test_what_is_no_field_stays() -> None:
    values = with_texts(
        {"spcae": "digits", "search": {"genertions": 3}}, {"search.population": "4", "nothing": "1"}
    )
    assert values == {"spcae": "digits", "search": {"genertions": 3, "population": 4}}


def test_a_text_that_is_no_yaml_is_kept_for_its_error() -> None:
    assert with_texts({}, {"seed": "[1"})["seed"] == "[1"
    assert with_texts({}, {"seed": "1\nname: other"}) == {"seed": "1\nname: other"}
    assert with_texts({}, {"seed": "!!python/object/apply:os.system ['x']"})["seed"].startswith("!!python")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("search.population", "search.population"),
        ("objectives[1]", "objectives"),
        ("device", "device.name"),
        ("device.name", "device.name"),
        ("devices.phone.name", "devices"),
        ("search.islands.each[0].strategy", "search.islands"),
        ("fixed.*.kernel", "fixed"),
        ("line 3, column 5", "yaml"),
        ("the spec", "yaml"),
        ("serach", "yaml"),
    ],
)
def test_a_problem_is_shown_at_its_field(path: str, field: str) -> None:
    assert field_of(path) == field


_LINES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30)


@given(st.dictionaries(st.sampled_from(_PATHS), _LINES, max_size=6))
@example({"name": "0E0", "space.options": "{a: '1e3'}"})
def test_whatever_is_typed_survives_the_yaml(texts: Mapping[str, str]) -> None:
    values = with_texts({}, texts)
    again: dict[Any, Any] = read_mapping(yaml_of(values), "x") if values else {}
    assert texts_of(again) == texts_of(values)
    empty = {path for path, text in texts.items() if not text.strip()}
    assert not empty & set(texts_of(values))
