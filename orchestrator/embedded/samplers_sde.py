"""Samplers that add noise as they go, with the noise sources of ComfyUI on a CPU.

Sources: ancestral steps, Song et al. 2021 (arXiv 2011.13456) in the sigma form of Karras et al. 2022; DPM-Solver++
(2S, SDE, 2M SDE), Lu et al. 2022 (arXiv 2211.01095); its third-order form with the phi functions of exponential
integrators. The SDE samplers draw from one Brownian path, so that the picture depends little on the number of steps.
Shapes and words as in `samplers_ode`.
"""

import warnings
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from orchestrator.embedded.samplers_ode import Denoise, Report

NoiseSource: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Unit noise for the step from one level to another."""


def fresh_noise(like: Tensor, seed: int) -> NoiseSource:
    """Independent noise for each call from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return lambda here, there: torch.randn(like.shape, dtype=like.dtype, generator=generator)


def brownian_noise(like: Tensor, seed: int, sigmas: Tensor) -> NoiseSource:
    """Increments of one Brownian path over the range of `sigmas` without zero, scaled to unit variance."""
    import torchsde  # takes its time, and only these samplers need it

    low, high = sigmas[sigmas > 0].min(), sigmas.max()
    tree = torchsde.BrownianTree(low, torch.zeros_like(like), high, entropy=seed)

    def noise(here: Tensor, there: Tensor) -> Tensor:
        with warnings.catch_warnings():  # the tree rounds its ends, and says so of levels that are the ends
            warnings.filterwarnings("ignore", "Should have t", UserWarning)
            return -tree(there, here) / (here - there).sqrt()

    return noise


def _ancestral(here: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Where to step down to, and how much noise then leads up to `there`."""
    up = torch.minimum(there, (there**2 * (here**2 - there**2) / here**2).sqrt())
    return (there**2 - up**2).sqrt(), up


def euler_ancestral(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: NoiseSource) -> Tensor:
    for step in range(len(sigmas) - 1):
        here, there = sigmas[step], sigmas[step + 1]
        clean = denoise(x, here)
        report(step)
        down, up = _ancestral(here, there)
        x = clean if down == 0 else x + (x - clean) / here * (down - here) + noise(here, there) * up
    return x


def dpm_2_ancestral(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: NoiseSource) -> Tensor:
    for step in range(len(sigmas) - 1):
        here, there = sigmas[step], sigmas[step + 1]
        slope = (x - denoise(x, here)) / here
        report(step)
        down, up = _ancestral(here, there)
        if down == 0:
            x = x + slope * (down - here)
            continue
        middle = here.log().lerp(down.log(), 0.5).exp()
        halfway = x + slope * (middle - here)
        slope = (halfway - denoise(halfway, middle)) / middle
        x = x + slope * (down - here) + noise(here, there) * up
    return x


def dpmpp_2s_ancestral(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: NoiseSource) -> Tensor:
    for step in range(len(sigmas) - 1):
        here, there = sigmas[step], sigmas[step + 1]
        clean = denoise(x, here)
        report(step)
        down, up = _ancestral(here, there)
        if down == 0:
            x = clean
        else:
            span = here.log() - down.log()
            middle = (here.log() - span / 2).exp()
            halfway = (middle / here) * x - torch.expm1(-span / 2) * clean
            x = (down / here) * x - torch.expm1(-span) * denoise(halfway, middle)
        if there > 0:
            x = x + noise(here, there) * up
    return x


def dpmpp_sde(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: NoiseSource) -> Tensor:
    """The singlestep solver with its inner point in the logarithmic middle."""
    for step in range(len(sigmas) - 1):
        here, there = sigmas[step], sigmas[step + 1]
        clean = denoise(x, here)
        report(step)
        if there == 0:
            x = clean
            continue
        middle = here.log().lerp(there.log(), 0.5).exp()
        down, up = _ancestral(here, middle)
        inner = (down / here) * x + (1 - down / here) * clean + noise(here, middle) * up
        inner_clean = denoise(inner, middle)
        down, up = _ancestral(here, there)
        x = (down / here) * x + (1 - down / here) * inner_clean + noise(here, there) * up
    return x


def _decay(x: Tensor, clean: Tensor, here: Tensor, there: Tensor, span: Tensor) -> Tensor:
    """The first-order SDE step with eta one, before its noise."""
    return (there / here) * torch.exp(-span) * x - torch.expm1(-2 * span) * clean


def _added(noise: NoiseSource, here: Tensor, there: Tensor, span: Tensor) -> Tensor:
    return noise(here, there) * there * (-torch.expm1(-2 * span)).sqrt()


def _dpmpp_2m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    report: Report,
    noise: NoiseSource,
    correction: Callable[[Tensor], Tensor],
) -> Tensor:
    before: Tensor | None = None
    span_before = sigmas.new_ones(())
    for step in range(len(sigmas) - 1):
        here, there = sigmas[step], sigmas[step + 1]
        clean = denoise(x, here)
        report(step)
        if there == 0:
            return clean
        span = here.log() - there.log()
        x = _decay(x, clean, here, there, span)
        if before is not None:
            x = x + correction(2 * span) * (span / span_before) * (clean - before)
        x = x + _added(noise, here, there, span)
        before, span_before = clean, span
    return x


def _phi(span: Tensor) -> Tensor:
    """The second phi function of exponential integrators, times its argument: (e^-h - 1)/h + 1."""
    return torch.expm1(-span) / span + 1


def dpmpp_2m_sde(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: NoiseSource) -> Tensor:
    """With the midpoint form of the correction."""
    return _dpmpp_2m_sde(denoise, x, sigmas, report, noise, lambda span: -0.5 * torch.expm1(-span))


def dpmpp_2m_sde_heun(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: NoiseSource) -> Tensor:
    """With the Heun form of the correction."""
    return _dpmpp_2m_sde(denoise, x, sigmas, report, noise, _phi)


def _third_order(history: list[tuple[Tensor, Tensor]], clean: Tensor, span: Tensor) -> Tensor:
    """The correction from one or two earlier estimates (newest first), each with the log-length of its step."""
    double = 2 * span
    phi_2 = _phi(double)
    clean_1, span_1 = history[0]
    slope = (clean - clean_1) * (span / span_1)
    if len(history) == 1:
        return phi_2 * slope
    clean_2, span_2 = history[1]
    ratio, ratio_before = span_1 / span, span_2 / span
    slope_before = (clean_1 - clean_2) / ratio_before
    bend = (slope - slope_before) / (ratio + ratio_before)
    return phi_2 * (slope + bend * ratio) - (phi_2 / double - 0.5) * bend


def dpmpp_3m_sde(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: NoiseSource) -> Tensor:
    history: list[tuple[Tensor, Tensor]] = []
    for step in range(len(sigmas) - 1):
        here, there = sigmas[step], sigmas[step + 1]
        clean = denoise(x, here)
        report(step)
        if there == 0:
            return clean
        span = here.log() - there.log()
        x = _decay(x, clean, here, there, span)
        if history:
            x = x + _third_order(history, clean, span)
        x = x + _added(noise, here, there, span)
        history = [(clean, span), *history[:1]]
    return x
