"""`bitfront export`: what it asks for, what it says, and what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from typer.testing import Result

from bitfront.experiments.store.base import Store

Call = Callable[..., Result]
Check = Callable[..., None]


class TestExport:
    def test_prints_the_path(
        self,
        call: Call,
        usage_error: Check,
        done: str,
        tmp_path: Path,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        asked: list[tuple[object, ...]] = []

        def export_candidate(store: Store, *arguments: object, **named: object) -> list[SimpleNamespace]:
            asked.append((*arguments, named))
            tested = SimpleNamespace(top1=0.9722, agreement=0.9944, why="")
            manifest = SimpleNamespace(
                forms=[SimpleNamespace(format="onnx", tested=tested)],
                left_out=[
                    SimpleNamespace(format="integer", why="its stem is fp32"),
                    SimpleNamespace(format="c", why="its stem is fp32"),
                    SimpleNamespace(format="torch", why="there is no torch"),
                ],
            )
            record = SimpleNamespace(path=str(tmp_path / "out" / "model.onnx"))
            return [SimpleNamespace(record=record, manifest=manifest, top1_fake_quant=0.975)]

        module = ModuleType("bitfront.experiments.stages.exporting")
        module.export_candidate = export_candidate  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        result = call("export", done, "--candidate", 1, "--format", "onnx", "-o", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{tmp_path / 'out' / 'model.onnx'}\n"
        assert "0.9722" in result.stderr
        assert "0.9750" in result.stderr
        assert "integer and c are left out: its stem is fp32" in result.stderr
        assert "torch is left out: there is no torch" in result.stderr
        assert asked[0][:5] == (home, done, 1, "onnx", tmp_path / "out")
        assert asked[0][6] is None  # as the spec says
        assert call("export", done, "--candidate", 1, "--finetune-epochs", 0).exit_code == 0
        assert call("export", done, "--candidate", 1, "--finetune-epochs", 2).exit_code == 0
        assert [arguments[6] for arguments in asked[1:]] == [0, 2]
        assert call("export", done, "--candidate", 1, "--device", "phone").exit_code == 0
        assert [arguments[7] for arguments in asked] == [None, None, None, "phone"]
        assert asked[0][8] == {"runtime": None, "samples": None}
        assert call("export", done, "--candidate", 1, "--runtime", "openvino", "--samples", 0).exit_code == 0
        assert asked[-1][8] == {"runtime": "openvino", "samples": 0}
        usage_error(call("export", done, "--candidate", 1, "--runtime", "tensorrt"), "--runtime")

    def test_unknown_candidate(self, call: Call, one_error: Check, done: str) -> None:
        one_error(call("export", done, "--candidate", 77), "'77'", "Known are: 0, 1, 2")

    def test_unknown_format(self, call: Call, one_error: Check, done: str) -> None:
        one_error(call("export", done, "--candidate", 0, "--format", "onxn"), "'onxn'", "'onnx'")

    def test_candidate_must_be_given_and_be_a_number(self, call: Call, usage_error: Check, done: str) -> None:
        usage_error(call("export", done), "--candidate")
        usage_error(call("export", done, "--candidate", "best"), "--candidate", "integer")
