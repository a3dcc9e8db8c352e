"""Webhooks from outside: signed as the standard's own library checks it, guarded, and not lost with the service."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook

from orchestrator.callers.keys import ApiKeys
from orchestrator.parts import webhook_signer
from orchestrator.settings import Settings
from tests.chaos.service import Service as Process
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.receiver import Receiver
from tests.integration.callers import a_key
from tests.integration.pictures import values
from tests.integration.services import Client, Service, ready

ASYNC = {"Prefer": "respond-async"}
HERE = ["127.0.0.0/8"]


async def submitted(session: aiohttp.ClientSession | Client, status: int = 202, **headers: str) -> Any:
    async with session.post("/widgets/inpaint", json=values(), headers=ASYNC | headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def told(
    session: aiohttp.ClientSession | Client, job_id: str, state: str, headers: dict[str, str] | None = None
) -> Any:
    """The job, when its webhook has come to that state."""
    async with asyncio.timeout(40):
        while True:
            async with session.get(f"/jobs/{job_id}", headers=headers) as answer:
                job = await answer.json()
            if job.get("webhook", {}).get("state") == state and job["webhook"]["tries"]:
                return job
            await asyncio.sleep(0.05)


async def send_what_is_no_http(port: int, what: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(what)
    async with asyncio.timeout(30):
        assert b" 400 " in await reader.readline()
    writer.close()


async def test_a_jobs_end_is_told_with_what_the_job_says_of_itself_signed_for_its_caller(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    client = await ready(await start(fake.url, api_keys="required", webhook_networks=HERE))
    alice = a_key(tmp_path, "alice")
    async with Receiver() as receiver:
        job_id = (await submitted(client, **alice, **{"X-Webhook-URL": receiver.url}))["id"]
        (word,) = await receiver.heard(1)
        job = await told(client, job_id, "delivered", alice)
    key_id = ApiKeys(tmp_path / "keys.json").listed()[0].id
    secret = webhook_signer(Settings(data=tmp_path)).secret(key_id)
    content = Webhook(secret).verify(word.body, word.headers)
    assert content["type"] == "job.succeeded"
    assert content["timestamp"].endswith("Z")
    assert word.headers["webhook-id"] == f"msg_{job_id}_{round(job['created'] * 1000)}"
    assert {name: value for name, value in job.items() if name != "webhook"} == {
        name: value for name, value in content["data"].items() if name != "webhook"
    }
    assert content["data"]["url"].startswith("http")
    assert job["webhook"] == {"state": "delivered", "tries": 1, "answer": "answered 204", "due": None}


async def test_a_failed_job_is_told_too_and_one_without_a_webhook_says_nothing_of_it(start: Service) -> None:
    async with FakeComfyUI(run_seconds=30) as slow, Receiver() as receiver:
        client = await ready(await start(slow.url, webhook_networks=HERE))
        job_id = (await submitted(client, **{"X-Webhook-URL": receiver.url}))["id"]
        quiet = (await submitted(client))["id"]
        for one in (job_id, quiet):
            async with client.delete(f"/jobs/{one}") as answer:
                assert answer.status in (200, 202)
        (word,) = await receiver.heard(1)
        assert word.content["type"] == "job.cancelled"
        async with client.get(f"/jobs/{quiet}") as answer:
            assert "webhook" not in await answer.json()


async def test_an_inner_address_is_never_posted_to(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    async with Receiver() as receiver:
        named = receiver.url.replace("127.0.0.1", "localhost")
        job = await told(client, (await submitted(client, **{"X-Webhook-URL": named}))["id"], "dead")
        assert job["webhook"]["tries"] == 1
        assert "does not connect to" in job["webhook"]["answer"]
        assert receiver.words == []


@pytest.mark.parametrize(
    "url",
    [
        "nowhere",
        "ftp://a.example/",
        "https://u:p@a.example/",
        "http://127.0.0.1:8392/x",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0/",
        "http://169.254.169.254/latest",
        "http://2130706433/",
        "http://127.1/",
        "http://0x7f000001/",
    ],
)
async def test_a_webhook_that_cannot_be_is_refused_before_anything_runs(
    url: str, fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url))
    refused = await submitted(client, 422, **{"X-Webhook-URL": url})
    assert [error["field"] for error in refused["errors"]] == ["X-Webhook-URL"]
    assert not fake.requests("POST /prompt")


async def test_a_job_that_comes_again_under_its_key_is_told_under_another_id(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url, webhook_networks=HERE, link_hours=1.0 / 3600))
    async with Receiver() as receiver, asyncio.timeout(30):
        headers = {"Idempotency-Key": "order 7", "X-Webhook-URL": receiver.url}
        first = await submitted(client, **headers)
        await receiver.heard(1)
        while (again := await submitted(client, **headers))["created"] == first["created"]:
            await asyncio.sleep(0.1)
        words = await receiver.heard(2)
    assert again["id"] == first["id"]
    assert len({word.headers["webhook-id"] for word in words}) == 2


async def test_what_was_not_told_when_the_service_was_killed_is_told_after_the_start(
    fake: FakeComfyUI, tmp_path: Path
) -> None:
    service = Process(tmp_path, [fake.url], queue_limit=10)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"webhook_networks": HERE}))
    async with Receiver() as receiver:
        url, port = receiver.url, receiver.port
    await service.start()
    try:
        async with aiohttp.ClientSession(service.url) as session:
            async with asyncio.timeout(30):
                while (await session.get("/readyz")).status != 200:
                    await asyncio.sleep(0.05)
            job_id = (await submitted(session, **{"X-Webhook-URL": url}))["id"]
            assert (await told(session, job_id, "pending"))["webhook"]["answer"] == "cannot be connected to"
        await service.kill()
        async with Receiver(port=port) as again:
            await service.start()
            (word,) = await again.heard(1)
            assert word.headers["webhook-id"].startswith(f"msg_{job_id}_")
            Webhook(webhook_signer(Settings(data=tmp_path)).secret("")).verify(word.body, word.headers)
            async with aiohttp.ClientSession(service.url) as session:
                assert (await told(session, job_id, "delivered"))["webhook"]["tries"] >= 2
            assert len(again.words) == 1
            await send_what_is_no_http(service.port, b"GET / HTTP/1.1\r\nX-API-Key: secret-of-the-caller\x00\r\n\r\n")
    finally:
        await service.kill()
    log = (tmp_path / "log").read_text()
    assert "A request could not be read" in log
    assert "secret-of-the-caller" not in log
    assert "HTTP/1.1" not in log  # there is no access log
