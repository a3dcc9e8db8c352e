"""ComfyUI's own editor on the embedded backend, as somebody finds it who has nothing but this project."""

import io
import urllib.request

import numpy as np
from PIL import Image
from playwright.async_api import Page, expect

from tests.browser.console import Console
from tests.browser.editing import Editor
from tests.comfyui.backends import REPOSITORY
from tests.running import Running


async def test_a_first_visit_is_offered_the_services_workflows_and_opens_one(page: Page, served: Running) -> None:
    editor = Editor(page)
    await editor.open(served.editor, first_visit=True)
    await expect(page.get_by_text("Widgets of this service")).to_be_visible()
    for name in ("Inpaint", "Txt2img"):
        await expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    await page.get_by_role("heading", name="Inpaint", exact=True).click()
    await page.wait_for_function("window.app.graph.nodes.some(node => node.title === 'Masked start')")


async def test_the_inpaint_workflow_is_opened_and_run_and_its_picture_shown(page: Page, served: Running) -> None:
    editor = Editor(page)
    await editor.open(served.editor)
    await editor.open_file(REPOSITORY / "workflows" / "inpaint" / "workflow.json")
    assert await editor.shown_pictures("Picture") == [[192, 128]]
    for title, widget, value in (("Sampler", "steps", 3), ("Prompt", "steps", 3), ("Negative prompt", "steps", 3)):
        await editor.set_widget(title, widget, value)
    entry = await editor.run()
    assert await editor.shown_pictures("Result") == [[192, 128]]
    (shown,) = next(iter(entry["outputs"].values()))["images"]
    assert shown["type"] == "temp"
    query = "&".join(f"{name}={value}" for name, value in shown.items())
    with urllib.request.urlopen(f"{served.editor}/view?{query}", timeout=60) as answer:
        after = np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB")).astype(int)
    with Image.open(REPOSITORY / "orchestrator" / "demo" / "sample.jpg") as sample:
        before = np.asarray(sample.convert("RGB")).astype(int)
    changed = np.abs(after - before).max(-1) > 8
    assert changed[20:108, 60:132].mean() > 0.5
    assert not changed[:8].any()


async def test_a_workflow_whose_nodes_name_their_models_says_what_is_missing(page: Page, served: Running) -> None:
    """As ComfyUI's own default template does: the editor asks where such models belong."""
    model = {
        "name": "missing.safetensors",
        "url": "https://huggingface.co/a/missing.safetensors",
        "directory": "checkpoints",
    }
    workflow = {
        "version": 0.4,
        "nodes": [
            {
                "id": 1,
                "type": "CheckpointLoaderSimple",
                "pos": [100, 100],
                "size": [300, 100],
                "properties": {"models": [model]},
                "widgets_values": ["missing.safetensors"],
            }
        ],
        "links": [],
    }
    await page.route("https://huggingface.co/**", lambda route: route.fulfill(headers={"Content-Length": "1000"}))
    editor = Editor(page)
    await editor.open(served.editor)
    async with page.expect_response("**/internal/folder_paths") as answer:
        await page.evaluate("workflow => { void window.app.loadGraphData(workflow) }", workflow)
    assert (await (await answer.value).json())["checkpoints"] == ["models/checkpoints"]
    await expect(page.get_by_text("missing.safetensors").first).to_be_visible()


async def test_the_model_library_lists_the_models_of_each_kind(page: Page, console: Console, served: Running) -> None:
    console.expect("404: GET .*/models/preview/")  # as of any model without a picture beside it
    editor = Editor(page)
    await editor.open(served.editor)
    await editor.command("Workspace.ToggleSidebarTab.model-library")
    await page.get_by_role("treeitem", name="checkpoints").click()
    await expect(page.get_by_role("treeitem", name="demo").first).to_be_visible()


async def test_a_workflow_that_is_saved_is_there_at_the_next_visit(page: Page, served: Running) -> None:
    editor = Editor(page)
    await editor.open(served.editor)
    await page.evaluate(
        """async () => {
            const workflow = window.app.graph.serialize();
            const answer = await window.app.api.storeUserData('workflows/kept.json', workflow, {overwrite: false});
            if (answer.status !== 200) throw new Error(String(answer.status));
        }"""
    )
    await editor.open(served.editor)
    await editor.command("Workspace.ToggleSidebarTab.workflows")
    await expect(page.get_by_role("treeitem", name="kept.json")).to_be_visible()
    await page.evaluate("window.app.api.deleteUserData('workflows/kept.json')")
