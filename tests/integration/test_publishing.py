"""Who may publish a workflow over HTTP, and what is answered."""

import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.publishing import PUBLISHING
from orchestrator.callers.caller import Limits, Right
from orchestrator.parts import keys_of
from tests.integration.services import LINKS, Client, started
from tests.unit.widgets.test_creation import drawn

WORKFLOWS = Path(__file__).parents[2] / "workflows"
Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a service with a folder of workflows of its own; it has no backend that answers, and needs none."""
    shutil.copytree(WORKFLOWS / "txt2img", tmp_path / "workflows" / "txt2img")
    clients: list[Client] = []

    async def start(**settings: Any) -> Client:
        given = {"workflows": tmp_path / "workflows", "backends": [{"url": "http://127.0.0.1:9"}]}
        clients.append(await started(tmp_path / "data", **given | settings))
        return clients[-1]

    yield start
    for client in clients:
        await client.close()


async def put(client: Client, name: str, body: object = None, **headers: str) -> tuple[int, Any]:
    data = json.dumps({"workflow": drawn()} if body is None else body)
    async with client.put(f"/widgets/{name}", data=data, headers=headers) as answer:
        return answer.status, await answer.json()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_without_api_keys_only_who_knows_the_secret_publishes(serve: Start) -> None:
    client = await serve()
    secret = client.app[PUBLISHING].secret
    for headers in ({}, bearer("guessed"), bearer(""), {"Origin": LINKS, **bearer(secret)}):
        status, said = await put(client, "house", **headers)
        assert (status, said["code"]) == (403, "not_permitted")
    status, said = await put(client, "house", **bearer(secret))
    assert (status, said["created"], said["url"]) == (201, True, "/widgets/house")
    assert said["page"] == f"{LINKS}/?widget=house"
    async with client.get("/widgets/house") as answer:
        assert answer.status == 200, "it is there before the answer is"
    status, said = await put(client, "house", **bearer(secret))
    assert (status, said["code"]) == (409, "widget_exists")
    status, said = await put(client, "house", {"workflow": drawn(), "replace": True}, **bearer(secret))
    assert (status, said["created"]) == (200, False)


async def test_with_api_keys_a_key_needs_the_right(serve: Start, tmp_path: Path) -> None:
    keys = keys_of(tmp_path / "data")
    runner, publisher = (keys.add(right, frozenset({right}), Limits()) for right in (Right.RUN, Right.PUBLISH))
    client = await serve(api_keys="required")
    assert (await put(client, "house"))[0] == 401
    assert (await put(client, "house", **bearer(client.app[PUBLISHING].secret)))[0] == 401
    status, said = await put(client, "house", **bearer(runner))
    assert (status, said["code"]) == (403, "not_permitted")
    assert (await put(client, "house", **bearer(publisher)))[0] == 201


async def test_publishing_is_open_or_off_as_the_operator_says(serve: Start) -> None:
    client = await serve(publish="off")
    assert (await put(client, "house", **bearer(client.app[PUBLISHING].secret)))[0] == 403
    await client.close()
    client = await serve(publish="open")
    assert (await put(client, "house", Origin="http://evil.example"))[0] == 403
    assert (await put(client, "house"))[0] == 201


async def test_a_dry_run_tells_and_writes_nothing(serve: Start, tmp_path: Path) -> None:
    client = await serve(publish="open")
    status, said = await put(client, "house", {"workflow": drawn(), "dry_run": True})
    assert (status, said["created"]) == (200, True)
    assert "callers set model, prompt" in said["sentences"][-1]
    assert said["titles"] == {"2": "Prompt", "3": "Negative prompt", "7": "Result"}
    assert {path.name for path in (tmp_path / "workflows").iterdir()} == {"txt2img"}


async def test_what_cannot_be_used_names_each_field(serve: Start, tmp_path: Path) -> None:
    client = await serve(publish="open")
    status, said = await put(
        client, "house", {"workflow": [], "replace": "yes", "title": 3, "description": "x" * 3000, "other": 1}
    )
    assert (status, [fault["field"] for fault in said["errors"]]) == (
        422,
        ["replace", "title", "description", "workflow", "other"],
    )
    status, said = await put(client, "house", {"workflow": {"nodes": []}})
    assert (status, said["code"], said["errors"][0]["field"]) == (422, "workflow_refused", "workflow")
    assert (await put(client, "UPPER"))[0] == 422
    for body in (b"{", b"[]", b"\xff", b'{"workflow": NaN}', b"[" * 100_000):
        async with client.put("/widgets/house", data=body) as answer:
            assert answer.status == 400, body[:20]
    assert {path.name for path in (tmp_path / "workflows").iterdir()} == {"txt2img"}
