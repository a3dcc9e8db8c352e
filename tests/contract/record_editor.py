"""Records what ComfyUI's own editor makes of saved workflows, to compare the converter with. Needs Chromium.

    pip install playwright
    python -m tests.contract.record_editor http://127.0.0.1:8188 WORKFLOW.json... > pairs.jsonl

The address is that of a real ComfyUI (0.3.64 with comfyui-frontend-package 1.27.10 recorded what lies in `data/`). A
line is {"name", "workflow", "graph": {id: [class, inputs]}} or {"name", "error"}. CHROMIUM names the browser
(/usr/bin/chromium).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

_READY = "window.app?.graph && Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 300"
_CONVERT = """async (workflow) => {
  await window.app.loadGraphData(workflow, true, false, null, {showMissingNodesDialog: false, showMissingModelsDialog: false})
  await new Promise((settled) => setTimeout(settled, 150))
  return JSON.parse(JSON.stringify((await window.app.graphToPrompt()).output))
}"""  # noqa: E501


def main(address: str, files: list[str]) -> None:
    """Prints one line for each file."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(address)
        page.wait_for_function(_READY, timeout=120_000)
        page.wait_for_timeout(2_000)
        for path in map(Path, files):
            workflow = json.loads(path.read_text("utf-8"))
            pair: dict[str, Any] = {"name": path.stem, "workflow": workflow}
            try:
                prompt = page.evaluate(_CONVERT, workflow)
                pair["graph"] = {id_: [node.get("class_type"), node["inputs"]] for id_, node in prompt.items()}
            except Error as fault:
                pair["error"] = str(fault).split("\n")[0]
            print(json.dumps(pair, separators=(",", ":"), ensure_ascii=False), flush=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
