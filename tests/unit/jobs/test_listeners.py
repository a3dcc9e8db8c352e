"""What is remembered of the jobs that were told of, and for how long."""

import asyncio

import pytest

from orchestrator.jobs import listeners as module
from orchestrator.jobs.job import Cancelled, Queued
from orchestrator.jobs.listeners import Listeners


def test_of_the_jobs_that_have_ended_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ENDED_KEPT", 3)
    told = Listeners(lambda: 100.0)
    for number in range(5):
        told.tell(f"job {number}", 100.0, Queued())
        told.tell(f"job {number}", 100.0, Cancelled())
    assert [number for number in range(5) if told.since(f"job {number}", 100.0, 0)] == [2, 3, 4]


async def test_nothing_is_kept_for_who_has_listened_to_a_job_that_was_never_told_of() -> None:
    told = Listeners(lambda: 100.0)
    assert await told.heard("job", 100.0, 0, 0.01) == []
    waiting = asyncio.create_task(told.heard("job", 100.0, 0, 10.0))
    await asyncio.sleep(0.01)
    told.tell("job", 100.0, Queued())
    assert [event.happening for event in await waiting] == [Queued()]
    told.tell("job", 100.0, Cancelled())
    assert await told.heard("other", 100.0, 0, 0.01) == []
    assert not told._unfinished
