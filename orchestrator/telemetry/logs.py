"""What the log looks like: lines for people, or one JSON object a line for machines, with the job that it is about.

Must not know who logs. No line holds a key, a token, a picture or a caller's words: that is for those to see to who
log, and a test runs jobs with marked values and looks.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from aiohttp.http_exceptions import HttpProcessingError

LogFormat = Literal["text", "json"]

STAGES = logging.getLogger("orchestrator.stages")
"""One line for each stage that a job is through. Off where people read: a job's last line has them all."""
_EXTRAS = ("job", "stage", "seconds", "backend", "outcome", "code")
_job: ContextVar[str] = ContextVar("job", default="")


@contextmanager
def about(job_id: str) -> Iterator[None]:
    """What is logged within is about this job."""
    token = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(token)


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: time (UTC), level, logger, message, and what is known of the job."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in the record."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if job := _job.get():
            line["job"] = job
        line |= {name: value for name in _EXTRAS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """For people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


class WithoutRequests(logging.Filter):
    """Takes out of aiohttp's complaint about what is no HTTP the line that it could not read: it may hold a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true: the line stays."""
        fault = record.exc_info[1] if record.exc_info else None
        if isinstance(fault, HttpProcessingError):
            record.msg, record.args = "A request could not be read (%s)", (type(fault).__name__,)
            record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
        return True


_WITHOUT_REQUESTS = WithoutRequests()


def configure(log_format: LogFormat) -> None:
    """Has the root logger write to the standard error in this format, unless somebody else has told it what to do."""
    root = logging.getLogger()
    logging.getLogger("aiohttp.server").addFilter(_WITHOUT_REQUESTS)
    STAGES.setLevel(logging.INFO if log_format == "json" else logging.WARNING)
    ours = [handler for handler in root.handlers if isinstance(handler.formatter, JsonFormatter | TextFormatter)]
    if len(ours) < len(root.handlers):
        return
    for handler in ours:
        root.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
