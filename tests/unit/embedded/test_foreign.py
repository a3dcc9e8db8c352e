"""What becomes of the exceptions of nodes."""

import logging

import pytest

from orchestrator.embedded.foreign import Failed, attempt


class Refusal(ValueError):
    input_at_fault = True


@pytest.mark.parametrize(
    ("kind", "level", "traced"), [(Refusal, logging.INFO, False), (ValueError, logging.ERROR, True)]
)
def test_a_refused_input_is_logged_without_a_traceback_and_a_failure_with_one(
    kind: type[Exception], level: int, traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def node() -> None:
        raise kind("too much")

    failed = attempt(node)
    assert isinstance(failed, Failed)
    assert failed.text == "too much"
    assert [(record.levelno, bool(record.exc_info)) for record in caplog.records] == [(level, traced)]
