"""Services in this process, for tests that need a backend which does as it is told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from orchestrator.app import create_app
from orchestrator.settings import Settings
from tests.integration.models import SD15, SD15_LORA, SDXL_LORA, UNET, write_header

Client = TestClient[web.Request, web.Application]
Service = Callable[..., Awaitable[Client]]
LINKS = "http://links.example"


def some_models(folder: Path) -> None:
    """A checkpoint "demo", one that is for inpainting, what is no checkpoint, LoRAs that fit and do not."""
    write_header(folder / "checkpoints" / "demo.safetensors", SD15)
    write_header(
        folder / "checkpoints" / "editing.safetensors", SD15 | {UNET + "input_blocks.0.0.weight": [320, 8, 3, 3]}
    )
    write_header(folder / "checkpoints" / "lora.safetensors", SD15_LORA)
    (folder / "checkpoints" / "torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    write_header(folder / "loras" / "fits.safetensors", SD15_LORA)
    write_header(folder / "loras" / "xl.safetensors", SDXL_LORA)


def nearly_full(data: Path) -> float:
    """A `store_gb` that leaves no room for another image: the least, with a byte of it used."""
    kept = data / "images" / f"{'i' * 32}.{int(time.time()) + 3600}.png"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(b"x")
    return 0.016


async def started(data: Path, **settings: Any) -> Client:
    """A service on this data folder; it listens, and may not be ready yet."""
    given = {"data": data, "public_url": LINKS, "disk_floor_gb": 0, "civitai_url": ""}
    client = TestClient(_Server(create_app(Settings.model_validate(given | settings))))
    await client.start_server()
    return client


async def ready(client: Client) -> Client:
    """The same, ready for a job."""
    async with asyncio.timeout(10):
        while (await client.get("/readyz")).status != 200:
            await asyncio.sleep(0.01)
    return client


class _Server(TestServer):
    """Lets a handler go on when its caller hangs up, as the service runs in earnest."""

    async def _make_runner(self, **options: Any) -> web.AppRunner:
        return web.AppRunner(self.app, **options | {"handler_cancellation": False, "shutdown_timeout": 0.2})


@dataclass(frozen=True)
class Told:
    """One server-sent event."""

    number: int
    kind: str
    data: dict[str, Any]


async def told(answer: ClientResponse) -> AsyncIterator[Told]:
    """The events of a stream, as they come."""
    fields: dict[str, str] = {}
    async for line in answer.content:
        name, colon, text = line.decode().rstrip("\n").partition(": ")
        if colon:
            fields[name] = text
        elif fields.get("data"):
            yield Told(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}
