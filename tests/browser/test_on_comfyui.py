"""The node pack's command in the editor of a real ComfyUI, against a service that asks for API keys."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.console import Console
from tests.browser.editing import Editor
from tests.browser.test_publishing import TXT2IMG, open_dialog
from tests.comfyui.backends import REPOSITORY, comfyui_arguments, started
from tests.comfyui.conftest import comfyui_installation
from tests.running import running_service

__all__ = ["comfyui_installation"]


@pytest.mark.comfyui
async def test_an_artist_publishes_from_comfyui_with_the_address_and_key_in_its_settings(
    page: Page, console: Console, comfyui_installation: tuple[str, str], tmp_path: Path
) -> None:
    place, python = comfyui_installation
    # What ComfyUI 0.3.64 and its editor complain of by themselves on a first visit.
    console.expect("user.css|userdata|api.comfy.org|reading 'id'|view\\?|templates")
    console.expect("403: POST .*/orchestrator/publish")
    folder = tmp_path / "comfyui"
    folder.mkdir()
    models = tmp_path / "data" / "models"
    (models / "checkpoints").mkdir(parents=True)
    with (
        running_service(tmp_path, ORCHESTRATOR_API_KEYS="required") as service,
        started(comfyui_arguments(python, models, folder), folder, Path(place)) as comfyui,
    ):
        key = _new_key(service.data)
        editor = Editor(page)
        await editor.open(comfyui.url)
        await editor.open_file(TXT2IMG)
        await open_dialog(page)
        dialog, said = page.get_by_role("dialog", name="Publish as widget"), page.get_by_role("status")
        await expect(dialog).to_contain_text("The service's address is not set yet")
        await dialog.get_by_label("Name", exact=True).fill("from-comfyui")
        await dialog.get_by_role("button", name="Publish").click()
        await expect(said).to_contain_text("set the service's address", ignore_case=True)
        await dialog.get_by_role("button", name="Close").click()
        await page.evaluate(
            """async ([address, key]) => {
                await window.app.extensionManager.setting.set('Orchestrator.Service.Address', address);
                await window.app.extensionManager.setting.set('Orchestrator.Service.Key', key);
            }""",
            [service.url, key],
        )
        await open_dialog(page)
        await dialog.get_by_label("Name", exact=True).fill("from-comfyui")
        await dialog.get_by_role("button", name="Publish").click()
        await expect(said).to_contain_text("from-comfyui is published.")
        link = page.get_by_role("link", name="Open the page of from-comfyui")
        await expect(link).to_have_attribute("href", f"{service.url}/?widget=from-comfyui")
        assert (service.workflows / "from-comfyui" / "widget.yaml").is_file()
        await page.close()  # before its backend goes, of which it would complain


def _new_key(data: Path) -> str:
    command = [sys.executable, "-m", "orchestrator.cli", "keys", "add", "artist", "--may", "publish", "--no-run"]
    made = subprocess.run(
        [*command, "--data", str(data)], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    return next(word for word in made.stdout.split() if word.startswith("orc_"))
