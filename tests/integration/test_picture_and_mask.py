"""A request's picture and mask are read at the same time, and what is wrong with the picture is told first."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import box_mask, plain, png, values
from tests.integration.services import Service, ready


class Shelf:
    """Serves a picture and its mask, each only when it has been asked for both."""

    def __init__(self, picture: bytes) -> None:
        self._files = {"picture.png": picture, "mask.png": png(box_mask())}
        self._both = asyncio.Barrier(2)

    async def give(self, request: web.Request) -> web.Response:
        await self._both.wait()
        return web.Response(body=self._files[request.match_info["name"]])


async def run(fake: FakeComfyUI, start: Service, picture: bytes) -> web.Response:
    shelf = Shelf(picture)
    app = web.Application()
    app.router.add_get("/{name}", shelf.give)
    client = await ready(await start(fake.url, fetch_networks=["127.0.0.0/8"]))
    async with TestServer(app) as server:
        body = values(image=str(server.make_url("/picture.png")), mask=str(server.make_url("/mask.png")))
        async with asyncio.timeout(10), client.post("/widgets/inpaint", json=body) as answer:
            return web.json_response(await answer.json(), status=answer.status)


async def test_picture_and_mask_are_fetched_at_the_same_time(fake: FakeComfyUI, start: Service) -> None:
    assert (await run(fake, start, png(plain()))).status == 200


async def test_the_picture_s_complaint_is_the_one_that_is_heard(fake: FakeComfyUI, start: Service) -> None:
    answer = await run(fake, start, b"no picture")
    assert answer.status == 422
    assert b'"field": "image", "message": "It is not a picture' in answer.body
