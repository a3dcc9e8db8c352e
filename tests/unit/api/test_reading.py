"""Bodies as callers really send them, over a socket: too long, too slow, broken off, compressed, hostile forms."""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.api.decode import raw_values
from orchestrator.api.problems import problems
from orchestrator.api.reading import pieces
from tests.unit.loop_gap import LIMIT, least_worst_gap

FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
LAST = b"--x--\r\n"


async def show(request: web.Request) -> web.Response:
    values = await raw_values(request)
    return web.json_response({name: len(str(value)) for name, value in values.items()})


async def hurry(request: web.Request) -> web.Response:
    received = [piece async for piece in pieces(request, grace=0.3, pace=1000)]
    return web.Response(text=str(sum(map(len, received))))


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application(middlewares=[problems], client_max_size=1_000_000)
    app.add_routes([web.post("/", show), web.post("/hurry", hurry)])
    async with TestServer(app) as running:
        yield running


async def answer(server: TestServer, *content: bytes, path: str = "/", pause: float = 0.0, **headers: str) -> bytes:
    """What the server says to a request whose body comes in these pieces; its length is announced unless given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    told = {"Content-Length": str(sum(map(len, content)))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
    try:
        for piece in content:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        return await said_by(reader)
    finally:
        writer.close()


async def said_by(reader: asyncio.StreamReader) -> bytes:
    """One answer, without waiting for the end of a connection that lingers for the rest of a refused body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length, head
    return head + await reader.readexactly(int(length[1]))


def status(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


async def test_an_announced_length_over_the_limit_is_refused_before_the_body_comes(server: TestServer) -> None:
    said = await asyncio.wait_for(answer(server, b"{", Content_Length="99999999999"), 5)
    assert status(said) == 413


async def test_a_body_that_stands_still_is_refused_and_a_steady_one_is_not(server: TestServer) -> None:
    stalled = await asyncio.wait_for(answer(server, b"a", path="/hurry", Content_Length="100"), 5)
    assert status(stalled) == 408
    assert b"body_too_slow" in stalled
    steady = await answer(server, *[b"a" * 500] * 10, path="/hurry", pause=0.1)
    assert steady.endswith(b"5000")


async def test_a_caller_that_is_gone_in_mid_body_leaves_no_traceback(
    server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("application/json", FORM):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 100\r\n\r\n--x"
        writer.write(head.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.3)
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]


async def test_a_compressed_body_is_refused(server: TestServer) -> None:
    for body in (gzip.compress(b"{}"), b"not gzip at all"):
        assert status(await answer(server, body, Content_Encoding="gzip")) in (400, 415)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        PART % (b"a", b"1"),
        PART.replace(b'"%b"', b'"a"').replace(b"%b", b"1") + b"--x\r\nno colon\r\n\r\n1\r\n" + LAST,
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n" + LAST,
        b'--x\r\nContent-Disposition: form-data; name=""\r\n\r\n1\r\n' + LAST,
        PART % (b"b\xff", b"1") + LAST,
        b"--x\r\nContent-Disposition: form-data; name=" + b"a" * 9000 + b"\r\n\r\n1\r\n" + LAST,
        b"".join(PART % (b"a%d" % number, b"") for number in range(200)) + LAST,
    ],
    ids=["empty", "no boundary", "no end", "no colon", "no name", "empty name", "not UTF-8", "long name", "many parts"],
)
async def test_a_form_that_cannot_be_read_is_a_400(server: TestServer, body: bytes) -> None:
    said = await answer(server, body, Content_Type=FORM)
    assert status(said) == 400, said
    assert b"malformed_body" in said


@pytest.mark.parametrize(
    ("content_type", "body", "says"),
    [
        (FORM.partition(";")[0], LAST, "Content-Type names no boundary"),
        (FORM, PART % (b"a", b"1") + b"--x\r\nContent-Disp", "breaks off, or is not well-formed, after 1 of its parts"),
        (FORM, b"".join(PART % (b"a%d" % n, b"") for n in range(200)) + LAST, "has more than 64 parts"),
        (FORM, b"--x\r\nContent-Disposition: form-data; name=" + b"a" * 9000, "more or longer headers"),
        ("application/x-www-form-urlencoded", b"prompt=x&model=demo", "came as application/x-www-form-urlencoded"),
        ("application/x-www-form-urlencoded", b"prompt=x", "send JSON, or a form as multipart/form-data"),
        ("application/json", b"prompt=x", "The body is not JSON: Expecting value at line 1, column 1"),
        ("", b"prompt=x", "came without a content type"),
    ],
    ids=["boundary", "cut off", "parts", "header", "curl -d", "mend", "JSON", "no type"],
)
async def test_a_body_that_cannot_be_read_is_told_how_to_mend_it(
    server: TestServer, content_type: str, body: bytes, says: str
) -> None:
    said = await answer(server, body, **({"Content_Type": content_type} if content_type else {}))
    assert status(said) == 400
    assert says in json.loads(said.partition(b"\r\n\r\n")[2])["detail"]


async def test_a_text_that_is_not_utf8_is_a_422_that_names_its_field(server: TestServer) -> None:
    said = await answer(server, PART % (b"prompt", b"\xff") + LAST, Content_Type=FORM)
    assert status(said) == 422
    assert b'"prompt"' in said


async def test_preamble_and_headers_count_as_the_body_does(server: TestServer) -> None:
    form = b"p" * 1_100_000 + b"\r\n" + PART % (b"a", b"1") + LAST
    halves = (form[:600_000], form[600_000:])
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves) + b"0\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {FORM}\r\n"
    writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunked)
    assert status(await said_by(reader)) == 413
    writer.close()


async def test_a_form_split_at_any_place_is_read_the_same(server: TestServer) -> None:
    form = PART % (b"a", b"12\r\n-") + PART % (b"b", b"") + LAST
    for place in range(1, len(form), 7):
        said = await answer(server, form[:place], form[place:], pause=0.005, Content_Type=FORM)
        assert said.endswith(b'{"a": 5, "b": 0}'), (place, said)


async def test_blank_lines_before_a_form_do_not_hold_up_the_event_loop(server: TestServer) -> None:
    form = b"\r\n" * 450_000 + PART % (b"a", b"1") + LAST
    gap = await least_worst_gap(lambda: answer(server, form, Content_Type=FORM))
    print(f"{len(form) / 1e6:.1f} MB of blank lines, worst gap {gap * 1000:.1f} ms")
    assert gap <= LIMIT
