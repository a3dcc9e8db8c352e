"""SDXL-shaped, nine-channel SDXL-shaped and Playground-v2.5-shaped checkpoints in a real ComfyUI."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.models.family import checkpoint_kind, prediction
from orchestrator.models.header import parse_header
from orchestrator.widgets.compile import ChosenModels
from tests.comfyui.backends import Backend, RunFailed, told_inside
from tests.comfyui.shapes_sdxl import write_small_sdxl
from tests.comfyui.test_workflows import disc, painted, scene

pytestmark = pytest.mark.comfyui

KINDS = {"sdxl": {}, "sdxl-inpainting": {"channels": 9}, "playground-v2.5": {"edm": True}}


@pytest.fixture(scope="module")
def checkpoints(models: Path) -> Iterator[dict[str, Path]]:
    """One file for each kind, where the backends look."""
    files = {name: models / "checkpoints" / f"{name}.safetensors" for name in KINDS}
    for name, options in KINDS.items():
        write_small_sdxl(files[name], **options)
    yield files
    for file in files.values():
        file.unlink()


@pytest.fixture(scope="module")
def reports(checkpoints: dict[str, Path], comfyui_installation: tuple[str, str]) -> dict[str, dict[str, Any]]:
    return {name: told_inside(comfyui_installation, "family.py", file) for name, file in checkpoints.items()}


def stated_size_embedding(height: int, width: int) -> list[float]:
    """Original size, crop and target size as SDXL reads them: 256 values each, cosines then sines."""
    rates = np.exp(-np.log(10000) * np.arange(128) / 128)
    values = []
    for number in (height, width, 0, 0, height, width):
        values += [*np.cos(number * rates), *np.sin(number * rates)]
    return values


@pytest.mark.parametrize("name", KINDS)
def test_the_service_and_comfyui_see_the_same_in_the_file(checkpoints, reports, name: str) -> None:
    with checkpoints[name].open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = parse_header(file.read(size))
    kind = checkpoint_kind(header)
    assert kind is not None
    report = reports[name]
    assert (kind.family, report["model"]) == ("sdxl", "SDXL")
    assert kind.channels == report["channels"] == KINDS[name].get("channels", 4)
    edm = name == "playground-v2.5"
    assert prediction(header) == ("edm" if edm else "eps")
    assert ("ModelSamplingContinuousEDM" in report["sampling"]) is edm
    assert report["latent"] == ("SDXL_Playground_2_5" if edm else "SDXL")


def test_playground_v2_5_is_sampled_over_its_own_noise_levels(reports) -> None:
    assert reports["playground-v2.5"]["bounds"] == pytest.approx([0.002, 80.0], rel=1e-4)
    assert reports["playground-v2.5"]["sigma_data"] == 0.5
    assert reports["sdxl"]["bounds"] == pytest.approx([0.0292, 14.6146], rel=1e-2)


@pytest.mark.parametrize("name", KINDS)
def test_both_encoders_and_the_size_of_the_picture_reach_the_model(reports, name: str) -> None:
    report = reports[name]
    assert report["states"] == [1, 77, 2048]
    assert min(report["encoders apart"]) > 0.1
    assert report["pooled"] < 1e-2, "the pooled text stands before the sizes"
    assert report["sizes"] == pytest.approx(stated_size_embedding(64, 96), abs=2e-2)
    assert report["empty"] == 0, "an empty negative prompt is zeros"
    assert report["calls"] == 2, "one a step: an empty prompt of the same length is evaluated beside the other"
    assert report["finite"]
    assert report["std"] > 0.01


@pytest.mark.parametrize("name", KINDS)
async def test_it_runs_through_the_compiled_graph(comfyui: Backend, checkpoints, name: str) -> None:
    image, mask = scene(90, 70), disc(90, 70)
    channels = KINDS[name].get("channels", 4)
    models = ChosenModels(checkpoints[name].name, "sdxl", channels=channels)
    raw = {"inpainting_fill": 2, "clip_skip": 2, "denoising_strength": 0.9}
    given = {"image": image, "mask": mask}
    answer = await painted(comfyui.url, "inpaint", raw, given, models=models)
    outside = np.asarray(mask) == 0
    assert np.array_equal(answer[outside], np.asarray(image)[outside])
    other = await painted(comfyui.url, "inpaint", raw | {"prompt": "a blue star"}, given, models=models)
    assert np.abs(answer.astype(int) - other)[~outside].mean() > 0.2, "the prompt reaches the picture"
    if channels == 9:
        blind = ChosenModels(checkpoints[name].name, "sdxl", channels=4)
        unseen = await painted(comfyui.url, "inpaint", raw, given, models=blind)
        assert np.abs(answer.astype(int) - unseen)[~outside].mean() > 0.2, "it looks at its surroundings"


async def test_the_embedded_backend_says_that_it_cannot(embedded: Backend, checkpoints) -> None:
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoints["sdxl"].name}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a heart", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {
            "class_type": "KSampler",
            "inputs": {
                **{"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]},
                **{"seed": 1, "steps": 1, "cfg": 1.0, "denoise": 1.0, "sampler_name": "euler", "scheduler": "normal"},
            },
        },
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
    }
    with pytest.raises(RunFailed, match=r"(?i)embedded backend.*(sdxl|1.5)"):
        embedded.run(graph)
