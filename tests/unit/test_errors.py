from orchestrator import errors
from orchestrator.api.problems import STATUS, status_of


def every_class(
    kind: type[errors.OrchestratorError] = errors.OrchestratorError,
) -> list[type[errors.OrchestratorError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in every_class(child))]


def made(kind: type[errors.OrchestratorError]) -> errors.OrchestratorError:
    return kind("an id") if issubclass(kind, errors.JobUnfinished) else kind()


def test_an_error_that_was_written_down_by_its_code_comes_back_as_it_was() -> None:
    for kind in every_class():
        if not issubclass(kind, errors.JobUnfinished):
            again = errors.from_code(made(kind).code, "what happened", retry_after=7.0)
            assert (type(again), again.detail, again.retry_after) == (kind, "what happened", 7.0)
            assert errors.from_code(made(kind).code, "").retry_after == kind.retry_after
    assert type(errors.from_code("internal_error", "")) is errors.OrchestratorError


def test_the_docstring_is_the_default_text_and_the_class_the_code() -> None:
    error = errors.NoBackend()
    assert error.detail == str(error) == "No backend can run this job now."
    assert error.code == "no_backend"


def test_every_error_has_a_status_that_says_whose_fault_it_is() -> None:
    for kind in every_class():
        status = status_of(made(kind))
        if issubclass(kind, errors.ModelUnavailable | errors.DownloadFailed):
            assert status in (502, 503), kind
        elif issubclass(kind, errors.RequestError | errors.ModelError | errors.QueueFull):
            assert 400 <= status < 500, kind
        else:
            assert 500 <= status < 600, kind


def test_only_waiting_makes_a_retry_worth_it() -> None:
    retryable = {kind for kind in every_class() if made(kind).retryable}
    assert errors.QueueFull in retryable
    assert {kind for kind in retryable if issubclass(kind, errors.ModelError)} == {errors.ModelUnavailable}
    assert {kind for kind in retryable if issubclass(kind, errors.RequestError)} == {errors.LimitReached}


def test_the_tree_in_the_docstring_names_every_class() -> None:
    for kind in every_class():
        assert kind.__name__ in (errors.__doc__ or ""), kind


def test_the_table_holds_no_class_twice_over() -> None:
    assert set(STATUS) <= set(every_class())
