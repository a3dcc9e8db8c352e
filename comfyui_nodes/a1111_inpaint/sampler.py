"""Node: KSampler with Stable Diffusion WebUI's rules for steps, noise, prompts and the mask.

Joins `noise_levels`, `noise`, `guidance` and `host`; must not know a backend.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .dpm_solver import dpm_adaptive, dpm_fast
from .guidance import Conditioning, Guide, blend, parts_of
from .host import Run, host_of
from .lcm import distilled_of, lcm
from .noise import SOURCES, Streams, brownian_noise, seeds_of
from .noise_levels import SCHEDULERS, walked_levels
from .solvers import Solver, lms
from .uni_pc import uni_pc

_SDXL_WIDTH = 2048


@dataclass(frozen=True)
class Kind:
    """How a sampler is run: the solver, calls of the model per step, whose noise it takes, and whether as LCM reads."""

    solver: str | Solver
    order: int = 1
    noise: str | None = None
    distilled: bool = False


SAMPLERS: dict[str, Kind] = {
    "euler": Kind("euler"),
    "euler_ancestral": Kind("euler_ancestral", noise="stream"),
    "lms": Kind(lms),
    "heun": Kind("heun", order=2),
    "dpm_2": Kind("dpm_2", order=2),
    "dpm_2_ancestral": Kind("dpm_2_ancestral", order=2, noise="stream"),
    "dpmpp_2s_ancestral": Kind("dpmpp_2s_ancestral", order=2, noise="stream"),
    "dpmpp_2m": Kind("dpmpp_2m"),
    "dpmpp_sde": Kind("dpmpp_sde", order=2, noise="brownian"),
    "dpmpp_2m_sde": Kind("dpmpp_2m_sde", noise="brownian"),
    "dpmpp_2m_sde_heun": Kind("dpmpp_2m_sde_heun", noise="brownian"),
    "dpmpp_3m_sde": Kind("dpmpp_3m_sde", noise="brownian"),
    "dpm_fast": Kind(dpm_fast, noise="stream"),
    "dpm_adaptive": Kind(dpm_adaptive, noise="stream"),
    "ddim": Kind("euler"),
    "uni_pc": Kind(uni_pc),
    "lcm": Kind(lcm, noise="stream", distilled=True),
}
"""By ComfyUI's names. DDIM without its own noise is Euler's step."""


def mask_of(latent: dict[str, Any]) -> Tensor | None:
    """The latent's noise mask as [batch, 1, h, w] of the latent's size; None if there is none."""
    mask: Tensor | None = latent.get("noise_mask")
    if mask is None:
        return None
    samples: Tensor = latent["samples"]
    planes = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    if planes.shape[2:] != samples.shape[2:]:
        planes = torch.nn.functional.interpolate(planes, size=samples.shape[2:], mode="bilinear")
    return planes.repeat(math.ceil(len(samples) / len(planes)), 1, 1, 1)[: len(samples)]


class A1111Sampler:
    """MODEL, two CONDITIONINGs and LATENT → LATENT, everything else of it kept."""

    CATEGORY = "inpaint/a1111"
    DESCRIPTION = (
        "KSampler with the rules of Stable Diffusion WebUI: a strength of 0.7 walks 18 of 25 steps, the rest of the "
        "picture is put back after guidance, noise comes from WebUI's streams, and prompts from A1111 Prompt may "
        "change between steps or be joined by AND."
    )
    FUNCTION = "sample"
    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("samples",)
    OUTPUT_TOOLTIPS = ("The sampled latent; where its noise mask is 0 it is the one that came in.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        seed = {"default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF, "control_after_generate": True}
        steps = "How finely the whole way from noise to picture is divided; a strength below 1 walks its last part."
        denoise = {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01, "tooltip": "WebUI's denoising strength."}
        spread = "How the steps are spread, with WebUI's numbers; uni_pc has levels of its own, whatever stands here."
        source = "cpu is torch's CPU generator; gpu draws what WebUI draws on an NVIDIA card, its default there."
        cfg = {"default": 7.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "The model that samples."}),
                "seed": ("INT", seed | {"tooltip": "The seed of all noise; later pictures of a batch count up."}),
                "steps": ("INT", {"default": 25, "min": 1, "max": 10000, "tooltip": steps}),
                "cfg": ("FLOAT", cfg | {"tooltip": "How strictly the prompt is followed."}),
                "sampler_name": (list(SAMPLERS), {"tooltip": "The solver, by ComfyUI's name."}),
                "scheduler": (SCHEDULERS, {"tooltip": spread}),
                "positive": ("CONDITIONING", {"tooltip": "What to paint; best from A1111 Prompt."}),
                "negative": ("CONDITIONING", {"tooltip": "What to stay away from."}),
                "latent_image": ("LATENT", {"tooltip": "What to start from, perhaps with a noise mask."}),
                "denoise": ("FLOAT", denoise),
                "noise_source": (SOURCES, {"default": "cpu", "tooltip": source}),
            }
        }

    def sample(
        self,
        model: Any,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Conditioning,
        negative: Conditioning,
        latent_image: dict[str, Any],
        denoise: float,
        noise_source: str,
    ) -> tuple[dict[str, Any]]:
        kind, host = SAMPLERS[sampler_name], host_of(model)
        family = "sdxl" if positive[0][0].shape[-1] == _SDXL_WIDTH else "sd15"
        few = distilled_of(host.levels) if kind.distilled else None
        levels, bounds = (host.levels, host.bounds()) if few is None else (few.schedule, few.bounds())
        sigmas, whole = walked_levels(levels, bounds, sampler_name, scheduler, steps, denoise, family)
        samples: Tensor = latent_image["samples"]
        mask = mask_of(latent_image)
        if denoise >= 1 and mask is None and not samples.any():
            sigmas = whole  # text to image, where nothing is left out
        seeds = seeds_of(latent_image, seed)
        streams = Streams(noise_source, seeds)
        noise = streams.draw(samples)
        step_noise = streams.step_noise(samples)
        if kind.noise == "brownian":
            step_noise = brownian_noise(samples, noise_source, seeds, float(whole[whole > 0].min()), float(whole.max()))
        known: list[Conditioning] = []
        parts = parts_of(positive, known), parts_of(negative, known)
        guide = Guide(*parts, cfg, mask, kind.order, None if few is None else few.estimate)
        run = Run(
            kind.solver, sigmas, samples, noise, known, guide, step_noise, noisy=kind.noise is not None, seed=seed
        )
        painted = host.run(run)
        if mask is not None:
            painted = blend(painted, samples, mask)
        return (latent_image | {"samples": painted},)
