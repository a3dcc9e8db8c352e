"""Which noise levels a run walks: schedules, the steps of a strength, the level that some samplers leave out. Pure.

Rules: A1111 v1.10.1, `modules/sd_samplers_common.py` 22-31 (steps), `sd_samplers_kdiffusion.py` 79-143 (schedules,
discarded level), `sd_schedulers.py`, `sd_samplers_timesteps.py` 94-108 (DDIM's and UniPC's time steps). Schedules that
ComfyUI has with the same numbers come from the backend; the three that differ are stated here. Knows no model.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

SHARED = ["normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform"]
"""Schedules whose levels are ComfyUI's own."""
SCHEDULERS = [*SHARED, "align_your_steps", "kl_optimal", "beta"]

TIMES = 1000
"""How many noise levels a model was trained at."""

DISCARDING = frozenset({"dpm_2", "dpm_2_ancestral", "dpmpp_3m_sde"})
"""Samplers that get one step more and lose the last level before zero."""

_ALIGN_YOUR_STEPS = {  # NVIDIA, research.nvidia.com/labs/toronto-ai/AlignYourSteps
    "sd15": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
}
_BETA = 0.6
_BETA_POINTS = 100_000

Shared: TypeAlias = Callable[[str, int], Tensor]
"""A schedule's name and a number of steps to its levels, the last one zero."""


def trained_levels(shared: Shared) -> Tensor:
    """All of the model's levels, ascending, float64: the simple schedule of as many steps leaves out none."""
    return shared("simple", TIMES)[:-1].flip(0).double()


def interpolated(values: Tensor, places: Tensor) -> Tensor:
    """Values at fractional places, linear between neighbours."""
    below = places.floor().long().clamp(max=len(values) - 2)
    return torch.lerp(values[below], values[below + 1], places - below)


def first_step(steps: int, denoise: float) -> int:
    """How many of `steps` steps are left out at the start: int(min(denoise, 0.999) steps) + 1 are walked."""
    return steps - 1 - int(min(denoise, 0.999) * steps)


def _align_your_steps(steps: int, family: str) -> Tensor:
    """The published levels, interpolated evenly in their logarithm to `steps` of them; one step has the lowest."""
    logs = torch.tensor(_ALIGN_YOUR_STEPS[family], dtype=torch.float64).log().flip(0)
    levels = interpolated(logs, torch.linspace(0, len(logs) - 1, steps, dtype=torch.float64)).exp().flip(0)
    return torch.cat([levels, torch.zeros(1)])


def _kl_optimal(steps: int, low: float, high: float) -> Tensor:
    """Sabour et al. 2024 (arXiv 2404.14507), theorem 3.1; ends at the lowest level, as in A1111."""
    share = torch.arange(steps + 1, dtype=torch.float64) / steps
    return torch.tan(share * math.atan(low) + (1 - share) * math.atan(high))


def _beta_quantiles(shares: Tensor) -> Tensor:
    """Quantiles of the beta distribution with both parameters 0.6.

    With x = sin² t its density is proportional to (sin t cos t)^0.2, whose integral is taken numerically.
    """
    t = (torch.arange(_BETA_POINTS, dtype=torch.float64) + 0.5) * (math.pi / 2 / _BETA_POINTS)
    grown = torch.cumsum((t.sin() * t.cos()) ** (2 * _BETA - 1), 0)
    grown = torch.cat([torch.zeros(1, dtype=torch.float64), grown / grown[-1]])
    index = torch.searchsorted(grown, shares.double()).clamp(1, _BETA_POINTS)
    part = (shares - grown[index - 1]) / (grown[index] - grown[index - 1])
    return ((index - 1 + part) * (math.pi / 2 / _BETA_POINTS)).sin() ** 2


def _beta(steps: int, low: float, high: float) -> Tensor:
    """Lee et al. 2024 (arXiv 2407.12173); A1111 spreads the quantiles over the levels themselves, not over time."""
    shares = 1 - torch.linspace(0, 1, steps, dtype=torch.float64)
    return torch.cat([low + _beta_quantiles(shares) * (high - low), torch.zeros(1)])


def noise_levels(shared: Shared, bounds: tuple[float, float], scheduler: str, steps: int, family: str) -> Tensor:
    """`steps` + 1 descending levels, float32. `bounds` are the model's lowest and highest; `family` sd15 or sdxl."""
    match scheduler:
        case "align_your_steps":
            levels = _align_your_steps(steps, family)
        case "kl_optimal":
            levels = _kl_optimal(steps, *bounds)
        case "beta":
            levels = _beta(steps, *bounds)
        case _:
            levels = shared(scheduler, steps)
    return levels.float()


def _time_uniform(shared: Shared, start: int, steps: int) -> Tensor:
    """`steps` + 1 levels spread evenly over time from the time step `start` down to the first, the model's lowest.

    Between trained levels the logarithm of UniPC's alpha, 1 / sqrt(1 + sigma²), is linear in time.
    """
    log_alphas = -torch.log1p(trained_levels(shared) ** 2) / 2
    places = torch.linspace(start, 0, steps + 1, dtype=torch.float64)
    return torch.expm1(-2 * interpolated(log_alphas, places)).sqrt().float()


def _uni_pc_levels(shared: Shared, steps: int, denoise: float) -> tuple[Tensor, Tensor]:
    """As `walked_levels`: UniPC has levels of its own, from the time step that A1111 noises to."""
    stride = max(TIMES // steps, 1)
    walked = steps - first_step(steps, denoise)
    start = min(1 + (walked - 1) * stride, TIMES - 1)
    return _time_uniform(shared, start, walked), _time_uniform(shared, TIMES - 1, len(range(0, TIMES, stride)))


def walked_levels(
    shared: Shared, bounds: tuple[float, float], sampler: str, scheduler: str, steps: int, denoise: float, family: str
) -> tuple[Tensor, Tensor]:
    """The levels that a run walks, and those of the whole schedule, which the SDE samplers' noise spans."""
    if sampler == "uni_pc":
        return _uni_pc_levels(shared, steps, denoise)
    discards = sampler in DISCARDING
    whole = noise_levels(shared, bounds, scheduler, steps + discards, family)
    if discards:
        whole = torch.cat([whole[:-2], whole[-1:]])
    first = first_step(steps, denoise)
    if sampler == "ddim":  # has more levels than `steps` where that does not divide 1000, and walks the lowest
        first = max(first + len(whole) - 1 - steps, 0)
    return whole[first:], whole
