"""Work beside a block: begun at once, ended with it."""

import asyncio

import pytest

from orchestrator.meanwhile import meanwhile


async def test_all_of_it_goes_on_while_the_block_waits_for_something_else() -> None:
    begun: list[int] = []

    async def work(number: int) -> int:
        begun.append(number)
        await asyncio.sleep(0)
        return number

    async with meanwhile(work(number) for number in (1, 2)) as [one, two]:
        await asyncio.sleep(0.01)
        assert begun == [1, 2]
        assert (await one, await two) == (1, 2)


async def test_what_is_left_when_the_block_fails_is_cancelled_before_the_failure_is_heard() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async def failing() -> None:
        raise OSError("heard by nobody")

    async def block() -> None:
        async with meanwhile([work(), failing()]):
            await asyncio.sleep(0)
            raise ValueError("the block")

    with pytest.raises(ValueError, match="the block"):
        await block()
    assert ended.is_set()
