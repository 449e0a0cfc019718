"""What a process that serves says of itself: lines for people, or JSON for programs, on stderr."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LogFormat(StrEnum):
    """How a line looks."""

    TEXT = "text"
    JSON = "json"


class JsonLines(logging.Formatter):
    """One object a line: time (UTC, ISO 8601), level, logger, message, and what was given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever stands in the message."""
        values = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            # What begins with "_" other libraries, such as Ray, add to every record for themselves.
            **{key: value for key, value in vars(record).items() if key not in _OWN and not key.startswith("_")},
        }
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """Time (UTC), level and message on one line; a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """What was said, without line breaks in it."""
        text = " ".join(record.getMessage().split())
        line = f"{_time(record)} {record.levelname.lower()} {text}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def log_to_stderr(form: LogFormat, level: int = logging.INFO) -> None:
    """Make all loggers of this process write there, in this form; what was set up before is replaced."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form is LogFormat.JSON else TextLines())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every step that it looks at


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
