"""Names resolve late, third parties can add some, and an unknown one is answered helpfully."""

from __future__ import annotations

import copy
import importlib.metadata
import sys
from pathlib import Path

import pytest

from bitfront.supernet import registry as registry_module
from bitfront.supernet.errors import BitfrontError, UnknownNameError
from bitfront.supernet.registry import Registry


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that nobody has imported yet."""
    (tmp_path / "bitfront_test_plugin.py").write_text("VALUE = object()\nOTHER = object()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "bitfront_test_plugin", raising=False)
    return "bitfront_test_plugin"


def _offer(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    def entry_points(group: str) -> list[importlib.metadata.EntryPoint]:
        offered = {"bitfront.things": points}.get(group, {})
        return [importlib.metadata.EntryPoint(name, value, group) for name, value in offered.items()]

    monkeypatch.setattr(registry_module, "entry_points", entry_points)


def test_a_module_is_imported_when_its_name_is_asked_for(plugin: str) -> None:
    things: Registry[object] = Registry("thing", {"one": f"{plugin}:VALUE", "broken": "no_such_module:X"})
    assert things.names() == ["broken", "one"]
    assert plugin not in sys.modules
    value = things.get("one")
    assert value is sys.modules[plugin].VALUE
    assert things.get("one") is value


def test_third_parties_add_names(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _offer(monkeypatch, extra=f"{plugin}:OTHER")
    things: Registry[object] = Registry("thing", {"one": f"{plugin}:VALUE"})
    assert things.names() == ["extra", "one"]
    assert plugin not in sys.modules
    assert things.get("extra") is sys.modules[plugin].OTHER
    others: Registry[object] = Registry("other", {})
    assert others.names() == []


def test_built_in_names_win_over_third_parties(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _offer(monkeypatch, one=f"{plugin}:OTHER")
    things: Registry[object] = Registry("thing", {"one": f"{plugin}:VALUE"})
    assert things.names() == ["one"]
    assert things.get("one") is sys.modules[plugin].VALUE


def test_an_unknown_name_is_answered_with_the_known_and_the_nearest() -> None:
    things: Registry[object] = Registry("thing", {"digits": "a:b", "cifar": "a:b"})
    with pytest.raises(UnknownNameError) as caught:
        things.get("digitz")
    assert str(caught.value) == "unknown thing 'digitz': did you mean 'digits'? Known are: cifar, digits"
    assert isinstance(caught.value, BitfrontError)


def test_no_nearest_name_is_made_up() -> None:
    things: Registry[object] = Registry("thing", {"digits": "a:b"})
    with pytest.raises(UnknownNameError, match=r"^unknown thing 'qqq': Known are: digits$"):
        things.get("qqq")
    with pytest.raises(UnknownNameError, match=r"Known are: none$"):
        Registry[object]("thing", {}).get("x")


def test_a_long_list_of_names_is_cut() -> None:
    known = [f"gene{i:02}" for i in range(15)]
    message = str(UnknownNameError("gene", "gene99", known))
    assert "gene11 and 3 more" in message
    assert "gene12" not in message


def test_the_error_survives_the_way_between_processes() -> None:
    """Copying takes the same road as sending to another process."""
    error = UnknownNameError("thing", "digitz", {"digits": 1, "cifar": 2})
    copied = copy.copy(error)
    assert type(copied) is UnknownNameError
    assert str(copied) == str(error)
