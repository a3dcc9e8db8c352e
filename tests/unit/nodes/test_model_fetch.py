"""The pack that fetches models for a ComfyUI elsewhere: what it lets through, and that it comes to the right file."""

import asyncio
import hashlib
import importlib.util
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

PACK = Path(__file__).parents[3] / "comfyui_nodes" / "orchestrator_models"
BODY = bytes(range(256)) * 20_000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(scope="module")
def pack() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("models_pack_under_test", PACK / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["models_pack_under_test"] = module
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in sys.modules if name.startswith("models_pack_under_test")]:
        del sys.modules[name]


class Service:
    """Delivers BODY with ranges, breaking off `cuts` times; `body` may be another."""

    def __init__(self) -> None:
        self.cuts, self.body, self.ranges, self.status, self.ranged = 0, BODY, [], 200, True
        self.url = ""

    async def get(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range", "")
        self.ranges.append(asked)
        if self.status != 200:
            return web.Response(status=self.status)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranged else 0
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(self.body) - start
        await response.prepare(request)
        if self.cuts:
            self.cuts -= 1
            await response.write(self.body[start : start + 1_000_000])
            await asyncio.sleep(0.05)
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(self.body[start:])
        return response


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    made, app = Service(), web.Application()
    app.add_routes([web.get("/models/x", made.get)])
    async with TestServer(app) as server:
        made.url = str(server.make_url("/models/x"))
        monkeypatch.setenv("ORCHESTRATOR_URL", str(server.make_url("/")))
        yield made


def asked(service: Service, **more: Any) -> dict[str, Any]:
    return {
        "kind": "checkpoints",
        "file": "1-2.safetensors",
        "sha256": SHA256,
        "size": len(BODY),
        "url": service.url,
    } | more


async def placed(pack: ModuleType, body: dict[str, Any], folder: Path) -> tuple[int, dict[str, Any]]:
    """What the route answers in the end."""
    fetches = pack.route.Fetches()
    wanted = pack.route.read_wanted(body, lambda kind: str(folder / kind))
    async with asyncio.timeout(20):
        while True:
            status, answer = fetches.state(wanted)
            if status != 202:
                return status, answer
            await asyncio.sleep(0.02)


async def test_a_file_comes_whole_once(pack: ModuleType, service: Service, tmp_path: Path) -> None:
    assert await placed(pack, asked(service), tmp_path) == (200, {"state": "there"})
    assert (tmp_path / "checkpoints" / "1-2.safetensors").read_bytes() == BODY
    assert await placed(pack, asked(service), tmp_path) == (200, {"state": "there"})
    assert service.ranges == [""]


async def test_what_breaks_off_goes_on_where_it_was(pack: ModuleType, service: Service, tmp_path: Path) -> None:
    service.cuts = 2
    assert (await placed(pack, asked(service), tmp_path))[0] == 200
    assert [bool(given) for given in service.ranges] == [False, True, True]
    assert (tmp_path / "checkpoints" / "1-2.safetensors").read_bytes() == BODY


async def test_what_an_earlier_life_left_is_gone_on_with(pack: ModuleType, service: Service, tmp_path: Path) -> None:
    part = tmp_path / "checkpoints" / f".1-2.safetensors.{SHA256[:16]}.part"
    part.parent.mkdir()
    part.write_bytes(BODY[:2_000_000])
    assert (await placed(pack, asked(service), tmp_path))[0] == 200
    assert service.ranges == ["bytes=2000000-"]
    assert (tmp_path / "checkpoints" / "1-2.safetensors").read_bytes() == BODY


async def test_a_server_that_minds_no_range_starts_over(pack: ModuleType, service: Service, tmp_path: Path) -> None:
    service.cuts, service.ranged = 1, False
    assert (await placed(pack, asked(service), tmp_path))[0] == 200
    assert (tmp_path / "checkpoints" / "1-2.safetensors").read_bytes() == BODY


async def test_other_bytes_never_get_the_name(pack: ModuleType, service: Service, tmp_path: Path) -> None:
    service.body = BODY[:-1] + b"x"
    status, answer = await placed(pack, asked(service), tmp_path)
    assert status == 502
    assert "SHA-256" in answer["error"]
    assert not list(tmp_path.rglob("*.safetensors"))


async def test_a_link_that_is_refused_is_told(pack: ModuleType, service: Service, tmp_path: Path) -> None:
    service.status = 403
    status, answer = await placed(pack, asked(service), tmp_path)
    assert status == 502
    assert "403" in answer["error"]
    assert len(service.ranges) == 1


async def test_a_fetched_file_of_that_name_with_other_content_is_replaced(
    pack: ModuleType, service: Service, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "1-2.safetensors").write_bytes(b"x" * len(BODY))
    (tmp_path / "checkpoints" / "1-2.safetensors.sha256").write_text("0" * 64)
    assert (await placed(pack, asked(service), tmp_path))[0] == 200
    assert (tmp_path / "checkpoints" / "1-2.safetensors").read_bytes() == BODY


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "custom_nodes"},
        {"kind": None},
        {"file": "../x.safetensors"},
        {"file": "x/../y.safetensors"},
        {"file": "/x.safetensors"},
        {"file": "x//y.safetensors"},
        {"file": "..\\x.safetensors"},
        {"file": "C:x.safetensors"},
        {"file": "x\n.safetensors"},
        {"file": "\ud800.safetensors"},
        {"file": "x" * 201 + ".safetensors"},
        {"file": "x.py"},
        {"file": ".x.safetensors"},
        {"sha256": "x"},
        {"size": 0},
        {"size": "7"},
        {"url": "http://169.254.169.254/x"},
        {"url": "file:///etc/passwd"},
        {"url": None},
    ],
)
async def test_no_other_request_is_followed(pack: ModuleType, service: Service, more: dict[str, Any]) -> None:
    with pytest.raises(pack.route.Refused):
        pack.route.read_wanted(asked(service, **more), str)
    with pytest.raises(pack.route.Refused):
        pack.route.read_wanted([], str)


async def test_without_the_services_address_nothing_is_fetched(
    pack: ModuleType, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("", "file://", service.url.replace("http", "https")):
        monkeypatch.setenv("ORCHESTRATOR_URL", value)
        with pytest.raises(pack.route.Refused, match="ORCHESTRATOR_URL"):
            pack.route.read_wanted(asked(service), str)


async def test_an_answer_that_is_no_http_is_tried_again_and_told(pack: ModuleType, tmp_path: Path) -> None:
    asked_for = 0

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked_for
        asked_for += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"babble\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        wanted = pack.fetching.Wanted(tmp_path / "x.safetensors", SHA256, len(BODY), url)
        fetching = pack.fetching.Fetching(wanted)
        fetching.start()
        async with asyncio.timeout(20):
            while asked_for < 2:
                assert fetching.is_running
                await asyncio.sleep(0.02)


async def test_whatever_goes_wrong_is_told(pack: ModuleType, tmp_path: Path) -> None:
    fetching = pack.fetching.Fetching(pack.fetching.Wanted(tmp_path / "x.safetensors", None, len(BODY), ""))
    fetching.start()
    async with asyncio.timeout(20):
        while fetching.is_running:
            await asyncio.sleep(0.02)
    assert "TypeError" in fetching.error


@pytest.mark.parametrize("same", [True, False])
async def test_a_file_of_the_hosts_own_is_taken_if_it_is_the_same_and_never_replaced(
    pack: ModuleType, service: Service, tmp_path: Path, same: bool
) -> None:
    target = tmp_path / "checkpoints" / "1-2.safetensors"
    target.parent.mkdir()
    own = BODY if same else b"x" * len(BODY)
    target.write_bytes(own)
    status, answer = await placed(pack, asked(service), tmp_path)
    assert (status, "of its own" in answer.get("error", "")) == ((200, False) if same else (502, True))
    assert target.read_bytes() == own
    assert not service.ranges


@pytest.mark.parametrize(
    "file", ["a (v2).safetensors", "a+b [x].safetensors", "été/模型.safetensors", "a/b/c.safetensors"]
)
async def test_names_that_people_give_files_are_placed(
    pack: ModuleType, service: Service, tmp_path: Path, file: str
) -> None:
    assert (await placed(pack, asked(service, file=file), tmp_path))[0] == 200
    assert (tmp_path / "checkpoints" / file).read_bytes() == BODY
