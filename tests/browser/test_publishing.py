"""From a drawing in the editor to a widget that callers use: the whole way of an artist, in a browser."""

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from orchestrator.comfy.known import known_catalog
from orchestrator.widgets.library import load_one
from tests.browser.console import Console
from tests.browser.editing import Editor
from tests.comfyui.backends import REPOSITORY
from tests.running import Running

TXT2IMG = REPOSITORY / "workflows" / "txt2img" / "workflow.json"


async def open_dialog(page: Page) -> None:
    """*Publish as widget*, by the menu."""
    await page.locator(".comfyui-logo").first.click()
    await page.get_by_role("menuitem", name="File", exact=True).hover()
    await page.get_by_text("Publish as widget", exact=True).click()
    await expect(page.get_by_role("dialog", name="Publish as widget")).to_be_visible()


def call(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


async def test_a_drawing_is_published_named_and_run_as_a_widget(page: Page, served: Running) -> None:
    editor = Editor(page)
    await editor.open(served.editor)
    await editor.open_file(TXT2IMG)
    await open_dialog(page)
    said = page.get_by_role("status")
    await page.get_by_label("Name", exact=True).fill("House!")
    await page.get_by_role("button", name="Publish").click()
    await expect(said).to_contain_text("Give it a name of a-z, 0-9, - and _: it is house now")
    await expect(page.get_by_label("Name", exact=True)).to_have_value("house")
    await page.get_by_label("Title", exact=True).fill("Houses & <b>gardens</b>")
    await page.get_by_label("Description", exact=True).fill("Paints a house.")
    await page.get_by_role("button", name="Check").click()
    await expect(said).to_contain_text("This would be a new widget.")
    await expect(said).to_contain_text("house can be used; callers set model, prompt")
    assert not (served.workflows / "house").exists(), "a check writes nothing"
    await page.get_by_role("button", name="Publish").click()
    await expect(said).to_contain_text("house is published.")
    link = page.get_by_role("link", name="Open the page of house")
    await expect(link).to_have_attribute("href", f"{served.url}/?widget=house")
    schema = call(f"{served.url}/widgets/house")
    assert (schema["title"], schema["description"]) == ("Houses & <b>gardens</b>", "Paints a house.")
    picture = call(
        f"{served.url}/widgets/house",
        {"prompt": "a red heart", "width": 64, "height": 64, "steps": 2, "model": "demo", "sampler": "Euler"},
    )
    assert re.match(re.escape(served.url) + "/images/", picture["url"])


async def test_a_widget_is_replaced_only_when_asked_and_keeps_what_the_artist_wrote(
    page: Page, served: Running, console: Console
) -> None:
    console.expect("409: POST")
    editor = Editor(page)
    await editor.open(served.editor)
    await editor.open_file(TXT2IMG)
    await open_dialog(page)
    said = page.get_by_role("status")
    name = page.get_by_label("Name", exact=True)
    await name.fill("garden")
    await page.get_by_role("button", name="Publish").click()
    await expect(said).to_contain_text("garden is published.")
    definition = served.workflows / "garden" / "widget.yaml"
    written = definition.read_text("utf-8").replace("title: Garden", "title: My garden")
    definition.write_text(written, "utf-8")
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    await editor.set_widget("Sampler", "cfg", 3.5)
    await open_dialog(page)
    await expect(name).to_have_value("garden")
    await expect(said).to_contain_text("There is a widget garden already")
    await page.get_by_label("Replace the widget that is there").check()
    await page.get_by_role("button", name="Publish").click()
    await expect(said).to_contain_text("garden is replaced.")
    assert definition.read_text("utf-8") == written
    drawing = json.loads((served.workflows / "garden" / "workflow.json").read_text("utf-8"))
    assert 3.5 in next(node for node in drawing["nodes"] if node.get("title") == "Sampler")["widgets_values"]
    assert call(f"{served.url}/widgets/garden")["title"] == "My garden"


async def test_the_open_drawing_gets_the_titles_of_the_widget_and_its_file_knows_its_name(
    page: Page, served: Running, tmp_path: Path, console: Console
) -> None:
    console.expect("409: POST")
    drawing = json.loads(TXT2IMG.read_text("utf-8"))
    for node in drawing["nodes"]:
        node.pop("title", None)
    file = tmp_path / "untitled.json"
    file.write_text(json.dumps(drawing))
    editor = Editor(page)
    await editor.open(served.editor)
    await editor.open_file(file)
    await open_dialog(page)
    said = page.get_by_role("status")
    await page.get_by_label("Name", exact=True).fill("hut")
    await page.get_by_role("button", name="Publish").click()
    await expect(said).to_contain_text("hut is published.")
    titles = await page.evaluate("() => window.app.graph.nodes.map(node => node.title)")
    assert {"Prompt", "Negative prompt", "Result"} <= set(titles)
    exported = await page.evaluate("() => window.app.graph.serialize()")
    published = served.workflows / "hut" / "workflow.json"
    published.write_text(json.dumps(exported))
    assert load_one(published.parent, known_catalog()).definition.output == "Result"
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    await editor.open_file(published)
    await open_dialog(page)
    await expect(page.get_by_label("Name", exact=True)).to_have_value("hut")


async def test_what_cannot_be_a_widget_is_told_in_sentences(page: Page, served: Running, console: Console) -> None:
    console.expect("422: POST")
    editor = Editor(page)
    await editor.open(served.editor)
    await editor.open_file(TXT2IMG)
    await page.evaluate("""() => {
        const result = window.app.graph.nodes.find(node => node.title === 'Result');
        window.app.graph.remove(result);
    }""")
    await open_dialog(page)
    await page.get_by_label("Name", exact=True).fill("endless")
    await page.get_by_role("button", name="Publish").click()
    said = page.get_by_role("status")
    await expect(said).to_contain_text("The workflow cannot be a widget as it is.")
    await expect(said.get_by_role("listitem")).to_contain_text("no node gives a picture back; add one of")
    assert not (served.workflows / "endless").exists()


async def test_a_page_of_another_address_publishes_nothing(page: Page, served: Running, console: Console) -> None:
    console.expect("CORS|ERR_FAILED|403")
    await page.goto(f"{served.url}/healthz")
    for url in (f"{served.editor}/orchestrator/publish", f"{served.editor}/api/orchestrator/publish"):
        for headers in ({"Content-Type": "text/plain"}, {"X-Orchestrator-Publish": "1"}):
            outcome = await page.evaluate(
                """async ([url, headers]) => {
                    const body = JSON.stringify({name: 'stolen', workflow: {}});
                    for (const mode of ['cors', 'no-cors'])
                        try { await fetch(url, {method: 'POST', headers, body, mode}); } catch {}
                    return 'tried';
                }""",
                [url, headers],
            )
            assert outcome == "tried"
    refused = await page.evaluate(
        """async () => (await fetch('/widgets/stolen', {method: 'PUT', body: '{"workflow": {}}'})).status"""
    )
    assert refused == 403, "not even a page of the service's own address, where no keys are asked for"
    assert not (served.workflows / "stolen").exists()
