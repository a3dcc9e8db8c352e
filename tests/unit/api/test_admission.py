import pytest

from orchestrator.api.admission import Admission
from orchestrator.callers.caller import ANYBODY, Caller, Limits, Right
from orchestrator.errors import LimitReached, QueueFull


def key(name: str, jobs: int | None = None) -> Caller:
    return Caller(name, name, frozenset({Right.RUN}), Limits(jobs=jobs))


def test_the_one_too_many_is_refused_with_what_is_true_and_leaving_makes_room() -> None:
    admission = Admission(2, 100)
    with admission.enter(ANYBODY):
        with (
            admission.enter(ANYBODY),
            pytest.raises(QueueFull, match="2 requests are being read"),
            admission.enter(ANYBODY),
        ):
            pass
        with admission.enter(ANYBODY):
            pass


def test_a_failure_makes_room_too() -> None:
    admission = Admission(1, 100)

    def fail() -> None:
        with admission.enter(ANYBODY) as place:
            place.take(100)
            raise ValueError

    for _ in range(3):
        with pytest.raises(ValueError):
            fail()


@pytest.mark.parametrize(("jobs", "share"), [(1, 1), (3, 3), (None, 4), (100, 8)])
def test_one_key_gets_as_many_places_as_it_may_have_jobs_and_never_more_than_half(jobs: int | None, share: int) -> None:
    admission, mallory = Admission(16, 100), key("mallory", jobs)
    places = [admission.enter(mallory) for _ in range(share)]
    for place in places:
        place.__enter__()
    with pytest.raises(LimitReached, match=f"at most {share} requests"), admission.enter(mallory):
        pass
    with admission.enter(key("alice")):
        pass
    places[0].__exit__(None, None, None)
    with admission.enter(mallory):
        pass


def test_bodies_have_a_size_together_of_which_one_key_gets_half() -> None:
    admission, mallory, alice, bob = Admission(16, 100), key("mallory"), key("alice"), key("bob")
    with admission.enter(mallory) as first, admission.enter(alice) as second, admission.enter(bob) as third:
        with admission.enter(mallory) as other:
            first.take(30)
            other.take(20)
            with pytest.raises(LimitReached) as caught:
                other.take(1)
            assert [field.field for field in caught.value.fields] == ["requests"]
            second.take(50)
            with pytest.raises(QueueFull, match="memory"):
                third.take(1)
        third.take(20)
        with pytest.raises(QueueFull):
            third.take(1)
    with admission.enter(ANYBODY) as place:
        place.take(100)
