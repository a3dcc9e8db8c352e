"""Latent consistency models: the solver, the levels they were distilled on, and how their estimate is read.

Rules: Luo et al. 2023 (arXiv 2310.04378) as A1111 v1.10.1 runs it, `modules/sd_samplers_lcm.py`: 50 of the model's 1000
levels, the nearest of which is the time that the model is told, and boundary factors with sigma_data 0.5 and times
scaled by 10. Knows no model.
"""

import torch
from torch import Tensor

from .noise import StepNoise
from .noise_levels import TIMES, Shared, interpolated, trained_levels
from .solvers import Denoise, Report

_SKIP = TIMES // 50
_SIGMA_DATA, _TIME_SCALE = 0.5, 10.0


def lcm(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: StepNoise) -> Tensor:
    """Each step jumps to the estimate, and back up to the next level with fresh noise."""
    for step in range(len(sigmas) - 1):
        x = denoise(x, sigmas[step])
        report(step)
        if sigmas[step + 1] > 0:
            x = x + noise(sigmas[step], sigmas[step + 1]) * sigmas[step + 1]
    return x


class Distilled:
    """The 50 levels of a model whose 1000 are `table`, ascending, float64."""

    def __init__(self, table: Tensor) -> None:
        self._levels = table[_SKIP - 1 :: _SKIP]

    def bounds(self) -> tuple[float, float]:
        """The lowest and highest."""
        return float(self._levels[0]), float(self._levels[-1])

    def schedule(self, scheduler: str, steps: int) -> Tensor:
        """ComfyUI's schedule of that name over these levels in place of the model's: `steps` + 1 of them, zero last."""
        low, high = self.bounds()
        top = len(self._levels) - 1
        match scheduler:
            case "karras":
                share = torch.linspace(0, 1, steps, dtype=torch.float64)
                levels = (high ** (1 / 7) + share * (low ** (1 / 7) - high ** (1 / 7))) ** 7
            case "exponential":
                levels = torch.linspace(float(torch.tensor(high).log()), float(torch.tensor(low).log()), steps).exp()
            case "sgm_uniform":
                levels = self._between(torch.linspace(top, 0, steps + 1, dtype=torch.float64)[:-1])
            case "simple":
                levels = self._levels[[top - int(turn * (top + 1) / steps) for turn in range(steps)]]
            case "ddim_uniform":
                levels = self._levels[1 :: max((top + 1) // steps, 1)].flip(0)
            case _:
                levels = self._between(torch.linspace(top, 0, steps, dtype=torch.float64))
        return torch.cat([levels, levels.new_zeros(1)]).float()

    def _between(self, places: Tensor) -> Tensor:
        """Levels at fractional places, interpolated in their logarithm."""
        return interpolated(self._levels.log(), places).exp()

    def estimate(self, ask: Denoise, x: Tensor, sigma: Tensor) -> Tensor:
        """The consistency function at one level. `ask` is the model's own guided estimate of the clean latent.

        The model sees x scaled for its level but hears the time of the nearest of the 50. A backend derives both from
        one level, so it is asked at that one, about x as far as that scaling would not tell the difference.
        """
        level = float(sigma.reshape(-1)[0])
        nearest = int((self._levels.log() - torch.tensor(level, dtype=torch.float64).log()).abs().argmin())
        heard = float(self._levels[nearest])
        moved = x * ((heard**2 + 1) / (level**2 + 1)) ** 0.5
        noise = (moved - ask(moved, torch.full_like(sigma, heard))) / heard
        time = (nearest * _SKIP + _SKIP - 1) * _TIME_SCALE
        spread = time**2 + _SIGMA_DATA**2
        return (x - noise * level) * (time / spread**0.5) + x * (_SIGMA_DATA**2 / spread)


def distilled_of(levels: Shared) -> Distilled:
    """For the model whose schedules `levels` gives."""
    return Distilled(trained_levels(levels))
