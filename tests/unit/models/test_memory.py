import pytest

from orchestrator.errors import (
    ModelError,
    ModelGated,
    ModelGone,
    ModelNotFound,
    ModelRegionBlocked,
    ModelUnavailable,
)
from orchestrator.models.memory import Memory, QuietTime


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_is_kept_for_its_time() -> None:
    clock = Clock()
    memory: Memory[int, str] = Memory(10.0, clock=clock)
    memory.keep(1, "facts")
    clock.now = 9.0
    assert memory.recall(1) == "facts"
    clock.now = 10.0
    assert memory.recall(1) is None


@pytest.mark.parametrize("kind", [ModelNotFound, ModelGone, ModelGated, ModelRegionBlocked])
def test_a_final_refusal_is_kept_and_given_again(kind: type[ModelError]) -> None:
    clock = Clock()
    memory: Memory[int, str] = Memory(10.0, clock=clock)
    memory.keep_refusal(1, kind("the reason"))
    clock.now = 299.0
    with pytest.raises(kind, match="the reason"):
        memory.recall(1)
    clock.now = 4000.0
    assert memory.recall(1) is None


def test_a_passing_refusal_is_not_kept() -> None:
    memory: Memory[int, str] = Memory(10.0)
    memory.keep_refusal(1, ModelUnavailable("busy", retry_after=99))
    assert memory.recall(1) is None


def test_memory_is_bounded() -> None:
    memory: Memory[int, int] = Memory(10.0)
    for number in range(3000):
        memory.keep(number, number)
    assert memory.recall(0) is None
    assert memory.recall(2999) == 2999


def test_while_quiet_is_asked_for_nobody_asks() -> None:
    clock = Clock()
    quiet = QuietTime(clock)
    quiet.require_over()
    quiet.keep(5.0)
    quiet.keep(2.0)
    clock.now = 4.0
    with pytest.raises(ModelUnavailable) as caught:
        quiet.require_over()
    assert caught.value.retry_after == 1.0
    clock.now = 5.0
    quiet.require_over()
