"""API keys from outside: who comes in, whose a job is, what a revoked key may still do."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator.callers.caller import Right
from orchestrator.callers.keys import ApiKeys
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.callers import Headers, a_key
from tests.integration.pictures import values
from tests.integration.services import LINKS, Client, Service, ready

ASYNC = {"Prefer": "respond-async"}


async def submitted(client: Client, headers: Headers, status: int = 202, **more: object) -> Any:
    async with client.post("/widgets/inpaint", json=values(**more), headers=ASYNC | headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def status(client: Client, method: str, path: str, headers: Headers | None = None) -> int:
    async with client.request(method, path, headers=headers) as answer:
        return answer.status


async def ended(client: Client, job_id: str, headers: Headers) -> Any:
    async with asyncio.timeout(30):
        while True:
            async with client.get(f"/jobs/{job_id}", headers=headers) as answer:
                job = await answer.json()
                if job["state"] not in ("queued", "running"):
                    return job
            await asyncio.sleep(0.02)


async def test_without_a_key_only_what_is_open_can_be_reached(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    client = await ready(await start(fake.url, api_keys="required"))
    alice = a_key(tmp_path, "alice")
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert await status(client, "GET", path) == 200
        assert await status(client, "GET", path, {"X-API-Key": "wrong"}) == 200
    for method, path in (
        ("GET", "/widgets"),
        ("GET", "/widgets/inpaint"),
        ("POST", "/widgets/inpaint"),
        ("POST", "/public/v1/widget/run"),
        ("GET", "/samplers"),
        ("GET", "/jobs/x"),
        ("DELETE", "/jobs/x"),
        ("GET", "/jobs/x/events"),
        ("GET", "/jobs/x/prompt"),
        ("GET", "/nothing"),
    ):
        for wrong in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer"}, {"Authorization": "Basic YTpi"}):
            async with client.request(method, path, headers=wrong) as answer:
                assert answer.status == 401, (method, path, wrong)
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
                told = await answer.json()
                assert told["error_code" if path.startswith("/public") else "code"] == "key_needed"
    assert not fake.requests("POST /prompt")
    assert await status(client, "GET", "/widgets", alice) == 200
    assert await status(client, "GET", "/widgets", {"X-API-Key": alice["Authorization"].split()[1]}) == 200
    assert (
        await status(
            client,
            "GET",
            "/widgets",
            {"Authorization": alice["Authorization"].lower()[:7] + alice["Authorization"][7:]},
        )
        == 200
    )
    assert await status(client, "GET", "/nothing", alice) == 404


async def test_a_job_is_seen_by_its_key_and_by_operators_and_its_picture_by_who_has_the_link(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    client = await ready(await start(fake.url, api_keys="required"))
    alice, bob, root = a_key(tmp_path, "alice"), a_key(tmp_path, "bob"), a_key(tmp_path, "root", Right.OPERATE)
    job_id = (await submitted(client, alice))["id"]
    job = await ended(client, job_id, alice)
    assert job["state"] == "succeeded"
    for path in ("", "/events", "/prompt"):
        assert await status(client, "GET", f"/jobs/{job_id}{path}", alice) == 200
        assert await status(client, "GET", f"/jobs/{job_id}{path}", root) == 200
        async with client.get(f"/jobs/{job_id}{path}", headers=bob) as theirs:
            foreign = await theirs.json()
        async with client.get(f"/jobs/unknown{path}", headers=bob) as nobodys:
            assert (nobodys.status, await nobodys.json()) == (404, foreign)
    assert await status(client, "DELETE", f"/jobs/{job_id}", bob) == 404
    assert await status(client, "DELETE", f"/jobs/{job_id}", alice) == 409
    assert await status(client, "GET", job["url"].removeprefix(LINKS)) == 200


async def test_another_key_cannot_cancel_a_job_and_an_operator_can(start: Service, tmp_path: Path) -> None:
    async with FakeComfyUI(run_seconds=30) as slow:
        client = await ready(await start(slow.url, api_keys="required"))
        alice, bob, root = a_key(tmp_path, "alice"), a_key(tmp_path, "bob"), a_key(tmp_path, "root", Right.OPERATE)
        job_id = (await submitted(client, alice))["id"]
        assert await status(client, "DELETE", f"/jobs/{job_id}", bob) == 404
        async with client.get(f"/jobs/{job_id}", headers=alice) as answer:
            assert (await answer.json())["state"] in ("queued", "running")
        assert await status(client, "DELETE", f"/jobs/{job_id}", root) in (200, 202)
        assert (await ended(client, job_id, alice))["state"] == "cancelled"


async def test_an_idempotency_key_is_each_callers_own(fake: FakeComfyUI, start: Service, tmp_path: Path) -> None:
    client = await ready(await start(fake.url, api_keys="required"))
    alice, bob = a_key(tmp_path, "alice"), a_key(tmp_path, "bob")
    once = {"Idempotency-Key": "once"}
    first = (await submitted(client, alice | once))["id"]
    assert (await submitted(client, alice | once))["id"] == first
    assert (await submitted(client, bob | once, seed=2))["id"] != first
    await submitted(client, alice | once, seed=2, status=409)


async def test_a_revoked_key_is_void_with_the_next_request_and_a_new_one_good(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    client = await ready(await start(fake.url, api_keys="required"))
    assert await status(client, "GET", "/widgets") == 401
    alice = a_key(tmp_path, "alice")
    job_id = (await submitted(client, alice))["id"]
    ApiKeys(tmp_path / "keys.json").revoke("alice")
    assert await status(client, "GET", f"/jobs/{job_id}", alice) == 401
    again = a_key(tmp_path, "alice")
    assert await status(client, "GET", "/widgets", again) == 200
    assert await status(client, "GET", f"/jobs/{job_id}", again) == 404


async def test_a_key_that_only_watches_runs_nothing(fake: FakeComfyUI, start: Service, tmp_path: Path) -> None:
    client = await ready(await start(fake.url, api_keys="required"))
    watcher = a_key(tmp_path, "watcher", Right.OPERATE)
    refused = await submitted(client, watcher, status=403)
    assert refused["code"] == "not_permitted"
    assert '"run"' in refused["detail"]
    assert await status(client, "GET", "/widgets", watcher) == 200


@pytest.mark.parametrize(
    ("settings", "asks"),
    [
        ({"host": "127.0.0.1"}, False),
        ({"host": "::1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "10.0.0.1"}, True),
        ({"host": "0.0.0.0", "api_keys": "off"}, False),
    ],
)
async def test_keys_are_asked_for_where_others_can_reach_the_service(
    settings: dict[str, str], asks: bool, fake: FakeComfyUI, start: Service, caplog: pytest.LogCaptureFixture
) -> None:
    client = await start(fake.url, **settings)
    assert await status(client, "GET", "/widgets") == (401 if asks else 200)
    assert ("there is no API key yet" in caplog.text) == asks
    assert ("api_keys is off" in caplog.text) == (settings.get("api_keys") == "off")


async def test_a_key_has_the_priorities_up_to_its_own(fake: FakeComfyUI, start: Service, tmp_path: Path) -> None:
    client = await ready(await start(fake.url, api_keys="required"))
    low, normal = a_key(tmp_path, "low", priority="low"), a_key(tmp_path, "normal")
    high = a_key(tmp_path, "high", priority="high")
    for headers, asked, expected in (
        (low, None, 202),
        (low, "low", 202),
        (low, "normal", 422),
        (normal, None, 202),
        (normal, "Normal", 202),
        (normal, "high", 422),
        (high, "high", 202),
    ):
        given = {} if asked is None else {"X-Priority": asked}
        answer = await submitted(client, headers | given, status=expected)
        if expected == 422:
            assert answer["errors"][0]["field"] == "X-Priority"


# Limits


async def test_a_rate_is_kept_by_each_key_for_itself_with_429_and_retry_after(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    client = await ready(await start(fake.url, api_keys="required"))
    alice, bob = a_key(tmp_path, "alice", rate=2), a_key(tmp_path, "bob")
    for _ in range(2):
        await submitted(client, alice)
    async with client.post("/widgets/inpaint", json=values(), headers=ASYNC | alice) as answer:
        refused = await answer.json()
        assert (answer.status, refused["code"], refused["retryable"]) == (429, "limit_reached", True)
        assert [error["field"] for error in refused["errors"]] == ["rate"]
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    await submitted(client, bob)
    assert await status(client, "GET", "/widgets", alice) == 200


async def test_jobs_at_once_are_kept_by_each_key_for_itself_and_a_replay_is_no_new_job(
    start: Service, tmp_path: Path
) -> None:
    async with FakeComfyUI(run_seconds=30) as slow:
        client = await ready(await start(slow.url, api_keys="required"))
        alice, bob = a_key(tmp_path, "alice", jobs=1), a_key(tmp_path, "bob", jobs=1)
        once = {"Idempotency-Key": "once"}
        job_id = (await submitted(client, alice | once))["id"]
        refused = await submitted(client, alice, status=429)
        assert [error["field"] for error in refused["errors"]] == ["jobs"]
        assert (await submitted(client, alice | once))["id"] == job_id
        await submitted(client, bob)
        assert await status(client, "DELETE", f"/jobs/{job_id}", alice) in (200, 202)
        await ended(client, job_id, alice)
        await submitted(client, alice)


async def test_pixels_and_steps_beyond_a_keys_limits_are_named_before_anything_runs(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    client = await ready(await start(fake.url, api_keys="required"))
    alice = a_key(tmp_path, "alice", steps=10, megapixels=0.01)
    for more, named in (({"steps": 11}, ["steps"]), ({}, ["image"])):
        refused = await submitted(client, alice, status=422, **more)
        assert [error["field"] for error in refused["errors"]] == named
    assert not fake.requests("POST /prompt")


async def test_a_key_that_sends_many_slow_requests_keeps_nobody_else_out(start: Service, tmp_path: Path) -> None:
    async with FakeComfyUI(run_seconds=1) as backend:
        client = await ready(await start(backend.url, api_keys="required"))
        mallory, alice = a_key(tmp_path, "mallory", jobs=2), a_key(tmp_path, "alice")
        lines = "".join(f"{name}: {value}\r\n" for name, value in mallory.items())
        head = f"POST /widgets/inpaint HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}Content-Length: 90000000\r\n\r\n{{"
        connections = [await asyncio.open_connection("127.0.0.1", client.server.port) for _ in range(70)]
        answers = [asyncio.ensure_future(reader.readline()) for reader, _ in connections]
        try:
            for _, writer in connections:
                writer.write(head.encode())
            async with asyncio.timeout(15):
                while sum(answer.done() for answer in answers) < 68:
                    await asyncio.sleep(0.05)
            assert {answer.result().split()[1] for answer in answers if answer.done()} == {b"429"}
            await submitted(client, alice)
        finally:
            for answer in answers:
                answer.cancel()
            for _, writer in connections:
                writer.close()
