"""The OpenAPI description against the service: whole, and no request that follows from it is answered with a 5xx."""

import asyncio
import json
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from orchestrator.api.access import PUBLIC
from orchestrator.api.described import HAPPENINGS
from orchestrator.api.routes import ROUTES
from orchestrator.callers.caller import Right
from orchestrator.jobs.job import Fetching, Happening, Preview, Queued, Requeued, Running, happening_to_json
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.callers import a_key
from tests.integration.pictures import box_mask, plain, text, values
from tests.integration.services import Client, Service, ready, told

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
EXAMPLES = 25
"""Of each operation, in each mode."""
PAGES = {"/", "/page/{folder}/{name}"}
"""For people, and so not described."""
WIDGETS = ("inpaint", "txt2img")
"""Each is described by its own parameters; a new one is published by any name."""
PICTURES = {"image": text(plain()), "mask": text(box_mask())}


async def description(client: Client) -> Any:
    async with client.get("/openapi.json") as answer:
        assert answer.status == 200
        return await answer.json()


async def test_every_route_is_described_and_nothing_else_is(fake: FakeComfyUI, start: Service) -> None:
    document = await description(await ready(await start(fake.url)))
    described = {(method, path) for path, operations in document["paths"].items() for method in operations}
    served = {
        (route.method.lower(), path)
        for route in ROUTES
        if isinstance(route, web.RouteDef) and route.path not in PAGES
        for path in ([route.path] if route.method == "PUT" else [route.path.replace("{name}", it) for it in WIDGETS])
    }
    assert described == served


async def test_a_form_takes_pictures_as_files(fake: FakeComfyUI, start: Service) -> None:
    document = await description(await ready(await start(fake.url)))
    content = document["paths"]["/widgets/inpaint"]["post"]["requestBody"]["content"]
    form, flat = (content[kind]["schema"]["properties"] for kind in ("multipart/form-data", "application/json"))
    for name in ("image", "mask"):
        assert (form[name]["type"], form[name]["format"]) == ("string", "binary")
        assert "anyOf" not in form[name]
        assert form[name]["description"] == flat[name]["description"]
    assert form["steps"] == flat["steps"]


async def test_each_event_is_as_described(fake: FakeComfyUI, start: Service) -> None:
    fake.run_seconds, fake.steps = 0.2, 2
    client = await ready(await start(fake.url))
    schemas = (await description(client))["components"]["schemas"]
    async with client.post("/widgets/inpaint", json=values(), headers={"Prefer": "respond-async"}) as answer:
        job_id = answer.headers["X-Job-Id"]
    async with client.get(f"/jobs/{job_id}/events") as answer:
        events = [event async for event in told(answer)]
    assert {event.kind for event in events} >= {"running", "succeeded"}
    for event in events:
        schema = schemas["Job" if event.kind == "succeeded" else event.kind.capitalize()]
        jsonschema_rs.validate(schema, event.data)
        assert set(event.data) <= set(schema["properties"])


@pytest.mark.parametrize(
    "happening", [Fetching(), Queued(), Running(backend="b"), Requeued("why", 2), Preview("data:")]
)
def test_each_happening_is_described(happening: Happening) -> None:
    schema = HAPPENINGS[happening.kind.capitalize()]
    data = json.loads(happening_to_json(happening))
    jsonschema_rs.validate(schema, data)
    assert set(data) == set(schema["properties"]) == set(schema["required"])


async def test_where_keys_are_asked_for_the_description_says_so(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    document = await description(await ready(await start(fake.url, api_keys="required")))
    assert document["security"] == [{"bearer": []}, {"key": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            is_open = path in PUBLIC
            assert (operation.get("security") == []) == is_open, path
            assert ("401" in operation["responses"]) == (not is_open), path


# The service runs beside the strategies and draws random numbers of its own, which hypothesis takes for theirs.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("keyed", [False, True])
async def test_no_request_made_of_the_description_or_against_it_is_a_server_error(
    keyed: bool, mode: GenerationMode, fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    client = await ready(await start(fake.url, fetch_seconds=0.5, api_keys="required" if keyed else "off"))
    headers = a_key(tmp_path, "alice", Right.RUN, Right.OPERATE) if keyed else {}
    async with client.post("/widgets/inpaint", json=values(), headers=headers) as answer:
        job_id = answer.headers["X-Job-Id"]
    document, base = await description(client), str(client.make_url("")).rstrip("/")
    statuses: Counter[int] = Counter()
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        # Calls block, so they are made from a thread; the service answers from this loop.
        await asyncio.to_thread(try_out, found.ok(), mode, base, headers, job_id, statuses)
    assert sum(count for status, count in statuses.items() if 400 <= status < 500) > 20
    if mode is GenerationMode.POSITIVE:
        assert statuses[200] > 20
        # Some were good enough to be run; more were answered from those, whose Idempotency-Key they had.
        assert len(fake.requests("POST /prompt")) > 3


def try_out(
    operation: Any, mode: GenerationMode, base: str, headers: dict[str, str], job_id: str, statuses: Counter[int]
) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def examples(case: Case, real: bool) -> None:
        if real:  # what no schema can tell: pictures, models and jobs that there are
            if isinstance(case.body, dict) and "prompt" in case.body:
                case.body |= {"model": "demo"} | {name: PICTURES[name] for name in PICTURES if name in case.body}
            if isinstance(case.path_parameters, dict) and "id" in case.path_parameters:
                case.path_parameters["id"] = job_id
        response = case.call(base_url=base, headers=headers, timeout=30)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    # Nothing can be wrong with a request that takes nothing.
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        examples()
