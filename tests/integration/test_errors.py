"""Everything that can be wrong with a request or behind it, against a backend that answers at once."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from PIL import Image

from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.faults import Faults
from tests.integration.pictures import box_mask, plain, text, values
from tests.integration.services import Service, nearly_full, ready


async def problem(client: TestClient[web.Request, web.Application], status: int, **more: object) -> dict[str, Any]:
    """Posts a quick job with `more` in it, expects the status, answers the problem."""
    headers = {"Content-Type": "application/json"}
    async with client.post(
        "/widgets/inpaint", data=io.BytesIO(json.dumps(values(**more)).encode()), headers=headers
    ) as answer:
        body: dict[str, Any] = await answer.json()
        assert answer.status == status, body
        assert answer.content_type == "application/problem+json"
        assert set(body) >= {"code", "detail", "errors", "retryable"}
        return body


def fields(body: dict[str, Any]) -> set[str]:
    return {error["field"] for error in body["errors"]}


async def test_all_bad_fields_are_named_at_once(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    bad = {"steps": 0, "cfg_scale": "much", "mask_blur": 65, "sampler": "DPM 2M", "seed": -2, "denoising_strength": 1.5}
    body = await problem(client, 422, **bad)
    assert fields(body) == set(bad)
    assert body["code"] == "invalid_parameters"
    assert "DPM++ 2M" in next(error["message"] for error in body["errors"] if error["field"] == "sampler")
    assert not fake.requests("POST /prompt")


def _bomb() -> str:
    file = io.BytesIO()
    Image.new("1", (30000, 30000)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"image": "!!! not base64"}, "image"),
        ({"image": ""}, "image"),
        ({"image": base64.b64encode(b"no picture at all").decode()}, "image"),
        ({"image": text(plain())[:200]}, "image"),
        ({"image": "http://127.0.0.1:9/x.png"}, "image"),
        ({"image": "http://169.254.169.254/latest/meta-data"}, "image"),
        ({"image": "http://localhost/x.png"}, "image"),
        ({"image": "ftp://example.org/x.png"}, "image"),
        ({"image": 7}, "image"),
        ({"mask": text(plain(size=(64, 128)))}, "mask"),
        ({"mask": text(Image.new("L", (128, 128)))}, "mask"),
        ({"mask": text(Image.new("L", (128, 128), 255)), "inpainting_mask_invert": 1}, "mask"),
        ({"mask": text(box_mask(margin=62)), "mask_blur": 16}, "mask"),
        ({"prompt": "a cat <lora:fits:heavy>"}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"model": "../etc/passwd"}, "model"),
    ],
)
async def test_bad_input_is_a_422_that_names_the_field(
    fake: FakeComfyUI, start: Service, more: dict[str, object], field: str
) -> None:
    client = await ready(await start(fake.url))
    assert fields(await problem(client, 422, **more)) == {field}
    assert not fake.requests("POST /prompt")


async def test_a_decompression_bomb_is_refused_unread(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    assert fields(await problem(client, 422, image=_bomb())) == {"image"}


@pytest.mark.parametrize(
    ("more", "status", "field", "says"),
    [
        ({"model": "64094"}, 404, "model", "demo"),
        ({"model": ""}, 404, "model", "64094"),
        ({"prompt": "x <lora:nothing>"}, 404, "prompt", "nothing"),
        ({"prompt": "x <lora:xl:0.5>"}, 422, "prompt", "sdxl"),
        ({"model": "editing"}, 422, "model", "8 channels"),
        ({"model": "lora"}, 422, "model", "not a Stable Diffusion checkpoint"),
        ({"model": "torn"}, 422, "model", "safetensors"),
    ],
)
async def test_a_model_that_cannot_be_used_is_refused_before_the_run(
    fake: FakeComfyUI, start: Service, more: dict[str, object], status: int, field: str, says: str
) -> None:
    client = await ready(await start(fake.url))
    body = await problem(client, status, **more)
    assert fields(body) == {field}
    assert says in body["errors"][0]["message"]
    assert not fake.requests("POST /prompt")


async def test_a_20000_character_prompt_is_accepted(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    async with client.post("/widgets/inpaint", json=values(prompt="red heart " * 2000)) as answer:
        assert answer.status == 200, await answer.text()
    assert len(json.dumps(fake.requests("POST /prompt")[0])) > 20_000


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1, 2]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"", "application/json", 400),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x", 400),
        (b"nothing", "multipart/form-data", 400),
        (b"{}", "application/json", 422),
    ],
)
async def test_a_body_that_is_not_what_it_says_is_a_problem(
    fake: FakeComfyUI, start: Service, data: bytes, content_type: str, status: int
) -> None:
    client = await ready(await start(fake.url))
    async with client.post("/widgets/inpaint", data=data, headers={"Content-Type": content_type}) as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == "application/problem+json"


async def test_a_body_over_the_limit_is_a_413(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url, body_mb=1))
    assert (await problem(client, 413, image="A" * 2_000_000))["code"] == "body_too_large"
    form = aiohttp.FormData()
    form.add_field("image", io.BytesIO(b"\0" * 2_000_000), filename="x.png")
    async with client.post("/widgets/inpaint", data=form) as answer:
        assert answer.status == 413


async def test_unknown_paths_and_methods_are_problems(fake: FakeComfyUI, start: Service) -> None:
    client = await start(fake.url)
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("PUT", "/jobs/none", 405),
        ("POST", "/widgets/outpaint", 404),
        ("GET", "/widgets/outpaint", 404),
        ("GET", "/jobs/none", 404),
    ):
        async with client.request(method, path) as answer:
            assert answer.status == status
            assert answer.content_type == "application/problem+json"


async def test_a_link_must_be_signed_and_current(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    async with client.post("/widgets/inpaint", json=values()) as answer:
        url = (await answer.json())["url"]
    assert url.startswith("http://links.example/images/")
    path = url.removeprefix("http://links.example")
    assert (await client.get(path)).status == 200
    assert (await client.get(path[:-1] + ("A" if path[-1] != "A" else "B"))).status == 403
    assert (await client.get(path.split("?")[0])).status == 403
    stretched = path.replace("expires=", "expires=9")
    assert (await client.get(stretched)).status == 403


async def test_a_full_store_refuses_before_the_run(fake: FakeComfyUI, start: Service, tmp_path: Path) -> None:
    client = await ready(await start(fake.url, store_gb=nearly_full(tmp_path)))
    body = await problem(client, 507)
    assert body["code"] == "storage_full"
    assert body["retryable"] is True
    assert not fake.requests("POST /prompt")


async def test_too_many_waiting_jobs_are_a_429_with_retry_after(start: Service) -> None:
    async with FakeComfyUI(run_seconds=1.0) as slow:
        client = await ready(await start(slow.url, queue_limit=1))
        jobs = [asyncio.create_task(client.post("/widgets/inpaint", json=values())) for _ in range(6)]
        answers = await asyncio.gather(*jobs)
        # One runs, one waits at the backend, one in the queue, depending on who comes when.
        statuses = sorted(answer.status for answer in answers)
        assert statuses[:2] == [200, 200]
        assert statuses[3:] == [429, 429, 429]
        refused = next(answer for answer in answers if answer.status == 429)
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await refused.json())["retryable"] is True


async def test_more_requests_at_once_than_may_wait_are_refused_before_their_bodies_are_read(
    fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url, queue_limit=1))
    head = b"POST /widgets/inpaint HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    unfinished = head + b"Content-Length: 9\r\n\r\n{"
    writers = []
    for _ in range(2):  # one may wait, and one be at the backend
        _, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(unfinished)
        await writer.drain()
        writers.append(writer)
    statuses = [200]
    async with asyncio.timeout(30):
        while statuses[-1] == 200:  # until both have come in
            async with client.post("/widgets/inpaint", json=values()) as answer:
                statuses.append(answer.status)
        assert statuses[-1] == 429
        for writer in writers:
            writer.close()
        while statuses[-1] == 429:
            async with client.post("/widgets/inpaint", json=values()) as answer:
                statuses.append(answer.status)
    assert statuses[-1] == 200


@asynccontextmanager
async def full(start: Service) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A service whose queue is full, with nobody in the door."""
    async with FakeComfyUI(run_seconds=60.0) as endless:
        client = await ready(await start(endless.url, queue_limit=1))
        status = 202
        async with asyncio.timeout(30):
            while status == 202:
                async with client.post(
                    "/widgets/inpaint", json=values(), headers={"Prefer": "respond-async"}
                ) as answer:
                    status = answer.status
        assert status == 429
        yield client


async def test_a_full_queue_refuses_before_it_looks_at_the_pictures(start: Service) -> None:
    async with full(start) as client:
        body = await problem(client, 429, image=base64.b64encode(b"no picture at all").decode())
        assert body["code"] == "queue_full"


async def test_myshells_callers_are_told_when_to_come_again(start: Service) -> None:
    async with full(start) as client:
        envelope = {"widget_id": "1782399147535691776", "input": values()}
        async with client.post("/public/v1/widget/run", json=envelope) as answer:
            assert answer.status == 429
            assert int(answer.headers["Retry-After"]) >= 1
            assert (await answer.json())["retryable"] is True


async def test_no_backend_is_a_503(start: Service) -> None:
    client = await start("http://127.0.0.1:9")
    body = await problem(client, 503)
    assert body["code"] == "no_backend"
    assert body["retryable"] is True
    assert (await client.get("/healthz")).status == 200
    assert (await client.get("/readyz")).status == 503


async def test_a_slow_backend_is_a_504_and_the_job_is_cancelled_there(start: Service) -> None:
    async with FakeComfyUI(run_seconds=30.0) as slow:
        client = await ready(await start(slow.url, deadline_seconds=0.3))
        assert (await problem(client, 504))["code"] == "backend_timeout"
        assert slow.requests("POST /interrupt")


async def test_a_node_that_fails_is_a_502_that_names_it(start: Service) -> None:
    async with FakeComfyUI(faults=Faults(raise_in="A1111Sampler")) as broken:
        client = await ready(await start(broken.url))
        body = await problem(client, 502)
        assert body["code"] == "execution_failed"
        assert "Sampler" in body["detail"]


async def test_myshells_errors_keep_the_status_and_the_envelope(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    for body, status in (
        ({"widget_id": "1782399147535691776", "input": values(steps=0)}, 422),
        ({"widget_id": "1782399147535691776", "input": "no json"}, 422),
        ({"widget_id": "1", "input": {}}, 404),
        ([], 400),
    ):
        async with client.post("/public/v1/widget/run", json=body) as answer:
            assert answer.status == status
            failure = await answer.json()
            assert failure["success"] is False
            assert failure["error_code"]
            assert failure["msg"]


async def test_a_parameter_that_a_form_has_twice_is_named_and_what_is_none_is_ignored(
    fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url))
    form = aiohttp.FormData(default_to_multipart=True)
    for name in ("steps", "tags"):
        for value in ("1", "2"):
            form.add_field(name, value)
    async with client.post("/widgets/txt2img", data=form) as answer:
        assert answer.status == 422
        complaint = {"field": "steps", "message": "is given more than once"}
        assert complaint in (await answer.json())["errors"]
        assert answer.headers["X-Ignored-Parameters"] == "tags"


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
async def test_a_text_that_is_too_long_is_told_so_however_large_its_body(
    fake: FakeComfyUI, start: Service, field: str
) -> None:
    client = await ready(await start(fake.url))
    for long in ("a " * 50_000, "红" * 50_000):
        refused = await problem(client, 422, **{field: long})
        assert [error["field"] for error in refused["errors"]] == [field]
        assert refused["errors"][0]["message"].startswith("must be at most 20000 characters long")
    assert not fake.requests("POST /prompt")


async def test_samplers_are_listed_with_what_runs_and_what_is_refused(fake: FakeComfyUI, start: Service) -> None:
    client = await start(fake.url)
    listed = await (await client.get("/samplers")).json()
    default = next(one for one in listed["samplers"] if one["name"] == "DPM++ 2M Karras")
    assert default == {
        "name": "DPM++ 2M Karras",
        "aliases": ["k_dpmpp_2m_ka"],
        "sampler_name": "dpmpp_2m",
        "scheduler": "karras",
    }
    uni_pc = next(one for one in listed["samplers"] if one["name"] == "UniPC")
    assert "WebUI starts one step lower" in uni_pc["note"]
    assert {one["name"] for one in listed["refused"]} == {"Restart", "PLMS", "DDIM CFG++"}
    assert {one["nearest"] for one in listed["refused"]} <= {one["name"] for one in listed["samplers"]}


async def test_widgets_and_openapi_tell_the_same_parameters(fake: FakeComfyUI, start: Service) -> None:
    client = await start(fake.url)
    listed = await (await client.get("/widgets")).json()
    assert {widget["name"] for widget in listed["widgets"]} >= {"inpaint", "txt2img"}
    schema = await (await client.get("/widgets/inpaint")).json(content_type=None)
    described = await (await client.get("/openapi.json")).json()
    body = described["paths"]["/widgets/inpaint"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == schema
    assert schema["properties"]["steps"]["default"] == 25
    assert set(schema["required"]) == {"image", "mask", "model", "prompt"} or set(schema["required"]) == {
        "image",
        "mask",
        "prompt",
    }
