"""A running service takes up what artists change, and keeps what it has where they err."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from orchestrator.app import create_app
from orchestrator.settings import RemoteBackend, Settings

WORKFLOWS = Path(__file__).parents[2] / "workflows"
Client = Callable[[web.Application], Awaitable[TestClient[web.Request, web.Application]]]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_a_changed_workflow_is_served_and_a_faulty_one_is_not(
    tmp_path: Path, aiohttp_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "workflows"
    shutil.copytree(WORKFLOWS / "txt2img", folder / "txt2img")
    settings = Settings(
        data=tmp_path, workflows=folder, backends=(RemoteBackend(url="http://127.0.0.1:9"),), disk_floor_gb=0
    )
    client = await aiohttp_client(create_app(settings))

    async def listed() -> dict[str, Any]:
        async with client.get("/widgets") as answer:
            return {widget["name"]: widget["title"] for widget in (await answer.json())["widgets"]}

    async def renamed() -> bool:
        return await listed() == {"txt2img": "Words to picture"}

    async def doubled() -> bool:
        return "txt2img-2" in await listed()

    async def refused() -> bool:
        return "txt2img changed and cannot be used, the widget stays as it was" in caplog.text

    definition = folder / "txt2img" / "widget.yaml"
    definition.write_text(definition.read_text("utf-8").replace("Text to image", "Words to picture"), "utf-8")
    await until(renamed)
    definition.write_text("title: Broken", "utf-8")
    shutil.copytree(WORKFLOWS / "txt2img", folder / "txt2img-2")
    await until(doubled)
    await until(refused)
    assert await listed() == {"txt2img": "Words to picture", "txt2img-2": "Text to image"}
