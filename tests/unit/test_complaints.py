import pytest

from orchestrator.complaints import Complaints
from orchestrator.errors import (
    FieldError,
    InvalidParameters,
    ModelNotFound,
    ModelUnavailable,
    OrchestratorError,
    StorageFull,
)


def settled(*errors: OrchestratorError) -> OrchestratorError:
    complaints = Complaints()
    for error in errors:
        with complaints:
            raise error
    with pytest.raises(OrchestratorError) as caught:
        complaints.settle()
    return caught.value


def of(field: str) -> list[FieldError]:
    return [FieldError(field, f"{field} is wrong")]


def test_without_a_complaint_nothing_happens() -> None:
    complaints = Complaints()
    with complaints:
        pass
    complaints.settle()


def test_one_complaint_stays_the_error_that_it_was() -> None:
    error = ModelNotFound("there is none", of("model"))
    assert settled(error) is error


def test_several_are_the_first_with_the_fields_of_all_each_once() -> None:
    first = InvalidParameters(None, of("image"))
    error = settled(first, ModelNotFound("no", of("model")), ModelNotFound("no", of("model")))
    assert type(error) is InvalidParameters
    assert error.fields == (*of("image"), *of("model"))
    assert error.detail == "These parameters cannot be used: image, model"
    assert first.fields == tuple(of("image"))


def test_what_coming_again_mends_is_left_out_where_there_is_what_it_does_not() -> None:
    error = settled(ModelUnavailable("later", of("model"), retry_after=7), ModelNotFound("no", of("prompt")))
    assert (type(error), error.retryable, error.retry_after) == (ModelNotFound, False, None)
    assert error.fields == tuple(of("prompt"))


def test_an_error_that_names_no_field_is_not_mixed_with_others() -> None:
    full = StorageFull()
    assert settled(full, ModelUnavailable("later", of("model"))) is full
    error = InvalidParameters(None, of("image"))
    assert settled(full, error) is error


def test_what_is_no_refusal_is_not_held_back() -> None:
    complaints = Complaints()
    with pytest.raises(ValueError, match="our own fault"), complaints:
        raise ValueError("our own fault")
