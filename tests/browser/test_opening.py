"""A job is opened in ComfyUI's editor as it ran: node for node, and Run paints the same pixels."""

import asyncio
import io
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Page

from orchestrator.comfy.graph import Graph
from orchestrator.comfy.known import known_catalog
from orchestrator.demo_model.build import build
from orchestrator.widgets.conversion import without_editor_fields
from orchestrator.widgets.drawing.written import means
from tests.browser.console import Console
from tests.browser.editing import Editor
from tests.comfyui.backends import comfyui_arguments, started
from tests.contract.golden import CASES, compiled
from tests.integration.pictures import box_mask, noisy, text
from tests.running import Running, running_service

LORAS = "<lora:demo-red-is-blue:0.6><lora:demo-circle-is-ring:0.5:0.7>"
_LOAD = """async workflow => {
  await window.app.loadGraphData(workflow, true, false, null, {showMissingNodesDialog: false, showMissingModelsDialog: false});
  await new Promise(settled => setTimeout(settled, 150));
}"""  # noqa: E501
_PROMPT = "async () => JSON.parse(JSON.stringify((await window.app.graphToPrompt()).output))"


def assert_same(sent: Any, ran: Graph, names: dict[str, str] | None = None) -> None:
    """What the editor would send is what ran; `names` are the pictures' names in the editor."""
    catalog = known_catalog()
    drawn = without_editor_fields(Graph.from_api(sent), catalog)
    assert drawn.nodes.keys() == ran.nodes.keys()
    for id_, node in ran.nodes.items():
        other = drawn.nodes[id_]
        assert (other.class_type, other.inputs.keys()) == (node.class_type, node.inputs.keys()), node.title
        for name, value in node.inputs.items():
            wanted = (names or {}).get(value, value) if isinstance(value, str) else value
            assert means(other.inputs[name], wanted), (node.title, name, other.inputs[name], wanted)


async def test_every_golden_case_opens_as_it_ran(page: Page, served: Running, console: Console) -> None:
    console.expect("404: GET .*/view")  # the cases' pictures are nowhere
    await Editor(page).open(served.editor)
    for name, case in CASES.items():
        answer = compiled(case)
        await page.evaluate(_LOAD, answer.workflow)
        assert_same(await page.evaluate(_PROMPT), answer.graph)
        bypassed = await page.evaluate("window.app.graph.nodes.filter(node => node.mode === 4).length")
        assert bypassed == sum(node["mode"] == 4 for node in answer.workflow["nodes"]), name  # type: ignore[attr-defined]


async def post(served: Running, **more: object) -> tuple[dict[str, Any], Graph, bytes]:
    """A job that succeeded: as JSON, its graph, its PNG."""
    body = {
        "image": text(noisy((96, 64))),
        "mask": text(box_mask((96, 64))),
        "model": "demo",
        "prompt": f"a red {{heart|circle}} // on white {LORAS}",
        "seed": 2**63 + 1,
        "steps": 3,
        "denoising_strength": 1,
        "inpainting_fill": 2,
    }
    async with aiohttp.ClientSession(served.url) as session:
        accept = {"Accept": "image/png"}
        async with session.post("/widgets/inpaint", json=body | more, headers=accept) as answer:
            assert answer.status == 200, await answer.text()
            job_id = answer.headers["X-Job-Id"]
        async with session.get(f"/jobs/{job_id}") as answer:
            job = await answer.json()
        async with session.get(f"/jobs/{job_id}/prompt") as answer:
            graph = Graph.from_api(await answer.json())
        async with session.get(job["url"]) as answer:
            return job, graph, await answer.read()


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def renamed(graph: Graph, prompt: Any) -> dict[str, str]:
    """The pictures' names in the graph that ran, to those in the editor."""
    loaders = [(id_, node) for id_, node in graph.nodes.items() if node.class_type.startswith("LoadImage")]
    return {str(node.inputs["image"]): prompt[id_]["inputs"]["image"] for id_, node in loaders}


async def opened(page: Page, job: dict[str, Any]) -> None:
    """Follows the job's link to the editor, to where the job is shown."""
    await page.goto(job["links"]["editor"])
    await page.wait_for_function("id => document.title.includes(id)", arg=f"job {job['id'][:8]}")
    await page.wait_for_function("window.app.graph.nodes.some(node => node.title === 'Sampler')")


async def run_again(page: Page, backend: str) -> np.ndarray:
    """Presses Run at a backend that has forgotten all that it made; the picture that comes out."""
    async with aiohttp.ClientSession(backend) as session:
        async with session.post("/free", json={"unload_models": True, "free_memory": True}) as answer:
            assert answer.status == 200
        await asyncio.sleep(2)
        entry = await Editor(page).run()
        cached = next(data for kind, data in entry["status"]["messages"] if kind == "execution_cached")
        assert not cached["nodes"]
        (shown,) = next(iter(entry["outputs"].values()))["images"]
        async with session.get("/view", params=shown) as answer:
            return pixels(await answer.read())


@pytest.mark.parametrize("seed", [7, 2**63 + 1])
async def test_the_link_of_a_job_opens_it_and_run_paints_the_same_pixels(
    page: Page, served: Running, seed: int
) -> None:
    job, graph, png = await post(served, seed=seed)
    await opened(page, job)
    assert "orchestrator_job" not in page.url
    prompt = await page.evaluate(_PROMPT)
    names = renamed(graph, prompt)
    assert len(names) == 2
    assert all(job["id"] in name for name in names.values())
    assert_same(prompt, graph, names)
    assert (await run_again(page, served.editor) == pixels(png)).all()
    await Editor(page).command("Comfy.Canvas.FitView")
    assert await Editor(page).shown_pictures("Picture") == [[96, 64]]
    if seed < 2**50:  # a larger one is cut by the editor after its first run
        assert_same(await page.evaluate(_PROMPT), graph, names)


async def test_a_png_that_is_dropped_on_the_editor_opens_its_job(
    page: Page, served: Running, console: Console, tmp_path: Path
) -> None:
    console.expect("404: GET .*/view")  # the editor looks for the job's pictures among the inputs
    _, graph, png = await post(served, prompt="a red heart")
    file = tmp_path / "dropped.png"
    file.write_bytes(png)
    editor = Editor(page)
    await editor.open(served.editor)
    await page.evaluate("window.app.graph.clear()")
    await editor.open_file(file)
    assert_same(await page.evaluate(_PROMPT), graph)


async def test_a_job_that_is_not_there_any_more_is_said_in_the_editor(
    page: Page, served: Running, console: Console
) -> None:
    console.expect("404: GET .*userdata")
    await Editor(page).open(served.editor)
    await page.goto(f"{served.editor}/?orchestrator_job=00000000-0000-0000-0000-000000000000")
    await page.get_by_text("The job cannot be opened").wait_for()


@pytest.fixture(scope="module")
def beside_comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """A service in front of a real ComfyUI with our packs, and that ComfyUI's address."""
    place, python = os.environ.get("COMFYUI_DIR"), os.environ.get("COMFYUI_PYTHON")
    if not place or not python:
        pytest.skip("no real ComfyUI: set COMFYUI_DIR to its checkout and COMFYUI_PYTHON to a Python that runs it")
    folder = tmp_path_factory.mktemp("beside")
    models = folder / "data" / "models"
    build(models)
    with ExitStack() as stack:
        (folder / "comfyui").mkdir()
        arguments = comfyui_arguments(python, models, folder / "comfyui")
        comfyui = stack.enter_context(started(arguments, folder / "comfyui", Path(place)))
        config = folder / "config.yaml"
        config.write_text(json.dumps({"backends": [{"url": comfyui.url, "name": "real"}]}))
        yield stack.enter_context(running_service(folder, config)), comfyui.url


@pytest.mark.comfyui
async def test_on_a_real_comfyui_the_link_opens_the_job_and_run_paints_the_same_pixels(
    page: Page, console: Console, beside_comfyui: tuple[Running, str]
) -> None:
    # What a fresh ComfyUI does not have, and what its editor complains of itself.
    console.expect(r"404: GET .*(user\.css|userdata|favicon)|reading 'id'")
    service, comfyui = beside_comfyui
    job, graph, png = await post(service)
    await opened(page, job)
    prompt = await page.evaluate(_PROMPT)
    assert_same(prompt, graph, renamed(graph, prompt))
    assert (await run_again(page, comfyui) == pixels(png)).all()
