"""Noise levels: Stable Diffusion 1.5's thousand of them, and the schedulers that choose among them.

A noise level is sigma in Karras et al. 2022 (arXiv 2206.00364): noise added to a clean latent of unit scale.
Knows nothing of models, samplers or steps taken; pure torch.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

TIMESTEPS = 1000
_BETA_FIRST, _BETA_LAST = 0.00085, 0.012
_KARRAS_RHO = 7.0

Scheduler: TypeAlias = Callable[["NoiseLevels", int], Tensor]


class NoiseLevels:
    """The levels that the model was trained at, ascending: float32 [1000]."""

    def __init__(self) -> None:
        betas = torch.linspace(_BETA_FIRST**0.5, _BETA_LAST**0.5, TIMESTEPS, dtype=torch.float64) ** 2
        kept = torch.cumprod(1 - betas, 0)
        exact = ((1 - kept) / kept) ** 0.5
        self.sigmas = exact.float()
        self._logs = exact.log().float()

    @property
    def lowest(self) -> float:
        return float(self.sigmas[0])

    @property
    def highest(self) -> float:
        return float(self.sigmas[-1])

    def timestep(self, sigma: Tensor) -> Tensor:
        """The nearest trained timestep, 0..999, of each level in log distance: [n] to [n] integers."""
        return (sigma.log()[None] - self._logs[:, None]).abs().argmin(0)

    def sigma(self, timestep: Tensor) -> Tensor:
        """The level at a fractional timestep, log-linear between its neighbours; scalar to scalar."""
        place = timestep.float().clamp(0, TIMESTEPS - 1)
        share = place.frac()
        below, above = self._logs[place.floor().long()], self._logs[place.ceil().long()]
        return ((1 - share) * below + share * above).exp()


def _normal(levels: NoiseLevels, steps: int) -> Tensor:
    places = torch.linspace(TIMESTEPS - 1, 0, steps)
    return torch.stack([levels.sigma(place) for place in places])


def _sgm_uniform(levels: NoiseLevels, steps: int) -> Tensor:
    places = torch.linspace(TIMESTEPS - 1, 0, steps + 1)[:-1]
    return torch.stack([levels.sigma(place) for place in places])


def _simple(levels: NoiseLevels, steps: int) -> Tensor:
    stride = TIMESTEPS / steps
    return torch.stack([levels.sigmas[-(1 + int(step * stride))] for step in range(steps)])


def _ddim_uniform(levels: NoiseLevels, steps: int) -> Tensor:
    stride = max(TIMESTEPS // steps, 1)
    return levels.sigmas[torch.arange(1, TIMESTEPS, stride)].flip(0)


def _karras(levels: NoiseLevels, steps: int) -> Tensor:
    """Equation 5 of Karras et al. 2022, with the model's own range."""
    root = 1 / _KARRAS_RHO
    first, last = levels.highest**root, levels.lowest**root
    return (first + torch.linspace(0, 1, steps) * (last - first)) ** _KARRAS_RHO


def _exponential(levels: NoiseLevels, steps: int) -> Tensor:
    return torch.linspace(math.log(levels.highest), math.log(levels.lowest), steps).exp()


SCHEDULERS: dict[str, Scheduler] = {
    "simple": _simple,
    "sgm_uniform": _sgm_uniform,
    "karras": _karras,
    "exponential": _exponential,
    "ddim_uniform": _ddim_uniform,
    "normal": _normal,
}

DISCARDS_PENULTIMATE = frozenset({"dpm_2", "dpm_2_ancestral"})
"""Samplers that are given one step more and lose the level before zero, where their half step would be too small."""


def noise_levels(levels: NoiseLevels, scheduler: str, sampler: str, steps: int, denoise: float = 1.0) -> Tensor:
    """Descending levels ending in zero for `steps` steps (1 or more), float32.

    With `denoise` below one the schedule is made for `steps / denoise` steps and its tail is taken, as in ComfyUI;
    at zero it is empty.
    """
    if denoise <= 0:
        return torch.zeros(0)
    whole = steps if denoise > 0.9999 else int(steps / denoise)
    discards = sampler in DISCARDS_PENULTIMATE
    chosen = SCHEDULERS[scheduler](levels, whole + 1 if discards else whole)
    if discards:
        chosen = chosen[:-1]
    sigmas = torch.cat([chosen, torch.zeros(1)])
    return sigmas if denoise > 0.9999 else sigmas[-(steps + 1) :]
