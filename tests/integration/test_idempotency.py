"""One idempotency key, several requests: what the later ones change, and what they must not."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.keys import ENGINE
from orchestrator.errors import QueueFull
from orchestrator.jobs.job import JobSpec
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import plain, png, values
from tests.integration.services import LINKS, Service, ready
from tests.integration.test_jobs import ASYNC, ended, post, until


async def test_a_replay_that_hangs_up_cancels_nothing_for_who_asked_first(start: Service) -> None:
    async with FakeComfyUI(result_png=png(plain()), run_seconds=2) as backend:
        client = await ready(await start(backend.url))
        headers = {"Idempotency-Key": "order 7"}
        job = await post(client, headers=headers | ASYNC)
        await until(client, job["id"], "running")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await post(client, 200, headers | {"X-Cancel-On-Disconnect": "true"})
        assert (await ended(client, job["id"]))["state"] == "succeeded"


async def test_a_replay_with_another_webhook_or_priority_is_another_request(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    headers = ASYNC | {"Idempotency-Key": "order 7"}
    await post(client, headers=headers)
    for more in ({"X-Webhook-URL": "https://example.com/x"}, {"X-Priority": "low"}):
        assert (await post(client, 409, headers | more))["code"] == "key_reused"
        other = headers | more | {"Idempotency-Key": f"order {more}"}
        assert (await post(client, headers=other))["id"] == (await post(client, headers=other))["id"]


async def test_a_key_whose_image_has_expired_is_free_again_at_once(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url, link_hours=1.5 / 3600))
    headers = {"Idempotency-Key": "order 7"}
    first = (await post(client, 200, headers))["url"]
    async with asyncio.timeout(10):
        while (await client.get(first.removeprefix(LINKS))).status != 403:
            await asyncio.sleep(0.1)
    again = (await post(client, 200, headers))["url"]
    assert (await client.get(again.removeprefix(LINKS))).status == 200
    assert len(fake.prompts) == 2


async def test_an_expired_image_is_told_as_such_while_its_job_is_kept_for_a_webhook(
    fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url, link_hours=1.0 / 3600, webhook_networks=["127.0.0.0/8"]))
    headers = {"Idempotency-Key": "order 7", "X-Webhook-URL": "http://127.0.0.1:9/nobody"}
    first = (await post(client, 200, headers))["url"]
    async with asyncio.timeout(10):
        while (await client.get(first.removeprefix(LINKS))).status != 403:
            await asyncio.sleep(0.1)
    assert (await post(client, 403, headers))["code"] == "link_expired"
    assert len(fake.prompts) == 1


async def test_a_duplicate_that_is_refused_takes_nothing_from_the_one_that_is_accepted(
    fake: FakeComfyUI, start: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await ready(await start(fake.url))
    engine = client.app[ENGINE]
    accept, refused = engine.submit, asyncio.Event()
    turns = iter((1, 2))

    async def submit(spec: JobSpec, **how: Any) -> bool:
        if next(turns) == 2:
            refused.set()
            raise QueueFull("no room just now", retry_after=1)
        await refused.wait()
        await asyncio.sleep(0.3)
        return await accept(spec, **how)

    monkeypatch.setattr(engine, "submit", submit)
    headers = ASYNC | {"Idempotency-Key": "order 7"}

    async def send() -> tuple[int, Any]:
        async with client.post("/widgets/inpaint", json=values(), headers=headers) as answer:
            return answer.status, await answer.json()

    answers = dict(await asyncio.gather(send(), send()))
    assert set(answers) == {202, 429}
    assert (await ended(client, answers[202]["id"]))["state"] == "succeeded"


async def test_of_duplicates_that_are_all_refused_nothing_is_left(
    fake: FakeComfyUI, start: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await ready(await start(fake.url))
    both = asyncio.Barrier(2)

    async def submit(spec: JobSpec, **how: Any) -> bool:
        await both.wait()
        assert len(list((tmp_path / "inputs").iterdir())) == 2
        raise QueueFull("no room just now", retry_after=1)

    monkeypatch.setattr(client.app[ENGINE], "submit", submit)
    headers = ASYNC | {"Idempotency-Key": "order 7"}
    await asyncio.gather(post(client, 429, headers), post(client, 429, headers))
    assert not list((tmp_path / "inputs").iterdir())
