"""The client against a stand-in that answers as Civitai does."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.errors import (
    DownloadFailed,
    ModelError,
    ModelGated,
    ModelGone,
    ModelNotFound,
    ModelRegionBlocked,
    ModelUnavailable,
)
from orchestrator.models.civitai import read_version
from orchestrator.models.client import CivitaiClient
from orchestrator.models.connection import Patience
from orchestrator.models.delivery import Arrival, Expired
from orchestrator.models.look import Looker
from tests.fakes.civitai import KEY, QUOTA, REGION, FakeCivitai, Fixture

QUICK = Patience(tries=3, first_wait=0.01, longest_wait=1.0, stall=2.0)
BODY = bytes(range(256)) * 4096


@pytest.fixture
async def civitai() -> AsyncIterator[FakeCivitai]:
    async with FakeCivitai(Fixture(64094, BODY), Fixture(74750, BODY, model_id=10028)) as fake:
        yield fake


@pytest.fixture
async def client(civitai: FakeCivitai) -> AsyncIterator[CivitaiClient]:
    async with CivitaiClient(civitai.url, civitai.hosts, patience=QUICK) as opened:
        yield opened


async def read(arrival: Arrival) -> bytes:
    return b"".join([piece async for piece in arrival.pieces])


async def fetched(client: CivitaiClient, start: int = 0, end: int | None = None, etag: str = "") -> tuple[int, bytes]:
    async with client.open_file(64094, 1064094, start=start, end=end, etag=etag) as arrival:
        return arrival.start, await read(arrival)


async def test_facts_are_asked_for_once_however_many_want_them(civitai: FakeCivitai, client: CivitaiClient) -> None:
    versions = await asyncio.gather(*(client.version(64094) for _ in range(10)))
    assert {version.id for version in versions} == {64094}
    await client.version(64094)
    assert civitai.requests["version"] == 1


async def test_a_models_number_is_answered_with_its_versions_and_remembered(
    civitai: FakeCivitai, client: CivitaiClient
) -> None:
    for _ in range(2):
        with pytest.raises(ModelNotFound, match=r"model 'A model'; give one of its versions: 74750 \(v1.0\)"):
            await client.version(10028)
    assert (civitai.requests["version"], civitai.requests["model"]) == (1, 1)


async def test_an_unknown_number_is_a_plain_refusal(client: CivitaiClient) -> None:
    with pytest.raises(ModelNotFound, match="Version 5 is not known"):
        await client.version(5)


@pytest.mark.parametrize("status", [429, 500, 503, 524])
async def test_passing_failures_are_tried_again(civitai: FakeCivitai, client: CivitaiClient, status: int) -> None:
    civitai.api_fault = [(status, QUOTA, {})] * 2
    assert (await client.version(64094)).id == 64094
    assert civitai.requests["version"] == 3


async def test_passing_failures_that_do_not_pass_are_not_remembered(
    civitai: FakeCivitai, client: CivitaiClient
) -> None:
    civitai.api_fault = [(500, {}, {})] * 3
    with pytest.raises(ModelUnavailable, match="answers 500"):
        await client.version(64094)
    assert (await client.version(64094)).id == 64094


async def test_a_retry_after_that_is_short_is_waited_for(civitai: FakeCivitai, client: CivitaiClient) -> None:
    civitai.api_fault = [(429, QUOTA, {"Retry-After": "1"})]
    started = asyncio.get_running_loop().time()
    assert (await client.version(64094)).id == 64094
    assert asyncio.get_running_loop().time() - started >= 0.99


async def test_a_retry_after_that_is_long_is_passed_on_and_kept(civitai: FakeCivitai, client: CivitaiClient) -> None:
    civitai.api_fault = [(429, QUOTA, {"Retry-After": "120"})]
    for _ in range(2):
        with pytest.raises(ModelUnavailable) as caught:
            await client.version(64094)
        assert 100 < caught.value.retry_after <= 120
    assert civitai.requests["version"] == 1


async def test_a_blocked_region_is_final(civitai: FakeCivitai, client: CivitaiClient) -> None:
    civitai.api_fault = [(451, REGION, {})]
    for _ in range(2):
        with pytest.raises(ModelRegionBlocked, match="civitai_url"):
            await client.version(64094)
    assert civitai.requests["version"] == 1


async def test_a_host_that_does_not_answer_is_unavailable() -> None:
    async with CivitaiClient("http://127.0.0.1:9", ["http://127.0.0.1:9"], patience=QUICK) as client:
        with pytest.raises(ModelUnavailable, match=r"127\.0\.0\.1 cannot be reached"):
            await client.version(1)


async def test_a_file_comes_by_a_signed_url_whole_or_from_anywhere(client: CivitaiClient) -> None:
    assert await fetched(client) == (0, BODY)
    assert await fetched(client, 1000) == (1000, BODY[1000:])
    assert await fetched(client, 1000, 2000) == (1000, BODY[1000:2000])
    assert await fetched(client, 1000, etag='"one"') == (1000, BODY[1000:])


async def test_a_signed_url_is_used_again_while_it_lasts(civitai: FakeCivitai, client: CivitaiClient) -> None:
    await fetched(client)
    await fetched(client, 1000)
    assert (civitai.requests["download"], civitai.requests["delivery"]) == (1, 2)


async def test_an_expired_signed_url_is_asked_for_anew(civitai: FakeCivitai, client: CivitaiClient) -> None:
    await fetched(client)
    civitai.fixtures[64094].fault = "expired"
    with pytest.raises(Expired):
        await fetched(client, 1000)
    assert await fetched(client, 1000) == (1000, BODY[1000:])
    assert civitai.requests["download"] == 2


async def test_a_file_that_has_changed_starts_over(civitai: FakeCivitai, client: CivitaiClient) -> None:
    civitai.fixtures[64094].etag = '"two"'
    assert (await fetched(client, 1000, etag='"one"'))[0] == 0


async def test_a_range_that_is_not_minded_starts_over(civitai: FakeCivitai, client: CivitaiClient) -> None:
    civitai.fixtures[64094].fault = "range ignored"
    assert (await fetched(client, 1000))[0] == 0


async def test_asking_for_more_than_there_is_tells_that_it_is_complete(client: CivitaiClient) -> None:
    assert await fetched(client, len(BODY)) == (len(BODY), b"")
    assert await fetched(client, len(BODY) + 5) == (0, b"")


async def test_the_key_goes_to_the_api_and_nowhere_else(civitai: FakeCivitai) -> None:
    civitai.fixtures[64094].needs_login = True
    async with CivitaiClient(civitai.url, civitai.hosts, key=KEY, patience=QUICK) as client:
        await client.version(64094)
        assert (await fetched(client))[1] == BODY  # the stand-in's second origin answers 400 to any Authorization
    assert civitai.authorized == [f"Bearer {KEY}"]


@pytest.mark.parametrize(
    ("key", "says", "warned"), [("", "set civitai_key", 0), ("wrong", "does not take the one that is set", 1)]
)
async def test_a_file_that_needs_a_login_says_how_to_get_it_and_the_operator_is_told_once_of_a_wrong_key(
    civitai: FakeCivitai, key: str, says: str, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    civitai.fixtures[64094].needs_login = True
    async with CivitaiClient(civitai.url, civitai.hosts, key=key, patience=QUICK) as client:
        for _ in range(2):
            with pytest.raises(ModelGated, match=says):
                await fetched(client)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == warned
    assert all("civitai_key" in line and "wrong" not in line for line in told)


async def test_a_file_that_its_creator_keeps_is_no_fault_of_the_key(
    civitai: FakeCivitai, caplog: pytest.LogCaptureFixture
) -> None:
    civitai.fixtures[64094].fault = "disabled"
    async with CivitaiClient(civitai.url, civitai.hosts, key=KEY, patience=QUICK) as client:
        with pytest.raises(ModelGated):
            await fetched(client)
    assert "civitai_key" not in caplog.text


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("early", ModelGated, "early access until 2027-01-01"),
        ("no grant", ModelGated, "set civitai_key"),
        ("disabled", ModelGated, "turned downloads off"),
        ("archived", ModelGone, "another version"),
        ("file not found", ModelNotFound, "File not found"),
        ("region", ModelRegionBlocked, "region"),
        ("login page", ModelGated, "set civitai_key"),
        ("429", ModelUnavailable, "unusual amount"),
        ("500", ModelUnavailable, "500"),
        ("html", ModelGated, "a page"),
        ("json", ModelGated, "a page"),
        ("503", ModelUnavailable, "503"),
    ],
)
async def test_a_refused_download_says_why_and_what_to_do(
    civitai: FakeCivitai, client: CivitaiClient, fault: str, error: type[ModelError], says: str
) -> None:
    civitai.fixtures[64094].fault = fault
    with pytest.raises(error, match=says):
        await fetched(client)


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "http://127.0.0.1:1/x", "file:///etc/passwd"])
async def test_a_redirect_to_a_host_that_is_not_listed_is_not_followed(
    civitai: FakeCivitai, client: CivitaiClient, target: str
) -> None:
    civitai.redirect_to = target
    with pytest.raises(DownloadFailed, match="does not list"):
        await fetched(client)


async def test_endless_redirects_end(civitai: FakeCivitai, client: CivitaiClient) -> None:
    civitai.redirect_to = f"{civitai.url}/api/download/models/64094"
    with pytest.raises(DownloadFailed, match="more than 5 times"):
        await fetched(client)


async def test_a_connection_that_breaks_off_is_told(civitai: FakeCivitai, client: CivitaiClient) -> None:
    civitai.fixtures[64094].fault = "cut"
    with pytest.raises(ModelUnavailable, match="broke off"):
        await fetched(client)


async def test_no_signature_and_no_key_is_logged(civitai: FakeCivitai, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    civitai.fixtures[64094].fault = "cut"
    async with CivitaiClient(civitai.url, civitai.hosts, key=KEY, patience=QUICK) as client:
        with pytest.raises(ModelUnavailable):
            await fetched(client)
    assert "X-Amz" not in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("look", [False, True])
async def test_a_host_that_drips_is_given_up_on(look: bool) -> None:
    """Each byte comes well before the stall's end, and the whole would take hours."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionResetError):
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.02)
        return response

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", drip)])
    patience = Patience(tries=2, first_wait=0.01, stall=1.0, answer=0.2)
    async with TestServer(app) as server, asyncio.timeout(10):
        url = str(server.make_url("/"))
        async with CivitaiClient(url, [url], patience=patience) as client:
            version = read_version(Fixture(1, b"x").version)
            asked = Looker(client).look(version, version.files[0]) if look else client.version(1)
            with pytest.raises(ModelUnavailable, match=r"did not come within 0\.2 s"):
                await asked


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:99999/x", "https://b2.civitai.com:x/", "http://[::1/x", "http://xn--\udcff/"]
)
async def test_a_redirect_to_what_is_no_url_is_a_refusal(target: str) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        location = target.encode("utf-8", "surrogateescape")
        writer.write(b"HTTP/1.1 307 x\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with CivitaiClient(url, [url], patience=QUICK) as client:
            with pytest.raises(DownloadFailed, match=r"no URL|does not list"):
                await fetched(client)


async def test_a_total_of_thousands_of_digits_is_no_total() -> None:
    async def answer(_: web.Request) -> web.Response:
        headers = {"Content-Range": f"bytes 0-1/{'9' * 5000}"}
        return web.Response(status=206, body=b"xx", headers=headers, content_type="application/octet-stream")

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        async with CivitaiClient(url, [url], patience=QUICK) as client:
            with pytest.raises(ModelUnavailable, match="another range"):
                await fetched(client)


async def test_a_retry_after_of_days_is_kept_for_an_hour(civitai: FakeCivitai, client: CivitaiClient) -> None:
    civitai.api_fault = [(429, QUOTA, {"Retry-After": "999999"})]
    with pytest.raises(ModelUnavailable) as caught:
        await client.version(64094)
    assert 3000 < caught.value.retry_after <= 3600
    assert 3000 < client.quiet_seconds <= 3600
