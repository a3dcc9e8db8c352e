import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from orchestrator.errors import InvalidParameters
from orchestrator.images.guard import AddressGuard
from orchestrator.webhooks.sender import Sender, checked
from tests.fakes.receiver import Receiver

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(AddressGuard(["127.0.0.0/8"]), timeout=0.5, user_agent="test/1") as opened:
        yield opened


async def test_its_resolver_is_closed_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[aiohttp.AsyncResolver] = []
    monkeypatch.setattr(aiohttp.AsyncResolver, "close", lambda self: asyncio.sleep(0, closed.append(self)))
    async with Sender(AddressGuard(), timeout=0.5, user_agent="test/1"):
        assert not closed
    assert len(closed) == 1


async def test_what_is_taken_is_taken_as_it_was_sent(sender: Sender) -> None:
    async with Receiver() as receiver:
        answer = await sender.post(receiver.url, b'{"a": 1}', {"webhook-id": "msg_1"})
    assert (answer.took_it, answer.gone, answer.text) == (True, False, "answered 204")
    (word,) = receiver.words
    assert (word.body, word.headers["webhook-id"], word.headers["Content-Type"]) == (
        b'{"a": 1}',
        "msg_1",
        "application/json",
    )


@pytest.mark.parametrize(("status", "gone"), [(500, False), (404, False), (410, True), (302, False)])
async def test_every_other_answer_is_a_failure_and_no_redirect_is_followed(
    sender: Sender, status: int, gone: bool
) -> None:
    async with Receiver(lambda _: web.Response(status=status, headers={"Location": "/elsewhere"})) as receiver:
        answer = await sender.post(receiver.url, b"", {})
    assert (answer.took_it, answer.gone, answer.text) == (False, gone, f"answered {status}")
    assert len(receiver.words) == 1


async def test_who_does_not_answer_costs_no_more_than_the_timeout(sender: Sender) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await sender.post(f"http://127.0.0.1:{port}/token", b"", {})
    assert (answer.took_it, answer.text) == (False, "did not answer within 0.5 s")
    refused = await sender.post(f"http://127.0.0.1:{port}/token", b"", {})
    assert (refused.took_it, refused.text) == (False, "cannot be connected to")


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await hang_up(reader, writer)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    ("serve", "says"), [(babble, "answered what is not HTTP"), (hang_up, "broke the connection off")]
)
async def test_what_came_of_it_is_told_in_words(sender: Sender, serve: Serve, says: str) -> None:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await sender.post(f"http://127.0.0.1:{port}/token", b"", {})
    assert (answer.took_it, answer.gone, answer.text) == (False, False, says)
    unreadable = await sender.post("http://2130706433/token", b"", {})
    assert unreadable.text == "has an address that is not written as one"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]"]
)
async def test_nothing_is_posted_to_inner_addresses(host: str) -> None:
    async with Receiver() as receiver, Sender(AddressGuard(), timeout=2, user_agent="test/1") as sender:
        port = receiver.url.split(":")[2].split("/")[0]
        answer = await sender.post(f"http://{host}:{port}/", b"", {})
        assert (answer.took_it, answer.gone) == (False, True)
        assert "does not connect to" in answer.text
        assert receiver.words == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "http"),
        ("ftp://a.example/", "http"),
        ("/hook", "http"),
        ("https://", "http"),
        ("https://u:p@a.example/", "password"),
        ("https://a.example:99999/", "parsed"),
        ("https://a.example/" + "x" * 2048, "longer"),
    ],
)
def test_an_address_that_cannot_be_posted_to_is_refused(url: str, says: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        checked(url, "X-Webhook-URL", AddressGuard())
    (complaint,) = caught.value.fields
    assert complaint.field == "X-Webhook-URL"
    assert says in complaint.message
