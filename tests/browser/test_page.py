"""The page at `/` in Chromium: from a dropped picture to its result, by mouse, finger and keyboard."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from axe_playwright_python.async_playwright import Axe
from PIL import Image
from playwright.async_api import Locator, Page, Route, expect

from tests.browser.conftest import NewPage
from tests.browser.console import Console
from tests.comfyui.backends import REPOSITORY
from tests.integration.callers import a_key
from tests.running import Running, running_service

SAMPLE = REPOSITORY / "orchestrator" / "demo" / "sample.jpg"
MASK = REPOSITORY / "orchestrator" / "demo" / "mask.png"
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
LONG_MS = 120_000
expect.set_options(timeout=30_000)


async def opened(page: Page, served: Running, widget: str = "inpaint") -> None:
    await page.goto(f"{served.url}/?widget={widget}")
    await expect(page.get_by_role("button", name="Run")).to_be_enabled()


async def with_picture(page: Page, served: Running) -> Locator:
    """The canvas of the mask, over the sample."""
    await opened(page, served)
    await page.locator("#file-image").set_input_files(SAMPLE)
    canvas = page.get_by_role("application")
    await expect(canvas).to_be_visible()
    return canvas


async def paint(page: Page, canvas: Locator, *points: tuple[float, float]) -> None:
    """A stroke with the mouse; points are parts of the canvas's sides."""
    box = await canvas.bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    await page.mouse.move(*places[0])
    await page.mouse.down()
    for place in places[1:]:
        await page.mouse.move(*place, steps=5)
    await page.mouse.up()


async def mask_of(page: Page, folder: Path) -> np.ndarray:
    """The mask as the page would send it, shape (height, width), 0 to 255."""
    async with page.expect_download() as coming:
        await page.get_by_role("button", name="Save the mask").click()
    await (await coming.value).save_as(folder / "mask.png")
    return np.asarray(Image.open(folder / "mask.png").convert("L"))


async def quick(page: Page, prompt: str = "a red heart") -> None:
    """Few steps on the demo model, from a form that is otherwise as it came."""
    await page.locator("#field-prompt").fill(prompt)
    await page.locator("#field-model").fill("demo")
    await page.locator("#field-steps").fill("4")


async def accessible(page: Page) -> None:
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


async def test_a_picture_is_dropped_painted_run_and_compared(page: Page, served: Running, tmp_path: Path) -> None:
    canvas = await with_picture(page, served)
    await paint(page, canvas, (0.3, 0.5), (0.7, 0.5))
    await quick(page)
    await page.get_by_role("button", name="Run").click()
    slider = page.get_by_role("slider", name="before")
    await expect(slider).to_be_visible(timeout=LONG_MS)
    await slider.focus()
    await page.keyboard.press("End")
    await expect(slider).to_have_value("100")
    async with page.expect_download() as coming:
        await page.get_by_role("button", name="Download").click()
    await (await coming.value).save_as(tmp_path / "result.png")
    before, after = (np.asarray(Image.open(file).convert("RGB")) for file in (SAMPLE, tmp_path / "result.png"))
    changed = (before != after).any(-1)
    assert changed[64, 60:130].mean() > 0.9
    assert not changed[:32].any()
    await accessible(page)


async def test_undo_redo_invert_erase_and_upload_change_the_mask_that_is_sent(
    page: Page, served: Running, tmp_path: Path
) -> None:
    canvas = await with_picture(page, served)
    await paint(page, canvas, (0.2, 0.5), (0.4, 0.5))
    one = await mask_of(page, tmp_path)
    assert one.shape == (128, 192)
    assert (one[64, 45:70] == 255).all()
    await paint(page, canvas, (0.7, 0.2), (0.8, 0.2))
    two = await mask_of(page, tmp_path)
    assert (two > 127).sum() > (one > 127).sum()
    await page.get_by_role("button", name="Undo").click()
    np.testing.assert_array_equal(await mask_of(page, tmp_path), one)
    await page.get_by_role("button", name="Redo").click()
    np.testing.assert_array_equal(await mask_of(page, tmp_path), two)
    await page.get_by_role("button", name="Invert the mask").click()
    np.testing.assert_array_equal(await mask_of(page, tmp_path), 255 - two)
    await page.get_by_role("button", name="Eraser").click()
    await paint(page, canvas, (0.1, 0.1), (0.9, 0.9))
    assert (await mask_of(page, tmp_path))[64, 96] == 0
    await page.get_by_role("button", name="Clear the mask").click()
    assert (await mask_of(page, tmp_path)).max() == 0
    await page.locator("#file-mask").set_input_files(MASK)
    np.testing.assert_allclose(await mask_of(page, tmp_path), np.asarray(Image.open(MASK).convert("L")), atol=2)


async def test_the_keyboard_paints_too(page: Page, served: Running, tmp_path: Path) -> None:
    canvas = await with_picture(page, served)
    await canvas.focus()
    for key in ("ArrowLeft", " ", "Shift+ArrowRight", "Shift+ArrowRight", " "):
        await page.keyboard.press(key)
    painted = (await mask_of(page, tmp_path)) > 127
    assert painted[64, 96:115].all()
    assert not painted[:40].any()
    await canvas.focus()
    await page.keyboard.press("Control+z")
    assert (await mask_of(page, tmp_path)).max() == 0


async def test_a_finger_paints_on_a_zoomed_phone_where_it_touches(
    newcomer: NewPage, served: Running, tmp_path: Path
) -> None:
    page = await newcomer(**PHONE)
    canvas = await with_picture(page, served)
    await canvas.scroll_into_view_if_needed()
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Emulation.setPageScaleFactor", {"pageScaleFactor": 2})
    box = await canvas.evaluate("canvas => canvas.getBoundingClientRect().toJSON()")
    seen = await page.evaluate(
        "({x: visualViewport.offsetLeft, y: visualViewport.offsetTop, scale: visualViewport.scale})"
    )
    assert seen["scale"] == 2
    # Where a part of the picture is on the glass, in the units that the finger's events come in.
    spots = [
        {"x": box["x"] + part * box["width"] - seen["x"], "y": box["y"] + 0.5 * box["height"] - seen["y"]}
        for part in (0.2, 0.4)
    ]
    await devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [spots[0]]})
    await devtools.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [spots[1]]})
    await devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    await devtools.send("Emulation.setPageScaleFactor", {"pageScaleFactor": 1})
    painted = (await mask_of(page, tmp_path)) > 127
    assert painted[64, 40:75].all()
    assert not painted[:, 100:].any()


async def test_a_second_finger_makes_a_pinch_of_it_and_paints_nothing(
    newcomer: NewPage, served: Running, tmp_path: Path
) -> None:
    page = await newcomer(**PHONE)
    canvas = await with_picture(page, served)
    box = await canvas.bounding_box()
    assert box is not None
    one, other = (
        {"x": box["x"] + part * box["width"], "y": box["y"] + 40, "id": at} for at, part in enumerate((0.3, 0.7))
    )
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [one]})
    await devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [one, other]})
    await devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert (await mask_of(page, tmp_path)).max() == 0


async def test_nothing_is_wider_than_a_phone(newcomer: NewPage, served: Running) -> None:
    page = await newcomer(**PHONE)
    await with_picture(page, served)
    await page.get_by_text("More settings").click()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await accessible(page)


async def test_the_page_is_accessible_in_the_dark(newcomer: NewPage, served: Running) -> None:
    page = await newcomer(color_scheme="dark")
    await with_picture(page, served)
    await page.get_by_text("More settings").click()
    await accessible(page)


async def test_each_complaint_stands_beside_its_field(page: Page, served: Running, console: Console) -> None:
    await opened(page, served)
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator("#error-image")).to_have_text(re.compile("image is required"))
    await expect(page.locator("#error-prompt")).to_have_text("prompt is required")
    await page.locator("#file-image").set_input_files(SAMPLE)
    await paint(page, page.get_by_role("application"), (0.3, 0.5), (0.7, 0.5))
    await quick(page)
    await page.locator("#field-seed").fill("many")
    await page.locator("#field-model").fill("no-such-model")
    console.expect("422: POST")
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator("#error-seed")).to_have_text(re.compile("seed must be a whole number"))
    await expect(page.locator("#field-seed")).to_be_focused()
    await page.locator("#field-seed").fill("3")
    console.expect("404: POST")
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator("#error-model")).to_have_text(re.compile("no-such-model"))
    await expect(page.locator("#error-seed")).to_be_hidden()
    await accessible(page)


async def test_a_double_click_is_one_run(page: Page, served: Running) -> None:
    canvas = await with_picture(page, served)
    await paint(page, canvas, (0.3, 0.5), (0.7, 0.5))
    await quick(page)
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    await page.get_by_role("button", name="Run").dblclick()
    await expect(page.get_by_role("slider", name="before")).to_be_visible(timeout=LONG_MS)
    assert len(posts) == 1
    await expect(page.locator("#alert")).to_be_hidden()


async def test_a_seed_is_kept_whole_and_a_drawn_one_is_in_the_copied_command(
    newcomer: NewPage, served: Running
) -> None:
    page = await newcomer(permissions=["clipboard-read", "clipboard-write"])
    await opened(page, served, "txt2img")
    await quick(page)
    largest = str(2**64 - 1)
    await page.locator("#field-seed").fill(largest)
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator("#result")).to_contain_text(f"Seed {largest} ", timeout=LONG_MS)
    await page.locator("#field-seed").fill("")
    await page.get_by_role("button", name="Keep its seed").click()
    await expect(page.locator("#field-seed")).to_have_value(largest)
    await page.locator("#field-seed").fill("")
    await page.get_by_role("button", name="Run").click()
    drawn = page.locator("#result .facts")
    await expect(drawn).not_to_contain_text(largest, timeout=LONG_MS)
    seed = re.search(r"Seed (\d+)", await drawn.inner_text())
    assert seed is not None
    await page.locator("#result").get_by_role("button", name="Copy as curl").click()
    await expect(page.locator("#announcer")).to_have_text("curl command copied")
    assert f"seed={seed[1]}" in await page.evaluate("navigator.clipboard.readText()")


async def test_the_slower_of_two_choices_does_not_win_and_both_buttons_come_back(page: Page, served: Running) -> None:
    await opened(page, served, "inpaint")
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route("**/widgets/txt2img", hold)
    await page.locator("#widget").select_option("txt2img")
    await page.locator("#widget").select_option("inpaint")
    async with page.expect_response("**/widgets/txt2img"):
        held.set()
    await expect(page.locator("#title")).to_have_text("Inpaint")
    await page.locator("#widget").select_option("txt2img")
    await quick(page)
    await page.get_by_role("button", name="Run").click()
    await page.locator("#widget").select_option("inpaint")
    await expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled(timeout=LONG_MS)
    await expect(page.locator("#panel").get_by_role("button", name="Copy as curl")).to_be_enabled()


async def test_a_run_can_be_cancelled(page: Page, served: Running) -> None:
    await opened(page, served, "txt2img")
    await quick(page)
    await page.locator("#field-steps").fill("150")
    await page.locator("#field-width").fill("512")
    await page.get_by_role("button", name="Run").click()
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("#result")).to_contain_text("Cancelled", timeout=LONG_MS)
    await expect(page.get_by_role("button", name="Run")).to_be_enabled()


async def test_a_run_goes_on_when_the_page_is_loaded_anew_and_the_history_can_be_cleared(
    page: Page, served: Running
) -> None:
    await opened(page, served, "txt2img")
    await quick(page, "a blue circle")
    await page.locator("#field-steps").fill("20")
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator("#history-list button")).to_have_count(1)
    await page.reload()
    await expect(page.locator("#field-prompt")).to_have_value("a blue circle")
    await expect(page.get_by_role("img", name="Result: a blue circle")).to_be_visible(timeout=LONG_MS)
    await page.reload()
    await page.locator("#history-list button").click()
    await expect(page.get_by_role("img", name="Result: a blue circle")).to_be_visible()
    await page.get_by_role("button", name="Use settings").click()
    await expect(page.locator("#field-prompt")).to_have_value("a blue circle")
    await page.get_by_role("button", name="Clear history").click()
    await page.get_by_role("button", name="Forget them").click()
    await expect(page.locator("#history")).to_be_hidden()
    await page.reload()
    await expect(page.get_by_role("button", name="Run")).to_be_enabled()
    await expect(page.locator("#history")).to_be_hidden()


async def test_the_copied_command_runs_as_it_is_whatever_the_prompt_holds(
    newcomer: NewPage, served: Running, tmp_path: Path
) -> None:
    page = await newcomer(permissions=["clipboard-read", "clipboard-write"])
    canvas = await with_picture(page, served)
    await page.locator("#file-image").set_input_files(
        {"name": 'it\'s; a "test", a.jpg', "mimeType": "image/jpeg", "buffer": SAMPLE.read_bytes()}
    )
    await paint(page, canvas, (0.3, 0.5), (0.7, 0.5))
    await mask_of(page, tmp_path)
    (tmp_path / 'it\'s; a "test", a.jpg').write_bytes(SAMPLE.read_bytes())
    await quick(page, '@it\'s a "heart" $HOME `id`; \\ <lora:demo-red-is-blue:0.5>\nand more')
    await page.locator("#panel").get_by_role("button", name="Copy as curl").click()
    await expect(page.locator("#announcer")).to_have_text("curl command copied")
    command = await page.evaluate("navigator.clipboard.readText()")
    answer = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=LONG_MS / 1000)
    assert answer.returncode == 0, answer.stderr
    assert '"url": "http' in answer.stdout, answer.stdout


async def test_markup_in_a_widget_and_a_prompt_is_shown_as_text(newcomer: NewPage, served: Running) -> None:
    markup = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"&amp;'
    source = served.workflows / "txt2img"
    evil = served.workflows / "evil"
    evil.mkdir()
    (evil / "workflow.json").write_bytes((source / "workflow.json").read_bytes())
    definition = (source / "widget.yaml").read_text()
    quoted = markup.replace("'", "''")
    for line in ("title: Text to image", "description: Paints a picture from a prompt alone."):
        definition = definition.replace(line, f"{line.split(':')[0]}: '{quoted}'")
    (evil / "widget.yaml").write_text(definition.replace("help: What to stay away from.", f"help: '{quoted}' #"))
    page = await newcomer()
    async with page.expect_response(re.compile("/widgets/evil$")) as described:
        for _ in range(60):
            await page.goto(f"{served.url}/?widget=evil")
            await expect(page.get_by_role("button", name="Run")).to_be_enabled()
            if await page.locator("#title").inner_text() == markup:
                break
            await page.wait_for_timeout(500)
    assert (await described.value).ok
    await expect(page.locator("#title")).to_have_text(markup)
    await expect(page.locator("#help-negative_prompt")).to_have_text(markup)
    await quick(page, markup)
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator("#history-list .caption")).to_have_text(markup)
    await expect(page.get_by_role("button", name="Download")).to_be_visible(timeout=LONG_MS)
    assert await page.evaluate("window.hacked") is None
    assert await page.locator("main img[src='x']").count() == 0


async def test_a_key_is_asked_for_once_and_kept_in_this_browser(
    page: Page, console: Console, chromium: str, tmp_path: Path
) -> None:
    key = a_key(tmp_path / "data", "somebody")["Authorization"].removeprefix("Bearer ")
    with running_service(tmp_path, ORCHESTRATOR_API_KEYS="required") as keyed:
        console.expect("401: GET")
        await page.goto(keyed.url)
        await page.locator("#api-key").fill("orc_wrong")
        await accessible(page)
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#api-key-error")).to_contain_text("not known")
        await page.locator("#api-key").fill(key)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("button", name="Run")).to_be_enabled()
        await page.goto(f"{keyed.url}/?widget=txt2img")
        await quick(page, "a green square")
        await page.get_by_role("button", name="Run").click()
        await expect(page.get_by_role("button", name="Download")).to_be_visible(timeout=LONG_MS)
        await page.get_by_role("button", name="API key").click()
        await page.locator("#api-key").fill("")
        await page.get_by_role("button", name="Save").click()
        await page.wait_for_function("Object.values(localStorage).join() === ''")


async def test_the_history_is_bounded_in_number_and_in_bytes(page: Page, served: Running) -> None:
    await opened(page, served)
    dropped = await page.evaluate(
        """async () => {
            const folder = document.querySelector("script[src]").src.replace("start.js", "");
            const { tooMuch } = await import(folder + "store.js");
            const runs = Array.from({ length: 5 }, (_, id) => ({ id, result: new Blob([new Uint8Array(100)]) }));
            return [tooMuch(runs, 3, 10000), tooMuch(runs, 40, 250), tooMuch(runs, 40, 1)]
                .map((gone) => gone.map((run) => run.id));
        }"""
    )
    assert dropped == [[3, 4], [2, 3, 4], [1, 2, 3, 4]]


async def test_the_bar_never_goes_back_while_a_job_runs(page: Page, served: Running) -> None:
    await opened(page, served)
    bars = await page.evaluate(
        """async () => {
            const folder = document.querySelector("script[src]").src.replace("start.js", "");
            const { Progress } = await import(folder + "progress.js");
            const progress = new Progress(() => {}, null);
            const running = (node, step, steps) => ({ kind: "running", node, step, steps, nodes: 4, nodes_done: 2 });
            const events = [
                { kind: "fetching", model: "m", received_bytes: 9, total_bytes: 10 },
                running("Prompt", 0, 0), running("Sampler", 1, 4), running("Sampler", 4, 4), running("Decode", 0, 0),
            ];
            return events.map((event) => (progress.tell(event), progress.bar.position));
        }"""
    )
    assert bars == [0.9, -1, 0.25, 1, 1], "-1 is a bar that tells no amount"


async def test_a_pen_draws_and_its_other_end_erases(page: Page, served: Running, tmp_path: Path) -> None:
    canvas = await with_picture(page, served)
    stroke = """(canvas, buttons) => {
        const box = canvas.getBoundingClientRect();
        const told = (type, x) => canvas.dispatchEvent(new PointerEvent(type, {
            pointerType: "pen", pointerId: 1, isPrimary: true, bubbles: true, pressure: 0.5,
            button: type === "pointermove" ? -1 : buttons === 32 ? 5 : 0, buttons,
            clientX: box.left + x * box.width, clientY: box.top + 0.5 * box.height,
        }));
        canvas.setPointerCapture = () => {};
        told("pointerdown", 0.2); told("pointermove", 0.6); told("pointerup", 0.6);
    }"""
    await canvas.evaluate(stroke, 1)
    drawn = await mask_of(page, tmp_path)
    assert drawn[64, 45:110].min() == 255
    await canvas.evaluate(stroke, 32)
    assert (await mask_of(page, tmp_path)).max() < 128


async def test_a_file_that_is_no_picture_is_refused_where_it_was_given(page: Page, served: Running) -> None:
    await opened(page, served)
    await page.locator("#file-image").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    await expect(page.locator("#error-image")).to_contain_text("is not a picture that this browser can show")


async def test_the_whole_page_is_small(page: Page, served: Running) -> None:
    sizes: dict[str, int] = {}

    async def weigh(response: Any) -> None:
        sizes[response.url] = len(await response.body())

    page.on("response", weigh)
    await opened(page, served)
    await page.wait_for_load_state("networkidle")
    own = {url: size for url, size in sizes.items() if "/page/" in url or "/?" in url}
    assert len(own) > 10
    assert sum(own.values()) < 150_000


async def test_a_result_can_be_repainted(page: Page, served: Running) -> None:
    canvas = await with_picture(page, served)
    await paint(page, canvas, (0.3, 0.5), (0.7, 0.5))
    await quick(page)
    await page.get_by_role("button", name="Run").click()
    await page.get_by_role("button", name="Repaint result").click(timeout=LONG_MS)
    await expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    await paint(page, page.get_by_role("application"), (0.2, 0.2), (0.4, 0.2))
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator("#history-list img")).to_have_count(2, timeout=LONG_MS)


async def test_the_picture_is_seen_as_it_comes_and_the_job_opens_in_the_editor(page: Page, served: Running) -> None:
    await opened(page, served, "txt2img")
    await quick(page, "a yellow triangle")
    for name, value in (("steps", "30"), ("width", "256"), ("height", "256")):
        await page.locator(f"#field-{name}").fill(value)
    await page.get_by_role("button", name="Run").click()
    preview = page.get_by_role("img", name="The picture so far")
    await expect(preview).to_be_visible(timeout=LONG_MS)
    assert (await preview.get_attribute("src") or "").startswith("data:image/")
    await expect(page.get_by_role("button", name="Download")).to_be_visible(timeout=LONG_MS)
    async with page.context.expect_page() as coming_up:
        await page.get_by_role("link", name="Open in ComfyUI").click()
    editor = await coming_up.value
    await editor.wait_for_url(lambda url: url.startswith(served.editor), wait_until="commit", timeout=LONG_MS)
    await editor.close()
    async with page.expect_download() as coming:
        await page.get_by_role("button", name="Workflow").click()
    workflow = json.loads(Path(await (await coming.value).path()).read_text())
    assert {"nodes", "links"} <= set(workflow)
