"""`orchestrator check` and `orchestrator backends`, against fakes."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import pytest

from orchestrator.cli import main
from tests.fakes.checkout import fake_checkout
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.stock import known_object_info
from tests.integration.pictures import plain, png
from tests.integration.services import ready, some_models, started


async def check(folder: Path, *backends: dict[str, object], arguments: tuple[str, ...] = ()) -> int:
    config = folder / "config.yaml"
    config.write_text(json.dumps({"backends": list(backends)}))
    return await asyncio.to_thread(main, ["check", "--config", str(config), "--data", str(folder), *arguments])


def sees(*checkpoints: str) -> dict[str, object]:
    catalog = json.loads(json.dumps(known_object_info()))
    catalog["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = [list(checkpoints)]
    return catalog


async def test_a_backend_that_has_all_it_needs_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeComfyUI(catalog_json=sees()) as fake:
        assert await check(tmp_path, {"url": fake.url, "name": "gpu"}) == 0
    said = capsys.readouterr()
    assert "gpu: ComfyUI 0.3.64" in said.out
    assert not said.err


async def test_what_keeps_jobs_from_a_backend_is_said_with_the_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some_models(tmp_path / "models")
    catalog = {name: node for name, node in sees("demo.safetensors").items() if not name.startswith("A1111")}
    async with FakeComfyUI(catalog_json=catalog, drops_results=False) as fake:
        assert await check(tmp_path, {"url": fake.url, "name": "gpu"}) == 1
        assert await check(tmp_path, {"url": fake.url, "name": "gpu"}, arguments=("--offline",)) == 0
    told = capsys.readouterr().err
    assert "error: gpu: it cannot run inpaint, for it lacks A1111InpaintConditioning" in told
    [unseen] = [line for line in told.splitlines() if "does not see" in line]
    assert "editing.safetensors" in unseen
    assert "demo.safetensors" not in unseen
    assert str(tmp_path / "models") in unseen
    assert "warning: gpu: it keeps the results" in told


async def test_a_backend_that_should_fetch_models_and_cannot_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeComfyUI(catalog_json=sees()) as fake:
        assert await check(tmp_path, {"url": fake.url, "name": "gpu", "models": "fetch"}) == 1
    assert "has not loaded the node pack orchestrator_models" in capsys.readouterr().err


async def test_a_backend_that_does_not_answer_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeComfyUI() as fake:
        pass
    assert await check(tmp_path, {"url": fake.url, "name": "gpu"}) == 1
    assert "error: gpu: it cannot be asked" in capsys.readouterr().err


async def test_a_managed_backend_is_looked_at_without_being_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fake_checkout(tmp_path / "ComfyUI", b"")
    managed = {"kind": "managed", "folder": str(folder), "python": sys.executable}
    assert await check(tmp_path, managed) == 0
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert await check(tmp_path, managed | {"port": other.getsockname()[1]}) == 0
    assert "somebody listens on port" in capsys.readouterr().err
    assert await check(tmp_path, managed | {"device": 99}) == 1
    assert "device 99 is set and PyTorch sees" in capsys.readouterr().err
    assert await check(tmp_path, managed | {"folder": str(tmp_path / "nowhere")}) == 1
    assert "no main.py" in capsys.readouterr().err
    assert await check(tmp_path, managed | {"folder": str(tmp_path / "nowhere")}, arguments=("--offline",)) == 1
    assert "no main.py" in capsys.readouterr().err
    assert not list(folder.glob("life-*"))


async def test_backends_needs_a_key_where_keys_are_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeComfyUI() as fake:
        client = await started(tmp_path, backends=[{"url": fake.url, "name": "gpu"}], api_keys="required")
        try:
            url = str(client.make_url("/"))
            assert await asyncio.to_thread(main, ["backends", "--url", url]) == 1
            assert "answers 401" in capsys.readouterr().err
            added = ["keys", "add", "watcher", "--may", "operate", "--no-run", "--data", str(tmp_path)]
            assert await asyncio.to_thread(main, added) == 0
            key = next(word for word in capsys.readouterr().out.split() if len(word) > 30)
            async with asyncio.timeout(30):
                while (await client.get("/readyz")).status != 200:
                    await asyncio.sleep(0.02)
            assert await asyncio.to_thread(main, ["backends", "--url", url, "--key", key]) == 0
        finally:
            await client.close()


async def test_backends_shows_what_the_running_service_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some_models(tmp_path / "models")
    catalog = {name: node for name, node in known_object_info().items() if name != "A1111InpaintMasks"}
    async with FakeComfyUI(result_png=png(plain()), catalog_json=catalog) as fake:
        client = await started(tmp_path, backends=[{"url": fake.url, "name": "gpu"}])
        try:
            await ready(client)
            url = str(client.make_url("/"))
            assert await asyncio.to_thread(main, ["backends", "--url", url]) == 0
            told = capsys.readouterr().out
            assert told.startswith("gpu ")
            assert "ready" in told
            assert "cannot run inpaint: lacks A1111InpaintMasks" in told
            assert await asyncio.to_thread(main, ["backends", "--url", url, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["backends"][0]["state"] == "ready"
            async with client.get("/widgets") as answer:
                widgets = {widget["name"]: widget for widget in (await answer.json())["widgets"]}
            assert widgets["txt2img"]["available"]
            assert widgets["inpaint"]["reason"] == "No backend has the node classes A1111InpaintMasks"
        finally:
            await client.close()
    assert await asyncio.to_thread(main, ["backends", "--url", url]) == 1
    assert "no service answers" in capsys.readouterr().err
