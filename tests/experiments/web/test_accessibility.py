"""Rules of accessibility that can be seen in the HTML and the style sheet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from xml.etree.ElementTree import Element

import html5lib
import pytest
from fastapi.testclient import TestClient

_FIELDS = ("input", "select", "textarea")


Trees = dict[str, Element]


@pytest.fixture
def trees(texts: dict[str, str]) -> Trees:
    return {path: html5lib.parse(text, namespaceHTMLElements=False) for path, text in texts.items()}


def _text(element: Element) -> str:
    return "".join(element.itertext()).strip()


def test_pages_have_landmarks_and_one_heading(trees: Trees) -> None:
    for path, tree in trees.items():
        assert tree.get("lang") == "en"
        assert len(tree.findall(".//main")) == 1, path
        assert tree.find(".//header") is not None
        assert tree.find(".//footer") is not None
        assert all(nav.get("aria-label") for nav in tree.iter("nav")), path
        assert len(tree.findall(".//h1")) == 1, path
        skip = next(iter(tree.iter("a")))
        assert skip.get("href") == "#main"
        title = tree.find(".//title")
        assert title is not None
        assert title.text not in (None, "", "bitfront")


def test_headings_leave_no_level_out(trees: Trees) -> None:
    for path, tree in trees.items():
        levels = [int(element.tag[1]) for element in tree.iter() if _is_heading(element)]
        assert all(after - before <= 1 for before, after in pairwise(levels)), (path, levels)


def _is_heading(element: Element) -> bool:
    return isinstance(element.tag, str) and re.fullmatch("h[1-6]", element.tag) is not None


def test_ids_are_there_once_and_what_is_referred_to_is_there(trees: Trees) -> None:
    for path, tree in trees.items():
        ids = [e.get("id") for e in tree.iter() if e.get("id")]
        assert len(ids) == len(set(ids)), path
        for name in ("for", "aria-labelledby", "aria-describedby", "list"):
            for element in tree.iter():
                for wanted in (element.get(name) or "").split():
                    assert wanted in ids, (path, name, wanted)


def test_every_field_has_a_label(trees: Trees) -> None:
    for path, tree in trees.items():
        named = {label.get("for") for label in tree.iter("label")}
        inside = {id(field) for label in tree.iter("label") for field in label.iter() if field.tag in _FIELDS}
        for field in tree.iter():
            if field.tag in _FIELDS and field.get("type") != "hidden":
                has_name = field.get("id") in named or field.get("aria-label") or id(field) in inside
                assert has_name, (path, field.attrib)


def test_every_table_has_a_caption_and_headers_with_a_scope(trees: Trees) -> None:
    seen = 0
    for path, tree in trees.items():
        for table in tree.iter("table"):
            seen += 1
            caption = table.find("caption")
            assert caption is not None, path
            assert _text(caption), path
            headers = list(table.iter("th"))
            assert headers, path
            assert all(header.get("scope") for header in headers), path
    assert seen > 10


def test_pictures_have_words(trees: Trees) -> None:
    for path, tree in trees.items():
        for picture in _pictures(tree):
            is_hidden = picture.get("aria-hidden") == "true" or picture.get("alt") == ""
            assert is_hidden or picture.get("aria-label") or picture.get("alt"), (path, picture.attrib)


def _pictures(tree: Element) -> Iterator[Element]:
    for element in tree.iter():
        if isinstance(element.tag, str) and element.tag.rpartition("}")[2] in ("svg", "img", "canvas"):
            yield element


def test_links_and_buttons_have_words(trees: Trees) -> None:
    for path, tree in trees.items():
        for element in tree.iter():
            if element.tag in ("a", "button"):
                assert _text(element) or element.get("aria-label"), (path, element.attrib)


def test_what_scrolls_can_be_reached_with_keys(trees: Trees) -> None:
    for path, tree in trees.items():
        for element in tree.iter():
            if "wide" in (element.get("class") or "").split() and element.find(".//table") is not None:
                assert element.get("tabindex") == "0", path
                assert element.get("role") == "region", path
                assert element.get("aria-label"), path


_GROUNDS = ("ground", "panel")
_INKS = ("ink", "dim", "link", "predicted", "measured", "test", "good", "bad", "warn")


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ink", _INKS)
def test_words_stand_out_from_their_ground(client: TestClient, theme: int, ink: str) -> None:
    css = client.get("/static/0/bitfront.css").text
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colours: dict[str, str] = {}
    for block in blocks[: theme + 1]:
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for ground in _GROUNDS:
        assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert _contrast(colours["on-accent"], colours["accent"]) >= 4.5
    assert _contrast(colours["bad"], colours["bad-ground"]) >= 4.5
    assert _contrast(colours["edge"], colours["panel"]) >= 3  # borders of fields


def test_numbers_stand_out_from_the_colours_of_bits(client: TestClient) -> None:
    css = client.get("/static/0/bitfront.css").text
    colours = dict(re.findall(r"--(b\d+): (#[0-9a-f]{6})", css))
    for name, colour in colours.items():
        ink = "#10151a" if name in ("b2", "b4", "b6") else "#ffffff"
        assert _contrast(ink, colour) >= 4.5, name


def _contrast(one: str, other: str) -> float:
    """WCAG 2.1, relative luminance."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
