"""Having a backend fetch a model: what its pack may answer."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.comfy.placing import Placement, place
from orchestrator.comfy.wire import Limits, Wire
from orchestrator.errors import BackendError, BackendLost, BackendTimeout

WANTED = Placement("checkpoints", "1-2.safetensors", "0" * 64, 100, "http://service/models/x")


class Pack:
    """Gives the answers in turn, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, object]] = []
        self.asked: list[object] = []

    async def post(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        status, body = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return web.json_response(body, status=status)


@pytest.fixture
async def pack() -> AsyncIterator[tuple[Pack, Wire]]:
    made, app = Pack(), web.Application()
    app.add_routes([web.post("/orchestrator/models", made.post)])
    async with (
        TestServer(app) as server,
        Wire(str(server.make_url("/")), name="far", headers=None, limits=Limits()) as wire,
    ):
        yield made, wire


async def test_it_waits_until_the_file_is_there_and_tells_how_far_it_is(pack: tuple[Pack, Wire]) -> None:
    answering, wire = pack
    answering.answers = [(202, {"received": 10}), (202, {"received": "odd"}), (202, [1]), (200, {"state": "there"})]
    told: list[int] = []
    await place(wire, "far", WANTED, 10.0, told.append)
    assert told == [10]
    assert answering.asked[0] == {
        "kind": "checkpoints",
        "file": "1-2.safetensors",
        "sha256": "0" * 64,
        "size": 100,
        "url": "http://service/models/x",
    }


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (502, {"error": "its SHA-256 is wrong"}, "its SHA-256 is wrong"),
        (403, {"error": "set ORCHESTRATOR_URL"}, "set ORCHESTRATOR_URL"),
        (404, {}, "has not loaded the node pack"),
        (405, {}, "has not loaded the node pack"),
        (500, [], "HTTP 500"),
    ],
)
async def test_what_the_backend_says_against_it_reaches_the_operator(
    pack: tuple[Pack, Wire], status: int, body: object, says: str
) -> None:
    answering, wire = pack
    answering.answers = [(status, body)]
    with pytest.raises(BackendError, match=says):
        await place(wire, "far", WANTED, 10.0, lambda _: None)


async def test_a_fetch_without_end_is_a_timeout(pack: tuple[Pack, Wire]) -> None:
    answering, wire = pack
    answering.answers = [(202, {"received": 1})]
    with pytest.raises(BackendTimeout, match="had not fetched"):
        await place(wire, "far", WANTED, 0.2, lambda _: None)


async def test_a_backend_that_is_gone_is_lost() -> None:
    async with Wire("http://127.0.0.1:9", name="far", headers=None, limits=Limits()) as wire:
        with pytest.raises(BackendLost):
            await place(wire, "far", WANTED, 5.0, lambda _: None)
