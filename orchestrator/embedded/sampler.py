"""A whole sampling run: noise, schedule, solver, guidance, as ComfyUI's KSampler nodes put them together."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from orchestrator.embedded import samplers_sde as sde
from orchestrator.embedded.checkpoint import Model
from orchestrator.embedded.guidance import Guidance, Inpaint, Prompted
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.schedule import noise_levels
from orchestrator.embedded.solving import BROWNIAN, solve
from orchestrator.embedded.unsupported import UnsupportedModel
from orchestrator.embedded.vae import LATENT_SCALE


@dataclass(frozen=True)
class Settings:
    """What a KSampler node is set to. `first` and `last` are steps of the schedule, `last` exclusive.

    `finish` makes the last level zero when the run stops before the schedule's end.
    """

    seed: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    denoise: float = 1.0
    first: int = 0
    last: int = 10_000
    finish: bool = True
    add_noise: bool = True


def _sigmas(model: Model, settings: Settings) -> Tensor:
    levels = noise_levels(model.shelf.levels, settings.scheduler, settings.sampler, settings.steps, settings.denoise)
    if settings.last < len(levels) - 1:
        levels = levels[: settings.last + 1].clone()
        if settings.finish:
            levels[-1] = 0
    return levels[settings.first :]


def _noise(latent: Tensor, seed: int) -> Tensor:
    return torch.randn(latent.shape, dtype=latent.dtype, generator=torch.Generator().manual_seed(seed))


def _mask(mask: Tensor, like: Tensor) -> Tensor:
    """A mask of any size, [h, w], [n, h, w] or [n, 1, h, w], as [batch, channels, h, w] of the latent."""
    planes = mask.reshape(-1, 1, mask.shape[-2], mask.shape[-1]).float()
    sized = interpolate(planes, size=like.shape[-2:], mode="bilinear")
    repeats = math.ceil(like.shape[0] / sized.shape[0])
    return sized.repeat(repeats, like.shape[1], 1, 1)[: like.shape[0]]


def _step_noise(settings: Settings, x: Tensor, sigmas: Tensor) -> sde.NoiseSource:
    if settings.sampler in BROWNIAN:
        return sde.brownian_noise(x, settings.seed, sigmas)
    return sde.fresh_noise(x, settings.seed)


def sample(
    model: Model,
    positive: Tensor,
    negative: Tensor,
    latent: Tensor,
    mask: Tensor | None,
    settings: Settings,
    monitor: Monitor,
) -> Tensor:
    """Latents [batch, 4, h, w] in the autoencoder's scale to the sampled ones; raises Interrupted through `monitor`."""
    sigmas = _sigmas(model, settings)
    if len(sigmas) < 2:
        return latent
    inner = latent * LATENT_SCALE
    noise = _noise(inner, settings.seed) if settings.add_noise else torch.zeros_like(inner)
    inpaint = None
    if mask is not None:
        outside = _noise(inner, settings.seed + 1) if settings.sampler == "ddim" else noise
        inpaint = Inpaint(_mask(mask, inner), inner, outside)
    unet = model.unet()
    if unet.config.in_channels != inner.shape[1]:
        raise UnsupportedModel("The embedded backend samples inpainting checkpoints with A1111 Sampler only.")
    guidance = Guidance(unet, model.shelf.levels, monitor.check)
    denoise = Prompted(guidance, positive, negative, settings.cfg, inpaint)
    highest = model.shelf.levels.highest
    at_top = math.isclose(float(sigmas[0]), highest, rel_tol=1e-5) or float(sigmas[0]) > highest
    x = inner + noise * ((1 + sigmas[0] ** 2).sqrt() if at_top else sigmas[0])
    total = len(sigmas) - 1
    step_noise = _step_noise(settings, x, sigmas)
    estimate = inner

    def watched(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal estimate
        estimate = denoise(x, sigma)
        return estimate

    def report(step: int) -> None:
        monitor.step(step + 1, total)
        monitor.show(lambda: model.mixture().picture(estimate))

    return solve(settings.sampler, watched, x, sigmas, report, step_noise) / LATENT_SCALE
