"""The node pack and workflows/ in the real ComfyUI, reached through the service's own library, compiler and client."""

import hashlib
import io
import json
import os
import re
import subprocess
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.client import BackendClient, Upload
from orchestrator.comfy.faults import InputRefused
from orchestrator.comfy.known import known_catalog, pack_object_info
from orchestrator.widgets import library
from orchestrator.widgets.compile import ChosenLora, ChosenModels, compile_graph

pytestmark = pytest.mark.comfyui

ROOT = Path(__file__).parents[2]
PACK = (
    *("A1111Prompt", "A1111Sampler", "A1111InpaintMasks", "A1111InpaintCrop", "A1111InpaintFill"),
    *("A1111InpaintStart", "A1111InpaintConditioning", "A1111InpaintPaste", "A1111TemporaryImage"),
)
PROMPT = "a red heart on a yellow background"
SECONDS = 300.0
DEMO = ChosenModels("demo.safetensors", "sd15")


@dataclass(frozen=True)
class Installation:
    """Where a ComfyUI lies, and the python that runs it."""

    folder: str
    python: str

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Its python with these arguments, in its folder, to the end."""
        command = [self.python, *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture(scope="module")
def installation() -> Installation:
    folder, python = os.environ.get("COMFYUI_DIR"), os.environ.get("COMFYUI_PYTHON")
    if not folder or not python:
        pytest.skip("no real ComfyUI: set COMFYUI_DIR to its checkout and COMFYUI_PYTHON to a Python that runs it")
    return Installation(folder, python)


def scene(width: int, height: int) -> Image.Image:
    """A dark thing in the middle of light surroundings, with grain, so that no pixel is right by chance."""
    grain = np.random.default_rng(5).integers(0, 40, (height, width, 3))
    levels = grain + np.array([200, 160, 60])
    levels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] -= np.array([170, 100, 20])
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def disc(width: int, height: int) -> Image.Image:
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).ellipse((width // 5, height // 5, width * 4 // 5, height * 4 // 5), fill=255)
    return mask


def upload(picture: Image.Image) -> Upload:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Upload(f"{hashlib.sha256(file.getvalue()).hexdigest()}.png", file.getvalue())


async def painted(
    url: str,
    widget_name: str,
    raw: Mapping[str, object],
    pictures: Mapping[str, Image.Image],
    loras=(),
    models=DEMO,
) -> np.ndarray:
    """What the widget answers, levels (height, width, 3)."""
    widget = library.load(ROOT / "workflows", known_catalog())[widget_name]
    sent = {name: upload(picture) for name, picture in pictures.items()}
    values = widget.check(dict.fromkeys(pictures, "sent") | {"prompt": PROMPT, "steps": 2, "seed": 11} | raw).values
    references = {name: one.reference for name, one in sent.items()}
    compiled = compile_graph(widget, values, replace(models, loras=tuple(loras)), references)
    async with BackendClient(url, name="real") as client:
        png = await client.run(
            compiled.graph, str(uuid.uuid4()), compiled.output_node, deadline=SECONDS, uploads=list(sent.values())
        )
    with Image.open(io.BytesIO(png)) as answer:
        assert (answer.format, answer.mode, answer.info) == ("PNG", "RGB", {})
        return np.asarray(answer)


def object_info(url: str) -> dict[str, dict[str, object]]:
    with urllib.request.urlopen(f"{url}/object_info", timeout=60) as answer:
        return json.load(answer)


def silent(value: object) -> object:
    """Without tooltips, and without the option groups that are empty then."""
    if isinstance(value, dict):
        return {key: silent(item) for key, item in value.items() if key != "tooltip"}
    return [item for item in map(silent, value) if item != {}] if isinstance(value, list) else value


def test_pack_loads_without_a_warning(installation, tmp_path):
    paths = tmp_path / "paths.yaml"
    paths.write_text(f"pack:\n  base_path: {ROOT}\n  custom_nodes: comfyui_nodes\n")
    for name in ("input", "output", "temp", "user", "custom_nodes", "models"):
        (tmp_path / name).mkdir()
    options = [
        "--base-directory",
        tmp_path,
        "--extra-model-paths-config",
        paths,
        "--database-url",
        "sqlite:///:memory:",
    ]
    run = installation.run("main.py", "--cpu", "--quick-test-for-ci", "--disable-api-nodes", *options)
    assert run.returncode == 0, run.stderr
    lines = (run.stdout + run.stderr).splitlines()
    pack = [line.strip() for line in lines if "a1111" in line.lower()]
    assert len(pack) == 1, pack
    assert re.fullmatch(r"[\d.]+ seconds: .*comfyui_nodes/a1111_inpaint", pack[0]), pack
    failed = [line for line in lines if "IMPORT FAILED" in line]
    assert all("nodes_" in line for line in failed), "only core's own optional node files may miss something"


def test_server_describes_the_pack_as_the_shipped_catalogue_does(comfyui):
    answer = object_info(comfyui.url)
    described = {}
    for name in PACK:
        described[name] = silent({key: value for key, value in answer[name].items() if key != "output_tooltips"})
        assert described[name].pop("description")
    shipped = {name: {**node} for name, node in pack_object_info().items()}
    assert all(node.pop("description") == "" for node in shipped.values())
    assert described == shipped
    read = Catalog.from_object_info(answer).classes
    assert {name: read[name] for name in PACK} == dict(Catalog.from_object_info(pack_object_info()).classes)


@pytest.mark.parametrize(("width", "height"), [(101, 77), (128, 96)])
async def test_inpaint_runs_with_every_fill_and_keeps_the_rest_exact(comfyui, width, height):
    image, mask = scene(width, height), disc(width, height)
    outside = np.asarray(mask) == 0
    answers = []
    for fill in range(4):
        raw = {"inpainting_fill": fill, "denoising_strength": 0.3}  # a weak one, so that the start shows
        answer = await painted(comfyui.url, "inpaint", raw, {"image": image, "mask": mask})
        assert answer.shape == (height, width, 3)
        assert np.array_equal(answer[outside], np.asarray(image)[outside]), f"fill {fill}"
        assert not np.array_equal(answer[~outside], np.asarray(image)[~outside]), f"fill {fill}"
        answers.append(answer.astype(int))
    for one in range(4):
        for other in range(one):
            assert np.abs(answers[one] - answers[other]).mean() > 0.2, f"fills {other} and {one} paint the same"


@pytest.mark.parametrize("blur", [0, 16, 64])
async def test_inverted_mask_keeps_the_masked_pixels_exact(comfyui, blur):
    image, mask = scene(90, 70), disc(90, 70)
    raw = {"inpainting_mask_invert": 1, "mask_blur": blur, "inpainting_fill": 2}
    answer = await painted(comfyui.url, "inpaint", raw, {"image": image, "mask": mask})
    kept = np.asarray(mask) == 255
    assert np.array_equal(answer[kept], np.asarray(image)[kept])
    assert not np.array_equal(answer[~kept], np.asarray(image)[~kept])


@pytest.mark.parametrize(("width", "height"), [(101, 77), (128, 96)])
async def test_only_masked_paints_alike_on_both_backends_and_keeps_the_rest_exact(comfyui, embedded, width, height):
    image, mask = scene(width, height), Image.new("L", (width, height))
    ImageDraw.Draw(mask).rectangle((width - 24, 10, width - 1, 30), fill=255)  # at a border
    outside = np.asarray(mask) == 0
    raw = {"inpaint_full_res": 1, "inpaint_full_res_padding": 6, "inpainting_fill": 2, "steps": 4}
    given = {"image": image, "mask": mask}
    theirs, ours = [await painted(backend.url, "inpaint", raw, given) for backend in (comfyui, embedded)]
    assert theirs.shape == (height, width, 3)
    for answer in (theirs, ours):
        assert np.array_equal(answer[outside], np.asarray(image)[outside])
    assert np.abs(theirs.astype(int) - ours).mean() < 1
    whole = await painted(comfyui.url, "inpaint", raw | {"inpaint_full_res": 0}, given)
    assert np.abs(theirs.astype(int) - whole)[~outside].mean() > 2, "the box is painted larger than the mask is"


async def test_the_same_run_again_answers_the_same_from_the_cache(comfyui):
    given = {"image": scene(64, 64), "mask": disc(64, 64)}
    first = await painted(comfyui.url, "inpaint", {"inpainting_fill": 2}, given)
    assert np.array_equal(await painted(comfyui.url, "inpaint", {"inpainting_fill": 2}, given), first)


async def test_clip_skip_and_loras_reach_the_picture(comfyui):
    given = {"image": scene(64, 64), "mask": disc(64, 64)}
    raw = {"inpainting_fill": 2, "denoising_strength": 1, "steps": 4}
    plain = (await painted(comfyui.url, "inpaint", raw, given)).astype(int)
    skipped = await painted(comfyui.url, "inpaint", raw | {"clip_skip": 2}, given)
    lora = ChosenLora("demo-red-is-blue.safetensors", 1.0, 1.0)
    swapped = await painted(comfyui.url, "inpaint", raw, given, [lora])
    assert np.abs(skipped - plain).mean() > 0.2
    assert np.abs(swapped - plain).mean() > 0.2


@pytest.mark.parametrize("backend", ["comfyui", "embedded"])
async def test_a_prompt_that_stands_for_too_much_is_told_apart_from_a_failure(backend, request):
    with pytest.raises(InputRefused) as refused:
        await painted(request.getfixturevalue(backend).url, "txt2img", {"prompt": "BREAK " * 513}, {})
    assert refused.value.complaint.startswith("the prompt is too much to read")


async def test_txt2img_paints_in_the_size_that_was_asked(comfyui):
    answer = await painted(comfyui.url, "txt2img", {"width": 96, "height": 64}, {})
    assert answer.shape == (64, 96, 3)


@pytest.mark.parametrize("sampler", ["DPM++ 2M Karras", "Euler a", "DPM++ 3M SDE Karras", "DPM fast", "UniPC"])
async def test_both_backends_paint_alike_with_an_inpainting_checkpoint(comfyui, embedded, sampler):
    given = {"image": scene(64, 64), "mask": disc(64, 64)}
    raw = {"sampler": sampler, "steps": 4, "inpainting_fill": 2, "prompt": "a (red:1.3) heart AND [a|b] star :0.5"}
    inpainting = ChosenModels("inpainting.safetensors", "sd15", channels=9)
    theirs, ours = [
        (await painted(backend.url, "inpaint", raw, given, models=inpainting)).astype(int)
        for backend in (comfyui, embedded)
    ]
    assert np.abs(theirs - ours).mean() < 1
    blind = (await painted(comfyui.url, "inpaint", raw, given, models=replace(inpainting, channels=4))).astype(int)
    assert np.abs(blind - theirs).mean() > 0.2, "it does not look at its surroundings"
