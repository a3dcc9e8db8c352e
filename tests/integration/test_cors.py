"""Pages of other origins, as a browser sends their requests."""

from pathlib import Path

import pytest

from tests.fakes.comfyui import FakeComfyUI
from tests.integration.callers import a_key
from tests.integration.pictures import values
from tests.integration.services import LINKS, Client, Service, ready

PAGE = "https://studio.example"
ALLOWED = "Access-Control-Allow-Origin"


async def preflight(client: Client, origin: str, path: str = "/widgets/inpaint") -> dict[str, str]:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    async with client.options(path, headers=asked) as answer:
        return {"status": str(answer.status), **answer.headers}


async def test_no_page_may_read_an_answer_by_default(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    answer = await preflight(client, PAGE)
    assert answer["status"] == "405"
    assert not [name for name in answer if name.startswith("Access-Control")]
    async with client.get("/widgets", headers={"Origin": PAGE}) as read:
        assert ALLOWED not in read.headers


async def test_a_listed_page_may_ask_first_and_read_answers_and_errors_and_events(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    client = await ready(await start(fake.url, api_keys="required", cors_origins=[PAGE + "/"]))
    asked = await preflight(client, PAGE)
    assert asked["status"] == "204"
    assert asked[ALLOWED] == PAGE
    assert "POST" in asked["Access-Control-Allow-Methods"]
    assert {"x-api-key", "authorization", "idempotency-key"} <= {
        name.strip().lower() for name in asked["Access-Control-Allow-Headers"].split(",")
    }
    headers = {"Origin": PAGE} | a_key(tmp_path, "studio")
    async with client.post("/widgets/inpaint", json=values(), headers=headers) as done:
        assert done.status == 200
        job_id = done.headers["X-Job-Id"]
        assert done.headers[ALLOWED] == PAGE
        exposed = {name.strip() for name in done.headers["Access-Control-Expose-Headers"].split(",")}
        assert {"X-Job-Id", "X-Seed", "Location", "Retry-After"} <= exposed
    for path, status in ((f"/jobs/{job_id}/events", 200), ("/jobs/none", 404), ("/nowhere", 404)):
        async with client.get(path, headers=headers) as answer:
            assert (answer.status, answer.headers[ALLOWED]) == (status, PAGE)
            assert answer.headers["Vary"] == "Origin"
    async with client.get("/widgets", headers={"Origin": PAGE}) as refused:
        assert (refused.status, refused.headers[ALLOWED]) == (401, PAGE)


@pytest.mark.parametrize(
    "other", ["https://evil.example", "null", "https://studio.example.evil", "http://studio.example"]
)
async def test_other_pages_stay_out_where_some_are_listed(other: str, fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url, cors_origins=[PAGE]))
    answer = await preflight(client, other)
    assert (answer["status"], answer.get(ALLOWED)) == ("405", None)
    assert answer["Vary"] == "Origin"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("localhost", 200),
        ("LocalHost:80", 200),
        ("links.example", 200),  # what public_url says
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8080", 403),
    ],
)
async def test_a_service_on_loopback_is_not_asked_by_a_strangers_name(
    host: str, status: int, fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    client = await ready(await start(fake.url))
    async with client.get("/widgets", headers={"Host": host}) as answer:
        assert answer.status == status
    async with client.get("/healthz", headers={"Host": host}) as open_to_all:
        assert open_to_all.status == 200


async def test_with_keys_or_a_proxy_before_it_the_name_does_not_matter(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    keyed = await ready(await start(fake.url, api_keys="required"))
    async with keyed.get("/widgets", headers={"Host": "any.example"} | a_key(tmp_path, "alice")) as answer:
        assert answer.status == 200
    await keyed.close()
    open_to_all = await ready(await start(fake.url, api_keys="off", host="0.0.0.0"))
    async with open_to_all.get("/widgets", headers={"Host": "any.example"}) as answer:
        assert answer.status == 200


async def test_without_keys_a_page_of_another_origin_sets_nothing_going(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url, cors_origins=[PAGE]))
    own = str(client.make_url("/").origin())
    for origin, site, status in (
        ("https://evil.example", "cross-site", 403),
        ("https://evil.example", None, 403),  # a browser that does not say, or on a page without https
        ("null", None, 403),
        ("127.0.0.1", None, 403),
        (own.replace("127.0.0.1", "127.0.0.2"), None, 403),
        (PAGE, "cross-site", 200),
        (PAGE, None, 200),
        ("http://127.0.0.1:8188", "same-site", 403),
        ("http://127.0.0.1:8188", None, 403),
        ("https://any.example", "same-origin", 200),  # a proxy before it changes the host
        (own, None, 200),
        (own.replace("http:", "https:"), None, 200),  # and another speaks TLS
        (LINKS, None, 200),
        (None, None, 200),
        (None, "none", 200),
    ):
        given = {"Origin": origin, "Sec-Fetch-Site": site}
        sent = {name: value for name, value in given.items() if value is not None}
        async with client.post("/widgets/inpaint", json=values(), headers=sent) as answer:
            assert answer.status == status, await answer.text()
        async with client.get("/widgets", headers=sent) as looked:
            assert looked.status == 200
    assert len(fake.requests("POST /prompt")) == 8
