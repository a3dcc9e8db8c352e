"""The whole service with models that only Civitai's stand-in has, on a backend that answers at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from orchestrator.api.keys import ENGINE
from orchestrator.app import create_app
from orchestrator.errors import SettingsError
from orchestrator.settings import Settings
from tests.fakes.civitai import FakeCivitai, Fixture, model_file
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.models import SDXL_LORA
from tests.integration.pictures import plain, png, values
from tests.unit.models.supply import checkpoint_file, lora_file

Client = TestClient[web.Request, web.Application]
Service = Callable[..., Awaitable[Client]]


@pytest.fixture
async def civitai() -> AsyncIterator[FakeCivitai]:
    fixtures = (
        Fixture(64094, checkpoint_file()),
        Fixture(87153, lora_file(), type="LORA"),
        Fixture(8, model_file(SDXL_LORA), type="LORA", base_model="SDXL 1.0"),
        Fixture(9, checkpoint_file(), base_model="SD 3.5"),
    )
    async with FakeCivitai(*fixtures) as fake:
        yield fake


@pytest.fixture
async def backend() -> AsyncIterator[FakeComfyUI]:
    async with FakeComfyUI(result_png=png(plain())) as fake:
        yield fake


@pytest.fixture
async def client(civitai: FakeCivitai, backend: FakeComfyUI, tmp_path: Path) -> AsyncIterator[Client]:
    given = {"data": tmp_path, "public_url": "http://links.example", "disk_floor_gb": 0}
    given |= {"backends": [{"url": backend.url}], "civitai_url": civitai.url, "civitai_hosts": civitai.hosts}
    async with TestClient(TestServer(create_app(Settings.model_validate(given)))) as opened:
        async with asyncio.timeout(10):
            while (await opened.get("/readyz")).status != 200:
                await asyncio.sleep(0.01)
        yield opened


async def post(client: Client, **more: object) -> tuple[int, dict[str, Any]]:
    async with client.post("/widgets/inpaint", json=values(**more)) as answer:
        return answer.status, await answer.json()


async def test_a_number_becomes_a_checked_file_on_the_backend(
    client: Client, civitai: FakeCivitai, backend: FakeComfyUI, tmp_path: Path
) -> None:
    prompt = "a heart <lora:87153:0.5> <lora:urn:air:sd1:lora:civitai:2087153@87153:0.2>"
    status, body = await post(client, model=64094, prompt=prompt)
    assert status == 200, body
    sent = str(backend.requests("POST /prompt")[0])
    assert "64094-1064094.safetensors" in sent
    assert "87153-1087153.safetensors" in sent
    assert (tmp_path / "models" / "checkpoints" / "64094-1064094.safetensors").is_file()
    asked = sum(civitai.requests.values())
    assert (await post(client, model="urn:air:sd1:checkpoint:civitai:2064094@64094", prompt=prompt))[0] == 200
    assert sum(civitai.requests.values()) == asked


async def test_ten_jobs_for_one_uncached_model_download_it_once(client: Client, civitai: FakeCivitai) -> None:
    answers = await asyncio.gather(*(post(client, model=64094, seed=number) for number in range(10)))
    assert [status for status, _ in answers] == [200] * 10
    assert civitai.requests["delivery"] == 2  # a look and the file


async def test_a_job_tells_how_far_its_model_has_come(client: Client, civitai: FakeCivitai) -> None:
    civitai.fixtures[64094].pause = 0.02
    running = asyncio.create_task(post(client, model=64094))
    seen: list[dict[str, Any]] = []
    while not running.done():
        ids = await client.server.app[ENGINE].unfinished()  # type: ignore[attr-defined]
        seen += [await (await client.get(f"/jobs/{job_id}")).json() for job_id in ids]
        await asyncio.sleep(0.02)
    assert (await running)[0] == 200
    fetching = [job for job in seen if job["state"] == "fetching"]
    under_way = [job for job in fetching if job["received_bytes"] and job["bytes_per_second"]]
    assert under_way, fetching
    assert under_way[-1]["model"] == "Model 64094 v1.0"
    assert 0 < under_way[-1]["received_bytes"] <= under_way[-1]["total_bytes"]
    assert under_way[-1]["bytes_per_second"] > 0
    assert under_way[-1]["seconds_left"] is not None


@pytest.mark.parametrize(
    ("more", "status", "code", "field", "says"),
    [
        ({"model": 2064094}, 404, "model_not_found", "model", "give one of its versions: 64094"),
        ({"model": 5}, 404, "model_not_found", "model", "check the id"),
        ({"model": 9}, 422, "model_mismatch", "model", "SD 3.5"),
        ({"model": 87153}, 422, "model_mismatch", "model", "<lora:87153:1>"),
        ({"model": "urn:air:sd1:lora:civitai:1@2"}, 404, "model_not_found", "model", "a checkpoint is asked for"),
        ({"prompt": "x <lora:8:1>", "model": 64094}, 422, "model_mismatch", "prompt", "8 is made for sdxl"),
        ({"prompt": "x <lora:64094:1>", "model": 64094}, 422, "model_mismatch", "prompt", "of the type Checkpoint"),
    ],
)
async def test_what_can_not_work_is_refused_before_the_run_and_before_the_traffic(
    client: Client,
    civitai: FakeCivitai,
    backend: FakeComfyUI,
    more: dict[str, Any],
    status: int,
    code: str,
    field: str,
    says: str,
) -> None:
    got, body = await post(client, **more)
    assert (got, body["code"]) == (status, code)
    assert body["errors"][0]["field"] == field
    assert says in body["detail"]
    assert civitai.sent_bytes <= 3 << 20
    assert not backend.requests("POST /prompt")


@pytest.mark.parametrize(
    ("fault", "status", "code", "says"),
    [
        ("early", 403, "model_gated", "early access"),
        ("archived", 410, "model_gone", "another version"),
        ("region", 451, "model_region_blocked", "region"),
        ("disabled", 403, "model_gated", "downloads off"),
    ],
)
async def test_civitais_refusals_reach_the_caller_with_what_to_do(
    client: Client, civitai: FakeCivitai, fault: str, status: int, code: str, says: str
) -> None:
    civitai.fixtures[64094].fault = fault
    got, body = await post(client, model=64094)
    assert (got, body["code"]) == (status, code)
    assert says in body["detail"]


async def test_when_civitai_wants_quiet_the_caller_is_told_how_long(client: Client, civitai: FakeCivitai) -> None:
    civitai.api_fault = [(429, {"error": "slow down"}, {"Retry-After": "77"})]
    async with client.post("/widgets/inpaint", json=values(model=64094)) as answer:
        assert answer.status == 503
        assert 70 <= int(answer.headers["Retry-After"]) <= 77
        assert (await answer.json())["retryable"] is True


async def test_what_may_pass_does_not_hide_what_never_will(client: Client, civitai: FakeCivitai) -> None:
    civitai.api_fault = [(429, {"error": "slow down"}, {"Retry-After": "77"})]
    async with client.post("/widgets/inpaint", json=values(model=64094, prompt="x <lora:nope:1>")) as answer:
        body = await answer.json()
    assert (answer.status, body["code"], body["retryable"]) == (404, "model_not_found", False)
    assert [error["field"] for error in body["errors"]] == ["prompt"]
    assert "Retry-After" not in answer.headers


async def test_a_civitai_url_that_is_not_allowed_stops_the_start(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, civitai_url="https://evil.example")
    with pytest.raises(SettingsError, match="civitai_hosts"):
        create_app(settings)
