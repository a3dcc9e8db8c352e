import asyncio

import pytest

from orchestrator.models.flight import SingleFlight


class Work:
    def __init__(self) -> None:
        self.started = self.cancelled = 0
        self.done = asyncio.Event()

    async def __call__(self) -> str:
        self.started += 1
        try:
            await self.done.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "result"


async def test_tasks_that_want_the_same_share_one_piece_of_work() -> None:
    flight, work = SingleFlight[str, str](), Work()
    tasks = [asyncio.create_task(flight.run("a", work)) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.done.set()
    assert await asyncio.gather(*tasks) == ["result"] * 10
    assert work.started == 1
    assert await flight.run("a", work) == "result"
    assert work.started == 2


async def test_one_that_leaves_does_not_end_it_for_the_others() -> None:
    flight, work = SingleFlight[str, str](), Work()
    first, second = (asyncio.create_task(flight.run("a", work)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.done.set()
    assert await second == "result"
    assert work.cancelled == 0


async def test_the_last_that_leaves_ends_it_and_the_next_begins_anew() -> None:
    flight, work = SingleFlight[str, str](), Work()
    tasks = [asyncio.create_task(flight.run("a", work)) for _ in range(2)]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert work.cancelled == 1
    work.done.set()
    assert await flight.run("a", work) == "result"


async def test_a_failure_reaches_all_and_is_not_kept() -> None:
    flight = SingleFlight[str, str]()
    calls = 0

    async def fail() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        raise ValueError("no")

    results = await asyncio.gather(*(flight.run("a", fail) for _ in range(3)), return_exceptions=True)
    assert [str(result) for result in results] == ["no"] * 3
    assert calls == 1
