"""Predictors of one name that are sent at once: one is kept, with its own facts."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from bitfront.experiments import uploaded_predictors
from bitfront.experiments.store.errors import ConflictError
from bitfront.experiments.uploaded_predictors import UploadedFacts, keep, predictor_file, uploaded_facts


@pytest.fixture
def slow_first(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Whoever writes facts first is slow, unless another one writes meanwhile; the event says that it began."""
    began, another = threading.Event(), threading.Event()
    write = uploaded_predictors._write

    def slow(path: Path, facts: UploadedFacts) -> None:
        if began.is_set():
            write(path, facts)
            another.set()
        else:
            began.set()
            another.wait(0.5)
            write(path, facts)

    monkeypatch.setattr(uploaded_predictors, "_write", slow)
    return began


def sent(folder: Path, name: str) -> tuple[Path, UploadedFacts]:
    path = folder / f"{name}.sent"
    path.write_text(name)
    digest = hashlib.sha256(name.encode()).hexdigest()
    return path, UploadedFacts(
        kind="ridge", how="", space="digits", space_hash="", metrics={}, sha256=digest, size_bytes=len(name)
    )


def test_facts_are_those_of_the_file_beside_them(tmp_path: Path, slow_first: threading.Event) -> None:
    one, other = sent(tmp_path, "one"), sent(tmp_path, "another")
    thread = threading.Thread(target=keep, args=(one[0], tmp_path, "mine", one[1], True))
    thread.start()
    assert slow_first.wait(30)
    keep(other[0], tmp_path, "mine", other[1], True)
    thread.join()
    assert predictor_file(tmp_path, "mine").read_text() == "another"
    assert uploaded_facts(tmp_path, "mine") == other[1]


def test_facts_made_anew_are_not_those_of_a_file_that_went(
    tmp_path: Path, slow_first: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = sent(tmp_path, "one"), sent(tmp_path, "another")
    predictor_file(tmp_path, "mine").parent.mkdir(parents=True)
    one[0].rename(predictor_file(tmp_path, "mine"))
    monkeypatch.setattr(uploaded_predictors, "facts_of", lambda path: one[1])
    thread = threading.Thread(target=uploaded_facts, args=(tmp_path, "mine"))
    thread.start()
    assert slow_first.wait(30)
    keep(other[0], tmp_path, "mine", other[1], True)
    thread.join()
    assert uploaded_facts(tmp_path, "mine") == other[1]


def test_only_one_gets_a_name_that_was_free(tmp_path: Path, slow_first: threading.Event) -> None:
    one, other = sent(tmp_path, "one"), sent(tmp_path, "another")
    thread = threading.Thread(target=keep, args=(one[0], tmp_path, "mine", one[1], False))
    thread.start()
    assert slow_first.wait(30)
    with pytest.raises(ConflictError, match="there is a predictor 'mine'"):
        keep(other[0], tmp_path, "mine", other[1], False)
    thread.join()
    assert uploaded_facts(tmp_path, "mine") == one[1]
