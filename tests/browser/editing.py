"""The editor in a browser, as its user has it: opened, a workflow in it, run, and what it shows."""

from pathlib import Path
from typing import Any

from playwright.async_api import Page

_READY = (
    "window.app?.graph && window.app.extensionManager && Object.keys(window.LiteGraph.registered_node_types).length"
)


class Editor:
    """One page with the editor in it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def open(self, url: str, *, first_visit: bool = False) -> None:
        """Loads the editor, to where it can be used; only on a first visit it offers its templates."""
        settings = {"Comfy.TutorialCompleted": not first_visit}
        answer = await self.page.request.post(f"{url}/api/settings", data=settings)
        assert answer.ok, await answer.text()
        await self.page.goto(url)
        await self.page.wait_for_function(f"Boolean({_READY})")
        await self.page.get_by_role("button", name="Run", exact=True).wait_for()

    async def open_file(self, file: Path) -> None:
        """What *File → Open* does with a file."""
        async with self.page.expect_file_chooser() as chooser:
            await self.command("Comfy.OpenWorkflow")
        await (await chooser.value).set_files(file)
        await self.page.wait_for_function("name => document.title.includes(name)", arg=file.stem)
        await self.command("Comfy.Canvas.FitView")  # nodes out of sight load no pictures

    async def command(self, id_: str) -> None:
        """Runs a command of the editor, as its menu does."""
        await self.page.evaluate("id => { void window.app.extensionManager.command.execute(id) }", id_)

    async def set_widget(self, title: str, widget: str, value: Any) -> None:
        """Sets a widget of the node of that title, as typing does."""
        await self.page.evaluate(
            """([title, name, value]) => {
                const node = window.app.graph.nodes.find(node => node.title === title);
                const widget = node.widgets.find(widget => widget.name === name);
                widget.value = value;
                widget.callback?.(value);
            }""",
            [title, widget, value],
        )

    async def run(self) -> dict[str, Any]:
        """Presses *Run*, waits for the end of it; the history's entry."""
        async with self.page.expect_response(lambda answer: answer.url.endswith("/api/prompt")) as answer:
            await self.page.get_by_role("button", name="Run", exact=True).click()
        said = await (await answer.value).json()
        assert "prompt_id" in said, said
        entry = await self.page.evaluate(
            """async id => {
                for (;;) {
                    const found = await (await window.app.api.fetchApi(`/history/${id}`)).json();
                    if (found[id]) return found[id];
                    await new Promise(wake => setTimeout(wake, 100));
                }
            }""",
            said["prompt_id"],
        )
        assert entry["status"]["status_str"] == "success", entry["status"]
        return dict(entry)

    async def shown_pictures(self, title: str) -> list[list[int]]:
        """Width and height of the pictures that the node of that title shows."""
        shown = await self.page.wait_for_function(
            """title => {
                const node = window.app.graph.nodes.find(node => node.title === title);
                const pictures = (node.imgs ?? []).filter(picture => picture.complete && picture.naturalWidth);
                return pictures.length ? pictures.map(each => [each.naturalWidth, each.naturalHeight]) : null;
            }""",
            arg=title,
        )
        return list(await shown.json_value())
