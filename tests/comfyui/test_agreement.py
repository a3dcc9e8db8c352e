"""The embedded backend paints what a real ComfyUI paints: same graph, same seed, pictures compared.

Each case's figures, the mean and the largest difference of a channel in 255ths, are printed as a table at the end, and
written to the file that AGREEMENT_REPORT names.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.comfyui.backends import Backend

pytestmark = pytest.mark.comfyui

BAR = 2.0
MAPPED = [
    *(
        (sampler, scheduler)
        for sampler in (
            "euler",
            "heun",
            "dpmpp_2m",
            "lms",
            "dpm_2",
            "euler_ancestral",
            "dpm_2_ancestral",
            "dpmpp_2s_ancestral",
            "dpmpp_sde",
            "dpmpp_2m_sde",
            "dpmpp_2m_sde_heun",
            "dpmpp_3m_sde",
        )
        for scheduler in ("normal", "karras", "exponential")
    ),
    ("ddim", "ddim_uniform"),
    *(("dpmpp_2m", scheduler) for scheduler in ("simple", "sgm_uniform", "ddim_uniform")),
]
LONG = ", ".join(["a red heart on a white background, bright, flat, clean, simple, pixel art"] * 7)


@pytest.fixture(scope="module")
def figures() -> Iterator[dict[str, tuple[float, float]]]:
    """Collects what was measured; shows it when all is done."""
    measured: dict[str, tuple[float, float]] = {}
    yield measured
    rows = [f"| {name} | {mean:.4f} | {largest:.0f} |" for name, (mean, largest) in measured.items()]
    table = "\n".join(["| case | mean | largest |", "|---|---|---|", *rows])
    print(f"\n{table}")
    if report := os.environ.get("AGREEMENT_REPORT"):
        Path(report).write_text(f"{table}\n")


def sampled(latent: list[Any], extra: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A graph that samples `latent`, whose nodes are in `extra`, and shows the picture."""
    model, clip = changes.pop("model", ["checkpoint", 0]), changes.pop("clip", ["checkpoint", 1])
    prompt = changes.pop("prompt", "a red heart on a white background")
    settings = {
        "add_noise": "enable",
        "noise_seed": 20261122,
        "steps": 8,
        "cfg": 4.0,
        "sampler_name": "dpmpp_2m",
        "scheduler": "karras",
        "start_at_step": 0,
        "end_at_step": 10000,
        "return_with_leftover_noise": "disable",
    }
    links = {"model": model, "positive": ["positive", 0], "negative": ["negative", 0], "latent_image": latent}
    nodes = {
        "checkpoint": ("CheckpointLoaderSimple", {"ckpt_name": "demo.safetensors"}),
        "positive": ("CLIPTextEncode", {"text": prompt, "clip": clip}),
        "negative": ("CLIPTextEncode", {"text": "a blue star", "clip": clip}),
        "sample": ("KSamplerAdvanced", {**links, **settings, **changes}),
        "decode": ("VAEDecode", {"samples": ["sample", 0], "vae": ["checkpoint", 2]}),
        "show": ("PreviewImage", {"images": ["decode", 0]}),
        **extra,
    }
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def painted(size: int = 64, **changes: Any) -> dict[str, Any]:
    """A graph that paints from nothing."""
    extra = changes.pop("extra", {})
    empty = ("EmptyLatentImage", {"width": size, "height": size, "batch_size": changes.pop("batch", 1)})
    return sampled(["empty", 0], {"empty": empty, **extra}, **changes)


def photograph() -> Image.Image:
    """Something with gradients and edges, of a size that is no multiple of eight."""
    rows, columns = np.mgrid[0:100, 0:132]
    pixels = np.stack([rows * 2, columns, 255 - rows - columns // 2], -1).astype(np.uint8)
    picture = Image.fromarray(pixels)
    ImageDraw.Draw(picture).ellipse((30, 20, 90, 80), fill=(240, 240, 20))
    return picture


def ragged_mask() -> Image.Image:
    """A soft-edged region, so that the mask's scaling to the latent shows."""
    mask = Image.new("RGB", (132, 100))
    ImageDraw.Draw(mask).ellipse((25, 15, 100, 85), fill=(255, 255, 255))
    return mask.resize((66, 50)).resize((132, 100))


def repainted(backend: Backend, **changes: Any) -> dict[str, Any]:
    """A graph that repaints part of a photograph from the middle of the schedule."""
    extra = {
        "picture": ("LoadImage", {"image": backend.upload("photograph.png", photograph())}),
        "mask": ("LoadImageMask", {"image": backend.upload("mask.png", ragged_mask()), "channel": "red"}),
        "encode": ("VAEEncode", {"pixels": ["picture", 0], "vae": ["checkpoint", 2]}),
        "masked": ("SetLatentNoiseMask", {"samples": ["encode", 0], "mask": ["mask", 0]}),
        "composite": (
            "ImageCompositeMasked",
            {
                "destination": ["picture", 0],
                "source": ["decode", 0],
                "x": 2,
                "y": 2,
                "resize_source": False,
                "mask": ["mask", 0],
            },
        ),
        "show": ("PreviewImage", {"images": ["composite", 0]}),
    }
    return sampled(["masked", 0], extra, **{"start_at_step": 3, **changes})


def compare(name: str, ours: np.ndarray, theirs: np.ndarray, figures: dict[str, tuple[float, float]]) -> None:
    """Notes the difference, and holds it to the bar."""
    assert ours.shape == theirs.shape
    difference = np.abs(ours - theirs)
    figures[name] = float(difference.mean()), float(difference.max())
    assert np.ptp(theirs) > 20, "a plain picture compares nothing"
    assert figures[name][0] <= BAR


@pytest.mark.parametrize(("sampler", "scheduler"), MAPPED)
def test_every_mapped_sampler_agrees(
    sampler: str, scheduler: str, comfyui: Backend, embedded: Backend, figures: dict[str, tuple[float, float]]
) -> None:
    graph = painted(sampler_name=sampler, scheduler=scheduler)
    compare(f"{sampler} {scheduler}", embedded.picture(graph), comfyui.picture(graph), figures)


LORA = {
    "lora": (
        "LoraLoader",
        {
            "model": ["checkpoint", 0],
            "clip": ["checkpoint", 1],
            "lora_name": "demo-red-is-blue.safetensors",
            "strength_model": 0.9,
            "strength_clip": 0.6,
        },
    )
}
SKIP = {"skip": ("CLIPSetLastLayer", {"clip": ["checkpoint", 1], "stop_at_clip_layer": -2})}
CASES: dict[str, dict[str, Any]] = {
    "clip skip 2": {"clip": ["skip", 0], "extra": SKIP},
    "LoRA": {"model": ["lora", 0], "clip": ["lora", 1], "extra": LORA},
    "weighted prompt": {"prompt": "a ((red:1.4) heart:0.7) on a (white) background, \\(flat\\), (((clean)))"},
    "prompt over 75 tokens": {"prompt": LONG},
    "cfg 1": {"cfg": 1.0},
    "batch of two": {"batch": 2, "sampler_name": "euler_ancestral"},
    "stopped early, noise left": {"end_at_step": 5, "return_with_leftover_noise": "enable"},
    "stopped early, finished": {"end_at_step": 5},
    "no noise added": {"add_noise": "disable", "start_at_step": 2},
    "the largest seed": {"noise_seed": 2**64 - 1, "sampler_name": "dpmpp_sde"},
    "256 pixels": {"size": 256, "steps": 4},
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_graph_agrees(
    case: str, comfyui: Backend, embedded: Backend, figures: dict[str, tuple[float, float]]
) -> None:
    graph = painted(**CASES[case])
    compare(case, embedded.picture(graph), comfyui.picture(graph), figures)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler", "heun", "euler_ancestral", "dpmpp_sde", "ddim"])
def test_repainting_from_the_middle_agrees(
    sampler: str, comfyui: Backend, embedded: Backend, figures: dict[str, tuple[float, float]]
) -> None:
    ours = embedded.picture(repainted(embedded, sampler_name=sampler))
    theirs = comfyui.picture(repainted(comfyui, sampler_name=sampler))
    compare(f"inpaint from step 3, {sampler}", ours, theirs, figures)


def test_the_simple_sampler_with_a_strength_agrees(
    comfyui: Backend, embedded: Backend, figures: dict[str, tuple[float, float]]
) -> None:
    def graph(backend: Backend) -> dict[str, Any]:
        nodes = repainted(backend)
        settings = nodes["sample"]["inputs"]
        kept = ("model", "positive", "negative", "latent_image", "steps", "cfg", "sampler_name", "scheduler")
        inputs = {**{name: settings[name] for name in kept}, "seed": 7, "denoise": 0.6}
        return {**nodes, "sample": {"class_type": "KSampler", "inputs": inputs}}

    compare("KSampler, denoise 0.6", embedded.picture(graph(embedded)), comfyui.picture(graph(comfyui)), figures)


def test_the_embedded_catalogue_is_the_part_of_comfyuis_that_it_offers(comfyui: Backend, embedded: Backend) -> None:
    """Names, types, defaults and ranges; it may offer fewer values to choose from, and no tooltips."""
    theirs = comfyui.call("/object_info")
    for name, ours in embedded.call("/object_info").items():
        assert ours["output"] == theirs[name]["output"]
        assert ours["output_node"] == theirs[name]["output_node"]
        assert {c: sorted(names) for c, names in ours["input_order"].items()} == {
            c: sorted(names) for c, names in theirs[name]["input_order"].items()
        }
        for category in ("required", "optional"):
            for field, ours_field in ours["input"].get(category, {}).items():
                _same_input(ours_field, theirs[name]["input"][category][field])


def _same_input(ours: list[Any], theirs: list[Any]) -> None:
    if theirs[0] == "COMBO" and isinstance(ours[0], list):  # the newer of two spellings, which the editor reads alike
        told = dict(theirs[1])
        assert told.pop("multiselect") is False
        theirs = [told.pop("options"), told]
    if isinstance(theirs[0], list):
        assert set(ours[0]) <= set(theirs[0]) or not theirs[0]
    else:
        assert ours[0] == theirs[0]
    options = [
        {k: v for k, v in (side[1] if len(side) > 1 else {}).items() if k != "tooltip"} for side in (ours, theirs)
    ]
    assert options[0] == options[1]
