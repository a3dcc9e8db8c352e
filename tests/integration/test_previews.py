"""The picture so far, as listeners to a job's events see it."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator

import pytest

from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import plain, png
from tests.integration.services import Client, Service, Told, ready, told
from tests.integration.test_jobs import post

JPEG = b"\xff\xd8 a picture"
ADDRESS = "data:image/jpeg;base64,/9ggYSBwaWN0dXJl"


@pytest.fixture
async def endless() -> AsyncIterator[FakeComfyUI]:
    async with FakeComfyUI(result_png=png(plain()), run_seconds=600, steps=6000) as backend:
        yield backend


def described(job_id: str, jpeg: bytes = JPEG) -> bytes:
    said = json.dumps({"prompt_id": job_id, "node_id": "14", "image_type": "image/jpeg"}).encode()
    return struct.pack(">II", 4, len(said)) + said + jpeg


def bare(jpeg: bytes = JPEG) -> bytes:
    return struct.pack(">II", 1, 1) + jpeg


async def watched(client: Client, job_id: str, backend: FakeComfyUI, *frames: bytes) -> list[Told]:
    """What a listener is told until a preview comes, while the backend sends these frames again and again."""

    async def send() -> None:
        while True:
            for frame in frames:
                for socket in backend.sockets.values():
                    await socket.send_bytes(frame)
                await asyncio.sleep(0.05)

    sending = asyncio.create_task(send())
    heard: list[Told] = []
    try:
        async with asyncio.timeout(30), client.get(f"/jobs/{job_id}/events") as answer:
            async for event in told(answer):
                heard.append(event)
                if event.kind == "preview":
                    return heard
    finally:
        sending.cancel()
        await asyncio.wait({sending})
    return heard


@pytest.mark.parametrize("with_metadata", [True, False])
async def test_a_listener_is_told_the_newest_preview_as_a_data_url(
    endless: FakeComfyUI, start: Service, with_metadata: bool
) -> None:
    client = await ready(await start(endless.url))
    job = await post(client)
    frame = described(job["id"]) if with_metadata else bare()
    heard = await watched(client, job["id"], endless, frame)
    assert heard[-1].data["image"] == ADDRESS
    numbers = [event.number for event in heard]
    assert numbers == sorted(set(numbers))
    await client.delete(f"/jobs/{job['id']}")


async def test_pictures_that_are_none_of_the_job_or_too_large_are_left_out(
    endless: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(endless.url))
    job = await post(client)
    others = described("another"), described(job["id"], b"x" * 600_000), struct.pack(">II", 1, 2) + b"\x89PNG"
    heard = await watched(client, job["id"], endless, *others, described(job["id"]))
    assert heard[-1].data["image"] == ADDRESS
    await client.delete(f"/jobs/{job['id']}")


async def test_the_backend_is_told_that_previews_with_metadata_are_read(fake: FakeComfyUI, start: Service) -> None:
    await ready(await start(fake.url))
    async with asyncio.timeout(30):
        while not fake.said:
            await asyncio.sleep(0.01)
    assert fake.said[0] == {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
