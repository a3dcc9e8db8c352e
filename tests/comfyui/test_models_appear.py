"""A model that comes from Civitai while a real ComfyUI runs is used by it at once, without a restart."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from orchestrator.app import create_app
from orchestrator.demo_model.build import build
from orchestrator.settings import Settings
from tests.comfyui.backends import Backend, comfyui_arguments, free_port, started
from tests.fakes.civitai import FakeCivitai, Fixture

pytestmark = pytest.mark.comfyui

_READY_SECONDS = 60
BODY = {"model": 64094, "prompt": "a red heart <lora:87153:0.7>", "steps": 2, "seed": 1, "width": 128, "height": 128}


async def ready(client: TestClient[web.Request, web.Application]) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while (await client.get("/readyz")).status != 200:
            await asyncio.sleep(0.1)


def choices(backend: Backend, node: str, name: str) -> list[str]:
    listed: list[str] = backend.call(f"/object_info/{node}")[node]["input"]["required"][name][0]
    return listed


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    build(folder)
    return folder


def put_together(sources: Path) -> tuple[Fixture, Fixture]:
    """The demo model as version 64094, one of its LoRAs as 87153."""
    lora = sorted((sources / "loras").glob("*.safetensors"))[0]
    checkpoint = (sources / "checkpoints" / "demo.safetensors").read_bytes()
    return Fixture(64094, checkpoint), Fixture(87153, lora.read_bytes(), type="LORA")


async def test_a_fetched_checkpoint_and_lora_run_on_a_comfyui_that_was_there_before(
    sources: Path, tmp_path: Path, comfyui_installation: tuple[str, str]
) -> None:
    place, python = comfyui_installation
    data = tmp_path / "data"
    (data / "models").mkdir(parents=True)
    folder = tmp_path / "comfyui"
    folder.mkdir()
    with started(comfyui_arguments(python, data / "models", folder), folder, Path(place)) as backend:
        assert not choices(backend, "CheckpointLoaderSimple", "ckpt_name")  # it has looked, and remembers
        assert not choices(backend, "LoraLoader", "lora_name")
        async with FakeCivitai(*put_together(sources)) as fake:
            given = {"data": data, "disk_floor_gb": 0, "backends": [{"url": backend.url}]}
            given |= {"civitai_url": fake.url, "civitai_hosts": fake.hosts}
            async with TestClient(TestServer(create_app(Settings.model_validate(given)))) as client:
                await ready(client)
                async with client.post("/widgets/txt2img", json=BODY) as answer:
                    assert answer.status == 200, await answer.text()
            assert fake.requests["delivery"] == 4  # a look and a file each
        assert choices(backend, "CheckpointLoaderSimple", "ckpt_name") == ["64094-1064094.safetensors"]


async def test_a_comfyui_with_a_disk_of_its_own_fetches_models_from_the_service(
    sources: Path, tmp_path: Path, comfyui_installation: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, python = comfyui_installation
    folder, theirs, data = tmp_path / "comfyui", tmp_path / "theirs", tmp_path / "data"
    for made in (folder, theirs):
        made.mkdir()
    port = free_port()
    monkeypatch.setenv("ORCHESTRATOR_URL", f"http://127.0.0.1:{port}")
    with started(comfyui_arguments(python, theirs, folder), folder, Path(place)) as backend:
        async with FakeCivitai(*put_together(sources)) as fake:
            given = {"data": data, "disk_floor_gb": 0, "backends": [{"url": backend.url, "models": "fetch"}]}
            given |= {"civitai_url": fake.url, "civitai_hosts": fake.hosts, "public_url": f"http://127.0.0.1:{port}"}
            server = TestServer(create_app(Settings.model_validate(given)), port=port)
            async with TestClient(server) as client:
                await ready(client)
                for _ in range(2):
                    async with client.post("/widgets/txt2img", json=BODY) as answer:
                        assert answer.status == 200, await answer.text()
                refused = await client.get("/models/" + "0" * 64)
                assert refused.status == 403
    placed = next(folder.rglob("64094-*.safetensors"))  # in the first of ComfyUI's own folders
    assert placed.read_bytes() == fake.fixtures[64094].body
    assert not list(folder.rglob("*.part"))
