import pytest

from orchestrator.api.admission import Admission
from orchestrator.errors import QueueFull


def test_the_one_too_many_is_refused_and_leaving_makes_room() -> None:
    admission = Admission(2, lambda: QueueFull("full", retry_after=3.0))
    with admission.enter():
        with admission.enter(), pytest.raises(QueueFull), admission.enter():
            pass
        with admission.enter():
            pass


def test_a_failure_makes_room_too() -> None:
    admission = Admission(1, lambda: QueueFull("full", retry_after=3.0))
    for _ in range(3):
        with pytest.raises(ValueError), admission.enter():
            raise ValueError
