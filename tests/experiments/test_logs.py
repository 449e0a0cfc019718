"""Lines that a service says of itself."""

import json
import logging

import pytest

from bitfront.experiments.logs import LogFormat, log_to_stderr

pytestmark = pytest.mark.usefixtures("loggers_as_before")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(LogFormat.JSON)
    logging.getLogger("bitfront.x").warning(
        "two\nlines %s", "ü", extra={"experiment": "one-1", "odd": {1}, "_theirs": 1}
    )
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("bitfront.x").exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["message"], first["level"], first["logger"]) == ("two\nlines ü", "warning", "bitfront.x")
    assert (first["experiment"], first["odd"]) == ("one-1", "{1}")
    assert first["time"].endswith("+00:00")
    assert "ValueError: why" in second["traceback"]
    assert set(first) == {"time", "level", "logger", "message", "experiment", "odd"}


def test_text_is_one_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(LogFormat.TEXT)
    logging.getLogger("bitfront.x").info("two\nlines")
    logging.getLogger("bitfront.x").debug("not this")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" info two lines")


def test_setting_up_twice_says_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(LogFormat.TEXT)
    log_to_stderr(LogFormat.JSON)
    logging.getLogger("bitfront.x").info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
