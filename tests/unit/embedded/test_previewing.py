"""Previews: what a latent looks like, and how the picture reaches a client."""

import asyncio
import io
import json
from pathlib import Path

import pytest
import torch
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from orchestrator.demo_model.build import build
from orchestrator.embedded.checkpoint import Shelf
from orchestrator.embedded.sockets import Sockets
from orchestrator.embedded.vae import LATENT_SCALE

SHOWN = {"prompt_id": "p", "node_id": "3"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build(folder)
    return folder / "checkpoints" / "demo.safetensors"


@torch.inference_mode()
def test_a_preview_has_the_colours_of_the_picture_that_its_latent_is(demo: Path) -> None:
    checkpoint = Shelf().checkpoint(demo)
    for colour in ((0.9, 0.1, 0.1), (0.1, 0.7, 0.2), (0.95, 0.95, 0.95), (0.1, 0.2, 0.8)):
        picture = torch.tensor(colour).expand(1, 64, 96, 3).contiguous()
        preview = checkpoint.mixture.picture(checkpoint.vae.encode(picture) * LATENT_SCALE)
        assert preview.size == (96, 64)
        middle = torch.tensor(preview.getpixel((48, 32))) / 255
        assert float((middle - torch.tensor(colour)).abs().max()) < 0.25


def test_a_preview_is_small_however_large_the_latent(demo: Path) -> None:
    mixture = Shelf().checkpoint(demo).mixture
    assert mixture.picture(torch.zeros(2, 4, 128, 64)).size == (128, 256)


async def frames(socket: object, count: int) -> list[bytes]:
    heard: list[bytes] = []
    async with asyncio.timeout(30):
        async for message in socket:  # type: ignore[attr-defined]
            if message.type is WSMsgType.BINARY:
                heard.append(message.data)
                if len(heard) == count:
                    break
    return heard


async def test_a_client_gets_previews_in_the_form_that_it_reads_and_not_too_often() -> None:
    sockets = Sockets(asyncio.get_running_loop(), lambda _: [])
    app = web.Application()
    app.router.add_get("/ws", sockets.serve)
    looks = 0

    def look() -> Image.Image:
        nonlocal looks
        looks += 1
        return Image.new("RGB", (16, 16), (looks, 0, 0))

    async with TestClient(TestServer(app)) as client:
        sockets.show(look, SHOWN, "nobody")
        sockets.show(look, SHOWN, None)
        assert looks == 0
        async with client.ws_connect("/ws?clientId=me") as socket:
            for _ in range(20):
                sockets.show(look, SHOWN, "me")
            assert looks == 1
            (frame,) = await frames(socket, 1)
            assert frame[:8] == bytes([0, 0, 0, 1, 0, 0, 0, 1])
            assert Image.open(io.BytesIO(frame[8:])).size == (16, 16)
            await socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
            assert (await socket.receive_json())["type"] == "feature_flags"
            await asyncio.sleep(0.15)
            sockets.show(look, SHOWN, "me")
            (frame,) = await frames(socket, 1)
            length = int.from_bytes(frame[4:8])
            assert frame[:4] == bytes([0, 0, 0, 4])
            assert json.loads(frame[8 : 8 + length]) == SHOWN | {"image_type": "image/jpeg"}
            assert Image.open(io.BytesIO(frame[8 + length :])).format == "JPEG"
        await sockets.close()
