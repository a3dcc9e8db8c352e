"""What a refusal tells besides its words: when to come again, which job it was, and in whose form."""

import json
import logging
from pathlib import Path

import pytest

from orchestrator.api.keys import STORE
from orchestrator.callers.caller import Right
from orchestrator.pipeline import Reception
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.callers import a_key
from tests.integration.pictures import values
from tests.integration.services import LINKS, Service, nearly_full, ready


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


async def test_a_full_store_says_when_to_come_again(fake: FakeComfyUI, start: Service, tmp_path: Path) -> None:
    client = await ready(await start(fake.url, store_gb=nearly_full(tmp_path)))
    async with client.post("/widgets/inpaint", json=values()) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (507, "60")
        assert "X-Job-Id" not in answer.headers


async def test_what_is_no_fault_is_no_error_in_the_log_and_lines_name_their_job(
    start: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="orchestrator.api.problems")
    async with FakeComfyUI(run_seconds=2.0) as slow:
        client = await ready(await start(slow.url, store_gb=0.016))
        jobs = {}
        for status, level, headers in ((504, "INFO", {"Prefer": "wait=1"}), (502, "ERROR", {}), (507, "WARNING", {})):
            if status == 507:
                nearly_full(tmp_path)
                await client.app[STORE].sweep()
            slow.faults.raise_in = "VAEDecode" if status == 502 else ""
            async with client.post("/widgets/inpaint", json=values(seed=status), headers=headers) as answer:
                assert answer.status == status
                jobs[level] = answer.headers.get("X-Job-Id")
    told = [record for record in caplog.records if record.name == "orchestrator.api.problems"]
    assert {record.levelname: getattr(record, "job", None) for record in told} == jobs


async def test_all_headers_at_fault_are_named_at_once(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    faulty = {
        "Idempotency-Key": "",
        "X-Priority": "urgent",
        "X-Cancel-On-Disconnect": "yes",
        "X-Webhook-URL": "zz",
    }
    for path in ("/widgets/inpaint", "/public/v1/widget/run"):
        async with client.post(path, json=values(), headers=faulty) as answer:
            told = await answer.json()
            assert (answer.status, told.get("code", told.get("error_code"))) == (422, "invalid_parameters")
            assert [error["field"] for error in told["errors"]] == list(faulty)


@pytest.mark.parametrize(("word", "status"), [("1", 422), ("yes", 422), ("", 422), ("False", 202), ("TRUE", 202)])
async def test_hanging_up_means_what_it_says_or_is_refused(
    word: str, status: int, fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url))
    asked = {"X-Cancel-On-Disconnect": word, "Prefer": "respond-async"}
    async with client.post("/widgets/inpaint", json=values(), headers=asked) as answer:
        assert answer.status == status
        if status == 422:
            (complaint,) = (await answer.json())["errors"]
            assert complaint == {"field": "X-Cancel-On-Disconnect", "message": "must be one of true, false"}


async def test_a_misspelt_parameter_is_named_when_the_request_is_refused_for_it(
    fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url))
    body = values(sampler_name="LCM", init_images="x", steps=0)
    del body["image"]
    for path, sent in (("/widgets/inpaint", body), ("/public/v1/widget/run", {"widget_id": "inpaint", "input": body})):
        async with client.post(path, json=sent) as answer:
            assert answer.status == 422
            assert answer.headers["X-Ignored-Parameters"] == "sampler_name, init_images"
            image, steps = (await answer.json())["errors"]
            assert image == {"field": "image", "message": 'is required ("init_images" is not known)'}
            assert steps["message"].endswith("got 0")
    async with client.post("/widgets/inpaint", json=values(steps=0)) as answer:
        assert "X-Ignored-Parameters" not in answer.headers


async def test_the_envelope_names_what_it_lacks(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    async with client.post("/public/v1/widget/run", json={"widget_id": "inpaint", "inputs": values()}) as answer:
        assert answer.status == 422
        complaint = {"field": "input", "message": 'is required ("inputs" is not known)'}
        assert (await answer.json())["errors"] == [complaint]


async def test_who_speaks_in_the_envelope_may_come_back_for_the_job_too(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    asked = {"Prefer": "respond-async", "x-myshell-openapi-trace-id": "t1"}
    body = {"widget_id": "inpaint", "input": values()}
    async with client.post("/public/v1/widget/run", json=body, headers=asked) as answer:
        job = await answer.json()
        assert (answer.status, answer.headers["Location"]) == (202, f"{LINKS}/jobs/{job['id']}")
        assert answer.headers["x-myshell-openapi-trace-id"] == "t1"
    assert job["widget"] == "inpaint"


async def test_a_wait_that_is_over_as_asked_is_no_error_in_the_log(
    start: Service, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeComfyUI(run_seconds=30) as slow:
        client = await ready(await start(slow.url))
        with caplog.at_level(logging.INFO):
            async with client.post("/widgets/inpaint", json=values(), headers={"Prefer": "wait=0"}) as answer:
                assert answer.status == 504
    (told,) = [record for record in caplog.records if "it goes on" in record.getMessage()]
    assert told.levelno == logging.INFO


async def test_every_refusal_of_values_begins_alike_and_names_the_fields(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    for given, headers, field in (
        (values(steps=0), {}, "steps"),
        (values(image="!!"), {}, "image"),
        (values(), {"X-Webhook-URL": "zz"}, "X-Webhook-URL"),
        (values(), {"X-Priority": "zz"}, "X-Priority"),
    ):
        async with client.post("/widgets/inpaint", json=given, headers=headers) as answer:
            assert (await answer.json())["detail"] == f"This parameter cannot be used: {field}"
