"""What a solver is, and one that ComfyUI takes differently, in the form that every host runs. Knows no model.

LMS: linear multistep over unequal steps, as k-diffusion (which A1111 uses) takes it to the very end; ComfyUI's takes
the estimate as it is in the last step.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from .noise import StepNoise

Denoise: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A latent at a noise level (a scalar) to the guided estimate of the clean latent."""
Report: TypeAlias = Callable[[int], None]
"""Told each step's number, counted from zero, once it has asked the model."""
Solver: TypeAlias = Callable[[Denoise, Tensor, Tensor, Report, StepNoise], Tensor]
"""Denoise, latent, descending levels, report, noise for steps → latent."""

_ORDER = 4


def _integral(nodes: list[float], which: int, start: float, end: float) -> float:
    """The integral over start..end of the polynomial that is 1 at nodes[which] and 0 at the others, exactly."""
    factors = torch.ones(1, dtype=torch.float64)  # coefficients of powers of (s - start), which stay small
    for place, node in enumerate(nodes):
        if place != which:
            longer = torch.zeros(len(factors) + 1, dtype=torch.float64)
            longer[:-1] += factors * (start - node)
            longer[1:] += factors
            factors = longer / (nodes[which] - node)
    powers = torch.arange(1, len(factors) + 1, dtype=torch.float64)
    return float((factors * (end - start) ** powers / powers).sum())


def lms(denoise: Denoise, x: Tensor, sigmas: Tensor, report: Report, noise: StepNoise) -> Tensor:
    """Up to fourth order from the slopes of the steps before, the step to zero included."""
    slopes: list[Tensor] = []
    levels = [float(sigma) for sigma in sigmas]
    for step in range(len(levels) - 1):
        slopes = [(x - denoise(x, sigmas[step])) / sigmas[step], *slopes[: _ORDER - 1]]
        report(step)
        nodes = [levels[step - back] for back in range(len(slopes))]
        for which, slope in enumerate(slopes):
            x = x + slope * _integral(nodes, which, levels[step], levels[step + 1])
    return x
