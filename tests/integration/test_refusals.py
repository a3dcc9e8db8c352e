"""What a refusal tells besides its words: when to come again, which job it was, and in whose form."""

import json
import logging
from pathlib import Path

import pytest

from orchestrator.callers.caller import Right
from orchestrator.pipeline import Reception
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.callers import a_key
from tests.integration.pictures import values
from tests.integration.services import LINKS, Service, ready


async def test_myshells_callers_get_every_error_in_their_envelope_with_their_trace(
    fake: FakeComfyUI, start: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await ready(await start(fake.url, api_keys="required"))
    path, trace = "/public/v1/widget/run", {"x-myshell-openapi-trace-id": "t1"}
    alice, watcher = a_key(tmp_path, "alice"), a_key(tmp_path, "watcher", Right.OPERATE)

    def broken(*_: object) -> None:
        raise ValueError("our own fault")

    monkeypatch.setattr(Reception, "widget", broken)
    body = {"widget_id": "inpaint", "input": values()}
    for method, key, status, code in (
        ("POST", {}, 401, "key_needed"),
        ("POST", watcher, 403, "not_permitted"),
        ("PUT", alice, 405, "method_not_allowed"),
        ("POST", alice, 500, "internal_error"),
    ):
        async with client.request(method, path, json=body, headers=trace | key) as answer:
            told = await answer.json()
            assert (answer.status, told["success"], told["error_code"]) == (status, False, code)
            assert set(told) == {"success", "error_code", "error_head", "msg", "errors", "retryable"}
            assert answer.headers["x-myshell-openapi-trace-id"] == "t1"
            assert ("WWW-Authenticate" in answer.headers) is (status == 401)
            assert ("POST" in answer.headers.get("Allow", "")) is (status == 405)


async def test_who_waits_for_a_job_that_fails_is_told_which(start: Service) -> None:
    async with FakeComfyUI() as backend:
        backend.faults.raise_in = "A1111Sampler"
        client = await ready(await start(backend.url))
        async with client.post("/widgets/inpaint", json=values()) as answer:
            assert answer.status == 502
            assert answer.headers["Location"] == f"{LINKS}/jobs/{answer.headers['X-Job-Id']}"
        async with client.get(f"/jobs/{answer.headers['X-Job-Id']}") as job:
            assert (await job.json())["code"] == "execution_failed"


async def test_a_prompt_that_only_the_backend_finds_too_long_is_a_422_that_names_it(
    start: Service, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeComfyUI() as backend:
        backend.faults.raise_in = "A1111Prompt"
        backend.faults.raised = ("orchestrator_pack_a1111_inpaint.prompt.TooLong", "the prompt is too much to read\n")
        client = await ready(await start(backend.url))
        async with client.post("/widgets/inpaint", json=values()) as answer:
            told = await answer.json()
        assert (answer.status, told["code"]) == (422, "invalid_parameters")
        assert told["errors"] == [{"field": "prompt", "message": "the prompt is too much to read"}]
        assert "orchestrator_pack" not in json.dumps(told)
        async with client.get(f"/jobs/{answer.headers['X-Job-Id']}") as job:
            assert (await job.json())["code"] == "invalid_parameters"
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


async def test_no_backend_says_when_to_come_again(start: Service) -> None:
    client = await start("http://127.0.0.1:9")
    async with client.post("/widgets/inpaint", json=values()) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_a_full_store_says_when_to_come_again(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url, store_gb=0.001))
    async with client.post("/widgets/inpaint", json=values()) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (507, "60")
        assert "X-Job-Id" not in answer.headers
