"""Pictures from URLs, from real servers on loopback."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.errors import InvalidParameters
from orchestrator.images.source import PictureSource
from orchestrator.images.threads import PictureThreads
from tests.unit.images.pictures import noise, opened, saved, scene

PNG = saved(scene(), "PNG")


async def picture(request: web.Request) -> web.Response:
    return web.Response(body=PNG, content_type="image/png")


async def redirect(request: web.Request) -> web.Response:
    raise web.HTTPFound(request.query["to"])


async def loop(request: web.Request) -> web.Response:
    raise web.HTTPTemporaryRedirect("/loop")


async def nowhere(request: web.Request) -> web.Response:
    return web.Response(status=301)


async def page(request: web.Request) -> web.Response:
    return web.Response(text="<html>hello</html>", content_type="text/html")


async def text_of_base64(request: web.Request) -> web.Response:
    return web.Response(text="data:image/png;base64,AAAA", content_type="image/png")


async def slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for byte in PNG:
        await response.write(bytes([byte]))
        await asyncio.sleep(0.05)
    return response


async def huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = 10**12 if "length" in request.query else None
    await response.prepare(request)
    for _ in range(400):
        await response.write(b"\0" * 65536)
    return response


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    for handler in (picture, redirect, loop, nowhere, page, slow, huge, text_of_base64):
        app.router.add_get(f"/{handler.__name__}", handler)
    app.router.add_get("/compressed", forced_gzip)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


async def forced_gzip(request: web.Request) -> web.Response:
    return web.Response(body=b"\x1f\x8b junk", headers={"Content-Encoding": "gzip"})


async def complaint(source: PictureSource, url: str) -> str:
    with pytest.raises(InvalidParameters) as caught:
        await source.read(url, "image")
    [error] = caught.value.fields
    assert error.field == "image"
    return error.message


async def test_a_url_is_fetched(server: TestServer, local_source: PictureSource) -> None:
    read = await local_source.read(str(server.make_url("/picture")), "image")
    assert opened(read.png).tobytes() == scene().tobytes()


async def test_a_redirect_is_followed(server: TestServer, local_source: PictureSource) -> None:
    read = await local_source.read(str(server.make_url("/redirect?to=/redirect?to=/picture")), "image")
    assert (read.width, read.height) == (64, 48)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/missing", "answered 404"),
        ("/page", "not a picture"),
        ("/text_of_base64", "not a picture"),
        ("/slow", "within 1 s"),
        ("/huge", "more than the 200000 bytes"),
        ("/huge?length=1", "more than the 200000 bytes"),
        ("/loop", "more than 5 times"),
        ("/nowhere", "redirects to nowhere"),
        ("/compressed", "compresses"),
        ("/redirect?to=ftp://example.org/a.png", "redirect has the scheme 'ftp'"),
        ("/redirect?to=http://user:word@example.org/a.png", "user name"),
        ("/redirect?to=http://10.0.0.1/a.png", "does not connect to"),
        ("/redirect?to=http://169.254.169.254/latest/meta-data/", "does not connect to"),
        ("/redirect?to=http://[::1]/", "does not connect to"),
    ],
)
async def test_what_is_wrong_with_a_url_is_said(
    server: TestServer, local_source: PictureSource, path: str, says: str
) -> None:
    assert says in await complaint(local_source, str(server.make_url(path)))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "[::127.0.0.1]",
    ],
)
async def test_loopback_is_never_reached_however_it_is_written(
    server: TestServer, source: PictureSource, host: str
) -> None:
    said = await complaint(source, f"http://{host}:{server.port}/picture")
    assert "does not connect to" in said or "host name" in said


async def test_a_name_that_resolves_to_loopback_is_refused_where_its_number_would_be(
    server: TestServer, threads: PictureThreads
) -> None:
    async with PictureSource(threads, timeout=2, allow_networks=["10.0.0.0/8"]) as source:
        assert "does not connect to" in await complaint(source, f"http://localhost:{server.port}/picture")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://example.org/a.png", "scheme 'ftp'"),
        ("file:///etc/passwd", "scheme 'file'"),
        ("http://", "names no host"),
        ("http:///a.png", "names no host"),
        ("http://[::1/a.png", "cannot be parsed"),
        ("http://example.org:99999/a.png", "cannot be parsed"),
        ("http://user@example.org/a.png", "user name"),
        ("http://8.8.8.8:22/", "port"),
        ("http://name.invalid/a.png", "cannot be resolved"),
        ("http://" + "a" * 70 + ".example/", "host name"),
        ("http://example.org/" + "a" * 9000, "longer than 8192"),
    ],
)
async def test_a_url_that_cannot_be_fetched_says_why(source: PictureSource, url: str, says: str) -> None:
    assert says in await complaint(source, url)


@pytest.fixture
async def answering() -> AsyncIterator[Callable[[bytes], Awaitable[str]]]:
    """Starts servers that answer any request with these very bytes and hang up."""
    servers: list[asyncio.Server] = []

    async def start(answer: bytes) -> str:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        servers.append(await asyncio.start_server(speak, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}/"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + PNG, "download failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + PNG[:100], "damaged or cut off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + PNG, "download failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: lots\r\n\r\n" + PNG, "download failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "empty (0 bytes)"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[broken\r\n\r\n", "cannot be parsed"),
        (b"nonsense\r\n\r\n", "download failed"),
        (b"", "download failed"),
    ],
)
async def test_a_server_that_lies_gets_a_clear_complaint(
    answering: Callable[[bytes], Awaitable[str]], local_source: PictureSource, answer: bytes, says: str
) -> None:
    assert says in await complaint(local_source, await answering(answer))


async def test_a_refused_connection_says_so(local_source: PictureSource, unused_tcp_port: int) -> None:
    assert "cannot be connected to" in await complaint(local_source, f"http://127.0.0.1:{unused_tcp_port}/")


async def test_a_large_download_without_a_length_is_whole(
    answering: Callable[[bytes], Awaitable[str]], local_source: PictureSource
) -> None:
    image = noise(200, 200)
    url = await answering(b"HTTP/1.1 200 OK\r\n\r\n" + saved(image, "PNG"))
    assert opened((await local_source.read(url, "image")).png).tobytes() == image.tobytes()


async def test_a_name_server_that_never_answers_holds_nobody_up(threads: PictureThreads) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        name_server = f"127.0.0.1:{silent.getsockname()[1]}"
        async with PictureSource(threads, timeout=3, name_servers=[name_server]) as source:
            asked = [
                asyncio.create_task(complaint(source, f"http://host{number}.example/a.png")) for number in range(40)
            ]
            await asyncio.sleep(0.2)
            started = time.perf_counter()
            await asyncio.to_thread(int)  # the threads that everything else uses are free
            assert time.perf_counter() - started < 1
            assert all("did not deliver" in said or "resolved" in said for said in await asyncio.gather(*asked))
