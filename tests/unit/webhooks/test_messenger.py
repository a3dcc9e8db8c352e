import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from orchestrator.images.guard import AddressGuard
from orchestrator.jobs.job import Delivery, Job
from orchestrator.jobs.sqlite import Dials, SqliteEngine
from orchestrator.webhooks.messenger import DELAYS, Messenger
from orchestrator.webhooks.sender import Sender
from orchestrator.webhooks.signing import WebhookSigner
from tests.engines.jobs import spec
from tests.fakes.receiver import Receiver

QUICK = (0.05, 0.05, 0.05)


@asynccontextmanager
async def telling(folder: Path, heard: list[str], delays: tuple[float, ...] = QUICK) -> AsyncIterator[SqliteEngine]:
    """An engine whose webhooks are told while it lasts."""
    guard = AddressGuard(["127.0.0.0/8"])
    async with SqliteEngine(folder / "jobs.sqlite", Dials(tick=0.05)) as engine:
        sender, signer = Sender(guard, timeout=5, user_agent="test/1"), WebhookSigner(b"r" * 32)
        outbox = engine.outbox
        async with Messenger(engine, outbox, sender, signer, lambda job: {"id": job.id}, delays, heard.append):
            yield engine


@asynccontextmanager
async def serving(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """The address of a receiver that answers so."""
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def ended(engine: SqliteEngine, url: str, owner: str = "") -> str:
    """A job that has ended."""
    job = spec(webhook=url, owner=owner)
    await engine.submit(job)
    await engine.cancel(job.id)
    return job.id


async def settled(engine: SqliteEngine, job_id: str) -> Job:
    async with asyncio.timeout(30):
        while True:
            job = await engine.get(job_id)
            assert job is not None
            assert job.delivery is not None
            if job.delivery.state != "pending":
                return job
            await asyncio.sleep(0.02)


async def test_it_is_tried_again_until_it_is_taken_under_one_id_and_told_once(tmp_path: Path) -> None:
    heard: list[str] = []
    statuses = [500, 503, 200]
    async with Receiver(lambda n: web.Response(status=statuses[n])) as receiver, telling(tmp_path, heard) as engine:
        job_id = await ended(engine, receiver.url)
        job = await settled(engine, job_id)
        await asyncio.sleep(0.6)
    assert job.delivery == Delivery("delivered", 3, "answered 200")
    assert heard == ["failed", "failed", "delivered"]
    assert {word.headers["webhook-id"] for word in receiver.words} == {f"msg_{job_id}_{round(job.spec.created * 1000)}"}
    assert len(receiver.words) == 3
    first = receiver.words[0].content
    assert (first["type"], first["data"]) == ("job.cancelled", {"id": job_id})


async def test_after_the_last_try_it_is_dead_and_the_log_does_not_tell_the_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []
    with caplog.at_level(logging.INFO):
        async with Receiver(lambda _: web.Response(status=500)) as receiver, telling(tmp_path, heard) as engine:
            job = await settled(engine, await ended(engine, receiver.url))
    assert job.delivery == Delivery("dead", 4, "answered 500")
    assert heard == ["failed", "failed", "failed", "dead"]
    assert "given up after 4 tries" in caplog.text
    assert "127.0.0.1" in caplog.text
    assert {getattr(record, "job", None) for record in caplog.records if "webhook" in record.message} == {job.id}
    assert "secret-of-the-caller" not in caplog.text


async def test_who_says_that_it_is_gone_is_not_tried_again(tmp_path: Path) -> None:
    heard: list[str] = []
    async with Receiver(lambda _: web.Response(status=410)) as receiver, telling(tmp_path, heard) as engine:
        job = await settled(engine, await ended(engine, receiver.url))
    assert job.delivery == Delivery("dead", 1, "answered 410")


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("hanging", "owner", "other"), [(5, "", ""), (40, "mallory", "alice")], ids=["a receiver", "all of one caller's"]
)
async def test_receivers_that_hang_hold_up_no_other(tmp_path: Path, hanging: int, owner: str, other: str) -> None:
    heard: list[str] = []
    async with serving(hang) as url, Receiver() as receiver, telling(tmp_path, heard) as engine:
        for _ in range(hanging):
            await ended(engine, url, owner)
        await asyncio.sleep(0.6)  # until they have been taken up
        job = await settled(engine, await ended(engine, receiver.url, other))
        assert job.delivery == Delivery("delivered", 1, "answered 204")
        assert heard == ["delivered"]


async def test_one_that_takes_its_time_is_posted_to_once(tmp_path: Path) -> None:
    posts = 0

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal posts
        posts += 1
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.6)  # the outbox is looked into every half second
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    heard: list[str] = []
    async with serving(answer_late) as url, telling(tmp_path, heard) as engine:
        job = await settled(engine, await ended(engine, url))
        assert job.delivery == Delivery("delivered", 1, "answered 204")
    assert posts == 1


def test_tries_are_spread_over_about_a_day() -> None:
    assert 20 * 3600 < sum(DELAYS) < 26 * 3600
    assert list(DELAYS) == sorted(DELAYS)
