"""The golden graphs: what the shipped workflows compile to, case by case, as files that a reviewer reads.

python -m tests.contract.golden --write     after a wanted change; read the difference before you commit it
python -m tests.contract.golden             lists the cases that differ
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from orchestrator.comfy.known import known_catalog
from orchestrator.widgets.compile import ChosenLora, ChosenModels, CompiledGraph, compile_graph
from orchestrator.widgets.library import load
from orchestrator.widgets.widget import Widget

WORKFLOWS = Path(__file__).parents[2] / "workflows"
FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Case:
    """One request to one widget; `given` is added to what `REQUESTS` says for it."""

    widget: str
    family: str = "sd15"
    given: Mapping[str, object] = field(default_factory=dict)


REQUESTS: Mapping[str, Mapping[str, object]] = {
    "inpaint": {"image": "(picture)", "mask": "(mask)", "prompt": "a red heart", "seed": 7},
    "txt2img": {"prompt": "a red heart", "seed": 7},
}

CASES: Mapping[str, Case] = {
    "inpaint": Case("inpaint"),
    "inpaint-lora-1": Case("inpaint", given={"prompt": "a red <lora:87153:0.8:0.5>heart"}),
    "inpaint-lora-3": Case(
        "inpaint", given={"prompt": "<lora:3:0.3><lora:1:unet=-1>a red heart<lora:2>", "clip_skip": 2}
    ),
    "inpaint-clip-skip-2": Case("inpaint", given={"clip_skip": 2}),
    "inpaint-fill-0": Case("inpaint", given={"inpainting_fill": 0}),
    "inpaint-fill-2": Case("inpaint", given={"inpainting_fill": 2}),
    "inpaint-fill-3": Case("inpaint", given={"inpainting_fill": 3}),
    "inpaint-only-masked": Case(
        "inpaint", given={"inpaint_full_res": True, "inpaint_full_res_padding": 8, "inpainting_fill": 2}
    ),
    "inpaint-invert": Case("inpaint", given={"inpainting_mask_invert": 1, "mask_blur": 16}),
    "inpaint-strength-1": Case("inpaint", given={"denoising_strength": 1, "sampler": "Euler a", "steps": 20}),
    "inpaint-sdxl": Case("inpaint", family="sdxl"),
    "inpaint-sdxl-clip-skip-2-lora-1": Case("inpaint", "sdxl", {"clip_skip": 2, "prompt": "a red heart<lora:5:0.5>"}),
    "txt2img": Case("txt2img"),
    "txt2img-sdxl-lora-1": Case("txt2img", "sdxl", {"clip_skip": 2, "prompt": "a red heart<lora:5:0.5>"}),
}


@cache
def widgets() -> Mapping[str, Widget]:
    """The shipped widgets, audited against the recorded catalogue."""
    return load(WORKFLOWS, known_catalog())


def compiled(case: Case) -> CompiledGraph:
    """What the case compiles to; files are named after the models' ids."""
    widget = widgets()[case.widget]
    values = widget.check({**REQUESTS[case.widget], **case.given}).values
    loras = tuple(ChosenLora(f"{tag.name}.safetensors", tag.text_encoder, tag.unet) for tag in values.loras)
    models = ChosenModels(f"{values.checkpoint}.safetensors", case.family, loras)
    given = (*widget.definition.pictures, *widget.definition.masks)
    return compile_graph(widget, values, models, {name: f"orchestrator/{name}.png [temp]" for name in given})


def rendered(case: Case) -> str:
    """The text of the case's golden file: the graph in the API format."""
    return json.dumps(compiled(case).graph.to_api(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the golden files, or list those that differ; the exit status says whether any does."""
    stale = []
    for name, case in CASES.items():
        path, text = FOLDER / f"{name}.json", rendered(case)
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(path)
            if "--write" in arguments:
                path.write_text(text, "utf-8")
    print("\n".join(path.name for path in stale) or "all golden graphs are as they were")
    return 0 if "--write" in arguments else int(bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
