"""A job is opened in the editor as it ran: its workflow, its pictures at the backend, the PNG that tells of it."""

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.contract.test_drawn_jobs import opened
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.editor import OPEN_JOB
from tests.integration.pictures import plain, text, values
from tests.integration.services import LINKS, Client, Service, ready

SEED = 2**60 + 1


async def run(client: Client, accept: str = "image/jpeg", **more: object) -> dict[str, Any]:
    """A job that succeeded, as JSON."""
    given = values(prompt="a // {heart|sun}", seed=SEED, **more)
    async with client.post("/widgets/inpaint", json=given, headers={"Accept": accept}) as answer:
        assert answer.status == 200, await answer.text()
        job_id = answer.headers["X-Job-Id"]
    async with client.get(f"/jobs/{job_id}") as answer:
        job: dict[str, Any] = await answer.json()
    return job


def here(link: str) -> str:
    """A link's path and query: the tests' service does not listen where its links point."""
    assert link.startswith(LINKS)
    return link.removeprefix(LINKS)


async def follow(client: Client, job: dict[str, Any], **headers: str) -> Any:
    return await client.get(here(job["links"]["editor"]), headers=headers, allow_redirects=False)


async def problem(answer: Any) -> tuple[int, str, str]:
    body = await answer.json()
    return answer.status, body["code"], body["detail"]


async def test_a_jobs_workflow_runs_as_the_graph_that_ran(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    job = await run(client)
    async with client.get(here(job["links"]["workflow"])) as answer:
        workflow = await answer.json()
    async with client.get(here(job["links"]["prompt"])) as answer:
        graph = await answer.json()
    drawn: Any = opened(workflow).to_api()
    assert drawn.keys() == graph.keys()
    sampler = next(node for node in drawn.values() if node["_meta"]["title"] == "Sampler")
    assert int(sampler["inputs"]["seed"]) == SEED
    assert (await client.get("/jobs/none/workflow")).status == 404


async def test_a_png_holds_what_made_it_and_a_setting_strips_it(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    job = await run(client, accept="image/png")
    async with client.get(here(job["url"])) as answer:
        image = Image.open(io.BytesIO(await answer.read()))
    async with client.get(here(job["links"]["prompt"])) as answer:
        assert json.loads(image.info["prompt"]) == await answer.json()
    async with client.get(here(job["links"]["workflow"])) as answer:
        assert image.info["workflow"] == await answer.text()
    for secret in ("signature", "base64", "http", text(plain())[:40]):
        assert secret not in image.info["prompt"]
    jpeg = await run(client, accept="image/jpeg")
    async with client.get(here(jpeg["url"])) as answer:
        assert b"KSampler" not in await answer.read()


async def test_a_setting_keeps_the_workflow_out_of_a_png(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url, png_workflow=False))
    job = await run(client, accept="image/png")
    async with client.get(here(job["url"])) as answer:
        assert not Image.open(io.BytesIO(await answer.read())).info


async def test_opening_puts_pictures_and_workflow_at_the_backend_and_leads_to_its_editor(
    fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url))
    job = await run(client)
    for _ in range(2):  # following the link again does no harm
        answer = await follow(client, job)
        assert (answer.status, answer.headers["Cache-Control"]) == (303, "no-store")
        assert answer.headers["Location"] == f"{fake.url}/?orchestrator_job={job['id']}"
    assert list(fake.editor.files) == [f"orchestrator/{job['id']}.json"]
    workflow = json.loads(fake.editor.files[f"orchestrator/{job['id']}.json"])
    shown = next(node for node in workflow["nodes"] if node["title"] == "Picture")["widgets_values"][0]
    assert shown == f"orchestrator/opened/{job['id']}-0.png"
    sent = fake.files["input", "orchestrator/opened", f"{job['id']}-0.png"]
    assert Image.open(io.BytesIO(sent)).convert("RGB").tobytes() == plain().convert("RGB").tobytes()


async def test_what_was_opened_long_ago_is_gone_from_the_backend(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    jobs = [await run(client) for _ in range(11)]
    for job in jobs:
        assert (await follow(client, job)).status == 303
    assert set(fake.editor.files) == {f"orchestrator/{job['id']}.json" for job in jobs[-8:]}
    assert fake.editor.forgotten == [job["id"] for job in jobs[:3]]


async def test_the_editor_link_is_signed_and_is_not_fetched_ahead(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url, api_keys="off"))
    job = await run(client)
    bare = urlsplit(here(job["links"]["editor"])).path
    assert (await client.get(bare)).status == 403
    assert (await follow(client, job, **{"Sec-Purpose": "prefetch;prerender"})).status == 503
    assert not fake.editor.files


async def test_callers_elsewhere_are_led_to_the_public_editor_or_told_why_not(
    fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url))
    job = await run(client)
    far = {"X-Forwarded-For": "203.0.113.7"}
    status, code, detail = await problem(await follow(client, job, **far))
    assert (status, code) == (404, "no_editor")
    assert "editor_url" in detail
    assert "PNG" in detail
    await client.close()
    public = [{"url": fake.url, "name": "fake", "editor_url": "https://draw.example/comfy/"}]
    client = await ready(await start(fake.url, backends=public))
    answer = await follow(client, await run(client), **far)
    assert answer.headers["Location"].startswith("https://draw.example/comfy/?orchestrator_job=")


async def test_a_backend_without_our_pack_or_without_an_editor_is_told_as_such(
    fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url))
    job = await run(client)
    fake.editor.extensions.remove(OPEN_JOB)
    status, code, detail = await problem(await follow(client, job))
    assert (status, code) == (404, "no_editor")
    assert "orchestrator_editor" in detail
    assert "by hand" in detail


@pytest.mark.parametrize("room", [0])
async def test_a_job_whose_pictures_are_gone_says_so(
    fake: FakeComfyUI, start: Service, tmp_path: Path, room: float
) -> None:
    client = await ready(await start(fake.url, inputs_gb=room))
    job = await run(client)
    assert not list((tmp_path / "inputs").iterdir())
    status, code, detail = await problem(await follow(client, job))
    assert (status, code) == (404, "no_editor")
    assert "inputs_gb" in detail
