import pytest

from orchestrator.jobs.job import (
    Cancelled,
    Failed,
    Fetching,
    Queued,
    Running,
    Succeeded,
    end_from_json,
    end_to_json,
    happening_to_json,
    spec_from_json,
    spec_to_json,
)
from tests.engines.jobs import spec


def test_a_spec_comes_back_from_json_as_it_was() -> None:
    for job in (spec(), spec(seed=None, inputs=("a.png",), timings=(("check", 0.1),), owner="key", fingerprint="f")):
        assert spec_from_json(spec_to_json(job)) == job


def test_an_end_comes_back_from_json_as_it_was() -> None:
    for end in (Succeeded("key.png", 12.5), Failed("no_backend", "none"), Cancelled()):
        assert end_from_json(end_to_json(end)) == end


def test_what_is_no_spec_is_refused() -> None:
    with pytest.raises(ValueError, match="JobSpec"):
        spec_from_json(b'{"id": 1}')


def test_happenings_name_their_kind_and_say_null_of_what_is_not_known() -> None:
    assert b'"kind":"running"' in happening_to_json(Running("gpu", "Sampler", 3, 20))
    assert b'"total_bytes":null' in happening_to_json(Fetching("model", 5, None, 1))
    assert b'"eta":null' in happening_to_json(Queued(place=2))
