"""A folder that looks like ComfyUI's checkout to whoever starts it, with the fake behind its `main.py`."""

import json
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

_MAIN = """
import argparse, asyncio, json, pathlib, sys
sys.path.insert(0, {repository!r})
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.faults import Faults

here = pathlib.Path(__file__).parent
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
options, _ = parser.parse_known_args()
lives = sorted(here.glob("life-*.json"))
(here / f"life-{{len(lives)}}.json").write_text(json.dumps(sys.argv))
script = json.loads((here / "script.json").read_text())
faults = Faults(**script["faults"]) if len(lives) < script["faulty_lives"] else Faults()

async def main():
    async with FakeComfyUI(port=options.port, faults=faults, result_png=(here / "result.png").read_bytes(),
                           run_seconds=script["run_seconds"]):
        print("WARNING: this is a fake", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def fake_checkout(
    folder: Path, result_png: bytes, *, run_seconds: float = 0.0, faulty_lives: int = 0, **faults: object
) -> Path:
    """Makes it. The first `faulty_lives` of its processes have the faults; `life-<n>.json` tells how each was started.

    Start it with this Python.
    """
    folder.mkdir()
    (folder / "main.py").write_text(_MAIN.format(repository=str(REPOSITORY)))
    (folder / "comfyui_version.py").write_text('__version__ = "0.3.64"\n')
    (folder / "result.png").write_bytes(result_png)
    script = {"run_seconds": run_seconds, "faulty_lives": faulty_lives, "faults": faults}
    (folder / "script.json").write_text(json.dumps(script))
    return folder


def lives(folder: Path) -> list[list[str]]:
    """The command lines of its processes so far."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("life-*.json"))]
