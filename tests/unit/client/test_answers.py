"""What a service may answer, now and later."""

import base64
from typing import Any

import pytest

from orchestrator.client import Cancelled, Failed, Preview, Queued, Requeued, Running, Succeeded
from orchestrator.client.answers import read_job, read_progress, read_widget
from orchestrator.errors import FieldError, InvalidParameters, OrchestratorError

JOB: dict[str, Any] = {
    "id": "an-id",
    "widget": "inpaint",
    "state": "queued",
    "seed": None,
    "created": 1.0,
    "ended": None,
    "attempt": 1,
    "timings": {"check": 0.1},
    "links": {"self": "http://x/jobs/an-id"},
    "place": 3,
    "eta": None,
}


def test_a_job_is_read_with_its_state_and_what_a_later_service_adds_is_left_aside() -> None:
    job = read_job(JOB | {"colour": "blue"})
    assert job.state == Queued(place=3, eta=None)
    assert (job.id, job.has_ended, job.timings["check"]) == ("an-id", False, 0.1)
    assert read_job(JOB | {"state": "cancelled"}).state == Cancelled()
    assert read_job(JOB | {"state": "succeeded", "url": "u", "expires_at": 5}).state == Succeeded("u", 5.0)


def test_the_names_that_a_service_ignored_are_read_from_its_header() -> None:
    assert read_job(JOB).ignored == ()
    assert read_job(JOB, "stepz, caf%C3%A9, a%2C b").ignored == ("stepz", "café", "a, b")
    many = ", ".join(f"n{number}" for number in range(20))
    assert read_job(JOB, many).ignored[-1] == "n19"
    assert read_job(JOB, many + ", and 3 more").ignored == read_job(JOB, many).ignored


def test_a_failed_job_holds_the_error_with_its_fields() -> None:
    complaint = {"field": "steps", "message": "too many"}
    state = read_job(
        JOB | {"state": "failed", "code": "invalid_parameters", "detail": "d", "errors": [complaint]}
    ).state
    assert isinstance(state, Failed)
    assert isinstance(state.error, InvalidParameters)
    assert state.error.fields == (FieldError("steps", "too many"),)
    unknown = read_job(JOB | {"state": "failed", "code": "of_a_later_service", "detail": "d", "errors": []}).state
    assert isinstance(unknown, Failed)
    assert type(unknown.error) is OrchestratorError


@pytest.mark.parametrize("change", [{"state": "dreaming"}, {"id": None}, {"timings": "none"}, {"state": None}])
def test_what_is_no_job_is_a_value_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        read_job(JOB | change)


def test_events_are_read_by_their_kind_and_unknown_ones_are_nothing() -> None:
    assert read_progress("running", {"kind": "running", "backend": "b", "step": 2, "steps": 4}) == Running(
        "b", "", 2, 4
    )
    assert read_progress("requeued", {"reason": "lost", "attempt": 2}) == Requeued("lost", 2)
    assert read_progress("of_a_later_service", {}) is None


def test_a_preview_is_decoded_wherever_in_the_event_it_is() -> None:
    address = "data:image/jpeg;base64," + base64.b64encode(b"picture").decode()
    assert read_progress("preview", {"kind": "preview", "image": address}) == Preview(b"picture", "image/jpeg")
    assert read_progress("preview", {"kind": "preview"}) is None
    with pytest.raises(ValueError, match="base64"):
        read_progress("preview", {"image": "data:image/png;base64,#"})


def test_a_widget_is_read_from_a_schema_without_our_own_words_too() -> None:
    schema = {"title": "T", "properties": {"n": {"type": "integer", "minimum": 0}}, "required": ["n"]}
    (parameter,) = read_widget("t", schema).parameters
    assert (parameter.kind, parameter.required, parameter.minimum, parameter.maximum) == ("integer", True, 0, None)
